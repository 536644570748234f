//! Assembles the guest programs in `guest-images/probes` with the C compiler driver that Rust links
//! with anyway, so that the library can embed them.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::Command;

const PROBES: [&str; 2] = ["mark", "hello"];

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var("OUT_DIR")?;
    let cc = env::var("CC").unwrap_or_else(|_| "cc".to_string());
    println!("cargo::rerun-if-env-changed=CC");
    for probe in PROBES {
        let source = format!("guest-images/probes/{probe}.S");
        println!("cargo::rerun-if-changed={source}");
        // No build id, no separate code segment, no symbols: the file is a few hundred bytes.
        let status = Command::new(&cc)
            .args(["-nostdlib", "-static", "-no-pie", "-s"])
            .args(["-Wl,--build-id=none", "-Wl,-z,noseparate-code"])
            .arg("-o")
            .arg(Path::new(&out).join(probe))
            .arg(&source)
            .status()
            .map_err(|error| format!("cannot run the C compiler `{cc}`: {error}"))?;
        if !status.success() {
            return Err(format!("`{cc}` could not assemble {source}: {status}").into());
        }
    }
    Ok(())
}
