//! The testbed at a terminal: a shell's job control, window sizes, and a terminal that is left as
//! it was found.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

mod testbed_support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::{self, Termios};
use testbed_support::{available, duplex, shared, signal};

nix::ioctl_write_ptr_bad!(set_window_size, libc::TIOCSWINSZ, libc::winsize);

/// A program at a pseudo-terminal that is its own.
struct AtTerminal {
    child: Child,
    master: File,
    slave: OwnedFd,
    before: Termios,
    seen: String,
}

impl AtTerminal {
    fn start(mut command: Command) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let before = termios::tcgetattr(&pty.slave).unwrap();
        let stream = || pty.slave.try_clone().unwrap();
        command.stdin(stream()).stdout(stream()).stderr(stream()).env("PS1", "prompt> ");
        // SAFETY: two system calls.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                nix::errno::Errno::result(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        testbed_nonblocking(&pty.master);
        Self { child, master: pty.master.into(), slave: pty.slave, before, seen: String::new() }
    }

    /// The testbed's command at a terminal.
    fn in_testbed(script: &str) -> Self {
        let mut command = duplex(shared());
        command.args(["testbed", "run", "--", "sh", "-c", script]);
        Self::start(command)
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until this has appeared, and returns what came with it.
    fn expect(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                return self.seen.drain(..at + text.len()).collect();
            }
            let mut buffer = [0; 4096];
            match self.master.read(&mut buffer) {
                Ok(count) => self.seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
            assert!(start.elapsed() < Duration::from_secs(60), "no {text:?} in {:?}", self.seen);
        }
    }

    fn is_raw(&self) -> bool {
        let now = termios::tcgetattr(&self.slave).unwrap();
        !now.local_flags.contains(termios::LocalFlags::ICANON)
    }

    /// Waits for the end and checks that the terminal is as it was.
    fn end(mut self) -> Option<i32> {
        let status = self.child.wait().unwrap();
        assert_eq!(termios::tcgetattr(&self.slave).unwrap(), self.before);
        status.code()
    }
}

fn testbed_nonblocking(fd: &OwnedFd) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
}

#[test]
fn the_command_has_a_terminal_of_the_same_size() {
    if !available() {
        return;
    }
    let mut terminal = AtTerminal::in_testbed(
        "tty; stty size; trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.1; done",
    );
    assert!(terminal.expect("24 80").contains("/dev/pts/"));
    terminal.expect("ready");
    assert!(terminal.is_raw());
    let size = libc::winsize { ws_row: 50, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: reads the live struct.
    unsafe { set_window_size(terminal.master.as_raw_fd(), &raw const size) }.unwrap();
    terminal.expect("50 132");
    assert_eq!(terminal.end(), Some(4));
}

#[test]
fn line_editing_and_control_characters_work_there() {
    if !available() {
        return;
    }
    let mut terminal = AtTerminal::in_testbed(
        "trap 'echo interrupted' INT; echo ready; read line; echo \"<$line>\"; cat; exit 6",
    );
    terminal.expect("ready");
    terminal.type_in("hexx\x7f\x7fllo\r");
    terminal.expect("<hello>");
    // The shell is out of the way once cat answers.
    terminal.type_in("cat\r");
    terminal.expect("cat\r\ncat\r\n");
    terminal.type_in("\x03");
    terminal.expect("interrupted");
    assert_eq!(terminal.end(), Some(6));
}

/// A command that is known to run: a shell that is about to execute its last command may lose a
/// SIGINT.
fn cat_that_answers() -> AtTerminal {
    let mut terminal = AtTerminal::in_testbed("exec cat");
    terminal.type_in("there?\r");
    terminal.expect("there?\r\nthere?\r\n");
    terminal
}

#[test]
fn control_c_ends_a_command_and_the_terminal_is_restored() {
    if !available() {
        return;
    }
    let mut terminal = cat_that_answers();
    terminal.type_in("\x03");
    assert_eq!(terminal.end(), Some(130));
}

#[test]
fn signals_from_outside_leave_the_terminal_as_it_was() {
    if !available() {
        return;
    }
    for (number, status) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 130)] {
        let terminal = cat_that_answers();
        signal(&terminal.child, number);
        assert_eq!(terminal.end(), Some(status));
    }
}

#[test]
fn a_shell_stops_and_continues_it() {
    if !available() {
        return;
    }
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("XDG_RUNTIME_DIR", shared());
    shell.env("duplex", env!("CARGO_BIN_EXE_duplex")).env("TERM", "dumb");
    let mut terminal = AtTerminal::start(shell);
    terminal.expect("prompt> ");
    terminal.type_in("$duplex testbed run -- sh -c 'echo re\"\"ady; cat; exit 8'\r");
    terminal.expect("ready");
    terminal.type_in("one\r");
    terminal.expect("one\r\none\r\n");
    // Stopped by the terminal in the testbed, and with it the client here.
    terminal.type_in("\x1a");
    terminal.expect("Stopped");
    terminal.expect("prompt> ");
    terminal.type_in("stty -a | grep -o ' echo '; echo visible\r");
    terminal.expect(" echo \r\n");
    terminal.expect("prompt> ");
    terminal.type_in("fg\r");
    terminal.expect("cat");
    std::thread::sleep(Duration::from_millis(500));
    terminal.type_in("two\r");
    terminal.expect("two\r\ntwo\r\n");
    terminal.type_in("\x04");
    terminal.expect("prompt> ");
    terminal.type_in("echo status=$?\r");
    terminal.expect("status=8");
    // In the background it leaves the terminal alone.
    terminal.expect("prompt> ");
    terminal.type_in("$duplex testbed run -- sh -c 'sleep 1; echo back\"\"ground' &\r");
    terminal.expect("prompt> ");
    terminal.expect("background");
    terminal.type_in("wait; echo finished=$?\r");
    terminal.expect("finished=0");
    terminal.type_in("exit\r");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn what_is_pasted_arrives_whole() {
    if !available() {
        return;
    }
    let mut terminal =
        AtTerminal::in_testbed("stty raw -echo; echo ready; head -c 65536 | md5sum; stty sane");
    terminal.expect("ready");
    let text: Vec<u8> = (0..65536_u32).map(|n| b'a' + u8::try_from(n % 23).unwrap()).collect();
    for piece in text.chunks(1000) {
        let mut rest = piece;
        while !rest.is_empty() {
            match terminal.master.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
    let place = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(place.path(), &text).unwrap();
    let expected = Command::new("md5sum").arg(place.path()).output().unwrap();
    let expected = String::from_utf8(expected.stdout).unwrap();
    terminal.expect(expected.split_whitespace().next().unwrap());
    assert_eq!(terminal.end(), Some(0));
}
