//! A testbed for tests.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use super::process::{self, Process};

/// How long a testbed may take to start; its kernel may have to be fetched first.
const START: Duration = Duration::from_secs(600);

/// The program under test, keeping its state in `state` instead of among the user's.
pub(crate) fn duplex(state: &Path) -> Command {
    let mut command = Command::new(super::DUPLEX);
    command.env("XDG_RUNTIME_DIR", state);
    command
}

/// A directory for state, empty of all but what earlier runs left.
pub(crate) fn state_directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// How often a testbed that has ended is replaced before the tests give up.
const TESTBEDS: usize = 10;

/// A testbed that all tests of a file share; returns where its state is. It ends with the test
/// process, however that ends. If it ends before (the emulator loses a machine now and then), another
/// takes its place.
pub(crate) fn shared() -> &'static Path {
    static SHARED: OnceLock<Arc<Shared>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let state = state_directory(env!("CARGO_CRATE_NAME"));
        let shared =
            Arc::new(Shared { state, is: Mutex::new(Is::Starting), changed: Condvar::new() });
        let kept = shared.clone();
        // A thread that never ends: the testbed dies with the thread that started it.
        std::thread::spawn(move || kept.keep());
        shared
    });
    let starting = |is: &mut Is| *is == Is::Starting;
    let is = shared.is.lock().unwrap();
    let is = shared.changed.wait_timeout_while(is, START, starting).unwrap().0.clone();
    // Without the lock, which one test that fails here would spoil for the others.
    assert_eq!(is, Is::Up, "the tests' testbed");
    &shared.state
}

struct Shared {
    state: PathBuf,
    is: Mutex<Is>,
    changed: Condvar,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Is {
    Starting,
    Up,
    /// For good, and what the last one said.
    Gone(String),
}

impl Shared {
    /// Starts it again and again.
    fn keep(&self) -> ! {
        let mut said = String::new();
        for _ in 0..TESTBEDS {
            let mut command = duplex(&self.state);
            command.args(["testbed", "start", "--foreground"]);
            // SAFETY: a single system call.
            unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            if line == "the testbed is up\n" {
                self.set(Is::Up);
            }
            // Some lines at most, which a pipe has room for.
            let output = child.wait_with_output().unwrap();
            self.set(Is::Starting);
            said = String::from_utf8_lossy(&output.stderr).into_owned();
            super::say(&format!(
                "RETRIED: the tests' testbed has ended, {}: {said}",
                output.status
            ));
        }
        self.set(Is::Gone(said));
        loop {
            std::thread::park();
        }
    }

    fn set(&self, is: Is) {
        *self.is.lock().unwrap() = is;
        self.changed.notify_all();
    }
}

/// A command in the shared testbed, through a shell there.
pub(crate) fn in_testbed(script: &str) -> Command {
    let mut command = duplex(shared());
    command.args(["testbed", "run", "--", "sh", "-c", script]);
    command
}

/// Runs it to its end.
pub(crate) fn run(script: &str) -> Output {
    process::output(&mut in_testbed(script))
}

/// Its standard output, after checking that all went well.
pub(crate) fn stdout_of(mut command: Command) -> String {
    let output = process::output(&mut command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Starts it and waits for its first line, which has to be "ready".
pub(crate) fn start_until_ready(mut command: Command) -> Process {
    let mut process = Process::start(command.stdout(Stdio::piped()));
    assert_eq!(process.stdout.wait_for("\n"), "ready\n");
    process
}

/// The testbed's disk, for one test of a program at a time.
pub(crate) fn disk() -> MutexGuard<'static, ()> {
    static DISK: Mutex<()> = Mutex::new(());
    // One that failed has left it as the others find it anyway.
    DISK.lock().unwrap_or_else(PoisonError::into_inner)
}
