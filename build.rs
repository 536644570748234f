//! Tells builds of the sources apart, reads the list of system calls, and builds the little that is not
//! Rust, with the C compiler driver that Rust links with anyway, so that the library can embed it: the guest
//! programs in `guest-images/probes`, and a library that is preloaded into virtiofsd.

use std::env;
use std::error::Error;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "src/isolate/seccomp/list.rs"]
mod list;
#[path = "src/learn/listing.rs"]
mod listing;

const PROBES: [&str; 3] = ["mark", "hello", "nothing"];
const PRELOADED: &str = "src/file_server/without_noatime.c";
const LESSONS: &str = "guest-images/lessons";
const SYSTEM_CALLS: &str = "src/isolate/seccomp/default.list";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=CC");
    for probe in PROBES {
        // No separate code segment, no symbols: the file is a few hundred bytes.
        let options = ["-static", "-no-pie", "-s", "-Wl,-z,noseparate-code"];
        compile(&format!("guest-images/probes/{probe}.S"), probe, &options)?;
    }
    let options = ["-shared", "-fPIC", "-O2", "-s", "-fvisibility=hidden", "-fno-stack-protector"];
    compile(PRELOADED, "without_noatime.so", &options)?;
    lessons()?;
    let text = fs::read_to_string(SYSTEM_CALLS)?;
    let groups = list::parse(&text).map_err(|error| format!("{SYSTEM_CALLS}: {error}"))?;
    let table = Path::new(&env::var("OUT_DIR")?).join("seccomp_table.rs");
    fs::write(table, list::source(&groups))?;
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=Cargo.toml");
    println!("cargo::rerun-if-changed=Cargo.lock");
    let mut digest = DefaultHasher::new();
    let packages = ["Cargo.toml", "Cargo.lock"].map(PathBuf::from);
    for path in files(Path::new("src"))?.into_iter().chain(packages) {
        path.hash(&mut digest);
        fs::read(path)?.hash(&mut digest);
    }
    // By this, duplex knows a duplex-init that goes with it.
    println!("cargo::rustc-env=DUPLEX_SOURCES={:016x}", digest.finish());
    Ok(())
}

/// Assembles the lessons' guests, and writes down which source line each address comes from.
fn lessons() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={LESSONS}");
    let out = env::var("OUT_DIR")?;
    let mut table = String::new();
    for path in files(Path::new(LESSONS))? {
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or("a lesson has no name")?;
        let (object, listing) = (format!("{name}.o"), format!("{out}/{name}.lst"));
        let option = format!("-Wa,-aln={listing}");
        compile(&path.display().to_string(), &object, &["-c", "-x", "assembler", &option])?;
        let lines = listing::lines(&fs::read_to_string(&listing)?);
        let source = fs::canonicalize(&path)?;
        table += &format!(
            "pub(super) const {}: Embedded = Embedded {{ source: include_str!({source:?}), \
             object: include_bytes!(\"{out}/{object}\"), lines: &{lines:?} }};\n",
            name.to_uppercase().replace('-', "_"),
        );
    }
    fs::write(Path::new(&out).join("lessons.rs"), table)?;
    Ok(())
}

/// All files below a directory, in the order of their names.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

fn compile(source: &str, output: &str, options: &[&str]) -> Result<(), Box<dyn Error>> {
    let cc = env::var("CC").unwrap_or_else(|_| "cc".to_string());
    println!("cargo::rerun-if-changed={source}");
    let status = Command::new(&cc)
        .args(["-nostdlib", "-Wl,--build-id=none"])
        .args(options)
        .arg("-o")
        .arg(Path::new(&env::var("OUT_DIR")?).join(output))
        .arg(source)
        .status()
        .map_err(|error| format!("cannot run the C compiler `{cc}`: {error}"))?;
    if !status.success() {
        return Err(format!("`{cc}` could not compile {source}: {status}").into());
    }
    Ok(())
}
