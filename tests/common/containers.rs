//! Containers of the program under test.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use super::process::Process;
use super::{DUPLEX, directory, duplex, image, say};

/// Where the instances of these tests are, and nobody else's.
pub(crate) fn runtime_directory() -> &'static Path {
    static DIRECTORY: OnceLock<std::path::PathBuf> = OnceLock::new();
    // What a run of these tests that was killed has left there, the next command removes.
    DIRECTORY.get_or_init(|| directory("containers"))
}

/// duplex with these arguments, among the instances of these tests.
pub(crate) fn among(arguments: &[&str]) -> Command {
    let mut command = duplex(arguments);
    command.env("XDG_RUNTIME_DIR", runtime_directory());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `duplex run --container` with these options, and a command in a busybox image.
pub(crate) fn command<A: AsRef<OsStr>>(options: &[&str], argv: &[A]) -> Command {
    let mut command = among(&["run", "--container"]);
    command.args(options).arg(image::busybox()).args(argv);
    command
}

/// The same with a script.
pub(crate) fn shell(options: &[&str], script: &str) -> Command {
    command(options, &["sh", "-c", script])
}

/// Runs it to its end.
pub(crate) fn end_of(mut command: Command) -> Output {
    Process::start(&mut command).output()
}

/// What it wrote to standard output; it must end with 0 and say nothing else.
pub(crate) fn said(command: Command) -> String {
    let output = end_of(command);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether containers can be had here; says so where they cannot.
pub(crate) fn has_containers() -> bool {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let reason = REASON.get_or_init(|| {
        let output = end_of(command(&[], &["true"]));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        stderr.contains("namespaces cannot be had").then_some(stderr)
    });
    if let Some(reason) = reason {
        say(&format!("SKIPPED: {DUPLEX}: {reason}"));
    }
    reason.is_none()
}
