//! What the testbed's tests share: a testbed of their own, and a way to skip visibly.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

/// Whether there is what the testbed needs; if not, says so.
pub(crate) fn available() -> bool {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&search).any(|dir| dir.join("qemu-system-x86_64").exists());
    if !found {
        eprintln!("SKIPPED: needs QEMU (apt-get install qemu-system-x86)");
    }
    found
}

/// The program under test, keeping its state in `state` instead of among the user's.
pub(crate) fn duplex(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duplex"));
    command.env("XDG_RUNTIME_DIR", state);
    command
}

/// A directory for state, empty of all but what earlier runs left.
pub(crate) fn state_directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A testbed that all tests of a file share. It ends with the test process, however that ends.
pub(crate) fn shared() -> &'static Path {
    static STATE: OnceLock<PathBuf> = OnceLock::new();
    STATE.get_or_init(|| {
        let state = state_directory(env!("CARGO_CRATE_NAME"));
        let (up, wait_up) = std::sync::mpsc::channel();
        let place = state.clone();
        // A thread that never ends: the testbed dies with the thread that started it.
        std::thread::spawn(move || {
            let mut command = duplex(&place);
            command.args(["testbed", "start", "--foreground"]).stdout(Stdio::piped());
            // SAFETY: a single system call.
            unsafe {
                command.pre_exec(|| {
                    nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL).map_err(Into::into)
                });
            }
            let mut child = command.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            up.send(line).unwrap();
            child.wait().unwrap();
            loop {
                std::thread::park();
            }
        });
        assert_eq!(wait_up.recv().unwrap(), "the testbed is up\n");
        state
    })
}

/// A command in the shared testbed, through a shell there.
pub(crate) fn in_testbed(script: &str) -> Command {
    let mut command = duplex(shared());
    command.args(["testbed", "run", "--", "sh", "-c", script]);
    command
}

/// Runs it to its end.
pub(crate) fn run(script: &str) -> Output {
    in_testbed(script).stdin(Stdio::null()).output().unwrap()
}

/// Its standard output, after checking that all went well.
pub(crate) fn stdout_of(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Starts it and waits for its first line, which has to be "ready".
pub(crate) fn start_until_ready(
    mut command: Command,
) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, reader)
}

/// Sends a signal to a child.
pub(crate) fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, signal).unwrap();
}
