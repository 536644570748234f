//! What several test programs need.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod browser;
pub(crate) mod containers;
pub(crate) mod groups;
pub(crate) mod image;
pub(crate) mod kept;
pub(crate) mod management;
pub(crate) mod process;
pub(crate) mod stepping;
pub(crate) mod terminal;
pub(crate) mod testbed;
pub(crate) mod tiny_kernel;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use duplex::vm::kvm;

/// The program under test.
pub(crate) const DUPLEX: &str = env!("CARGO_BIN_EXE_duplex");

/// Says what must be seen although the test passes: libtest keeps back what `eprintln!` prints.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether the testbed can run here; says so where it cannot.
pub(crate) fn has_testbed() -> bool {
    let there = find_program("qemu-system-x86_64");
    if !there {
        say("SKIPPED: qemu-system-x86_64 is not installed (make packages)");
    }
    there
}

/// Whether KVM answers here, with or without hardware virtualization; says so where it does not.
pub(crate) fn has_kvm() -> bool {
    match kvm::open(Path::new(kvm::DEVICE)) {
        Ok(_) => true,
        Err(error) => {
            say(&format!("SKIPPED: {error}"));
            false
        }
    }
}

/// Whether the long lists are asked for.
pub(crate) fn soak() -> bool {
    std::env::var_os("DUPLEX_SOAK").is_some()
}

/// Whether there is a program of this name.
pub(crate) fn find_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).exists())
}

/// A command line of the program under test.
pub(crate) fn duplex(arguments: &[&str]) -> Command {
    let mut command = Command::new(DUPLEX);
    command.args(arguments);
    command
}

/// A directory for what all tests of a program share, with what the last run has left in it.
pub(crate) fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// The same, but empty.
pub(crate) fn empty_directory(name: &str) -> PathBuf {
    let path = directory(name);
    std::fs::remove_dir_all(&path).unwrap();
    directory(name)
}

/// A file in a directory of its own, which is removed with the returned guard.
pub(crate) fn temporary_file(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    (directory, path)
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}
