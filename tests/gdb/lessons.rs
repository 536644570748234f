//! Guests of a few instructions, in real, protected and long mode.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use duplex::vm::gdb::listener::{Address, Listener};

use crate::common::process::{self, Process};
use crate::common::{duplex, has_kvm, temporary_file, text, tiny_kernel};
use crate::{gdb, has_gdb};

/// A lesson's guest that stands still, and where its debugger connects.
pub(crate) struct Waiting {
    pub(crate) process: Process,
    pub(crate) socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Waiting {
    pub(crate) fn start(lesson: &str) -> Waiting {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("gdb.sock");
        let mut command = duplex(&["learn", lesson, "--testbed", "never", "--gdb", text(&socket)]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::start(&mut command);
        process.stderr.wait_for("waiting for a debugger");
        Waiting { process, socket, _directory: directory }
    }

    /// What GDB says.
    fn run(&self, commands: &[&str]) -> String {
        let connect = format!("target remote {}", self.socket.display());
        let commands = [&[connect.as_str()], commands].concat();
        let output = process::output(&mut gdb(&commands));
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    }
}

/// That these stand in what was said, one behind the other.
pub(crate) fn assert_in_order(said: &str, expected: &[&str]) {
    let mut rest = said;
    for text in expected {
        let at = rest.find(text).unwrap_or_else(|| panic!("no {text:?} in its place in:\n{said}"));
        rest = &rest[at + text.len()..];
    }
}

#[test]
fn a_guest_in_real_mode_is_stepped_from_its_first_instruction_and_let_go() {
    if !has_kvm() || !has_gdb() {
        return;
    }
    let mut guest = Waiting::start("halt");
    let said = guest.run(&[
        "printf \"at %x\\n\", $eip",
        "x/4i $eip",
        "stepi",
        "printf \"stepped to %x, eax %d\\n\", $eip, $eax",
        "break *0x1005",
        "hbreak *0x1004",
        "continue",
        "printf \"at %x, eax %d\\n\", $eip, $eax",
        "continue",
        "printf \"at %x, eax %d\\n\", $eip, $eax",
        "x/1xb 0x1005",
        "set $eax = 7",
        "printf \"eax %d, cr0 %x\\n\", $eax, $cr0",
        "delete",
        "detach",
    ]);
    let expected = [
        "at 1000",
        "mov    $0x28,%ax",
        "inc    %ax",
        "hlt",
        "stepped to 1003, eax 40",
        "at 1004, eax 41",
        "at 1005, eax 42",
        // The code is shown as it is, whatever stands for the breakpoint.
        "0xf4",
        "eax 7, cr0 60000010",
        "detached",
    ];
    assert_in_order(&said, &expected);
    // It goes on, halts, and nothing is left.
    assert_eq!(guest.process.end().code(), Some(0));
    assert!(!guest.socket.exists());
}

#[test]
fn stores_are_watched_and_others_let_pass() {
    if !has_kvm() || !has_gdb() {
        return;
    }
    let mut guest = Waiting::start("mmio");
    let said = guest.run(&[
        "watch *(int *) 0x10000",
        "continue",
        "printf \"at %x\\n\", $eip",
        "p *(int *) 0x10000",
        "p *(int *) 0x10004",
        "set var *(int *) 0x10000 = 5",
        "stepi",
        "printf \"eax %d\\n\", $eax",
        "delete",
        "rwatch *(int *) 0x10000",
        "continue",
        "kill",
    ]);
    let expected = ["Old value = 0", "New value = 42", "at 100a", "= 42", "= 0", "eax 5"];
    assert_in_order(&said, &expected);
    // What no page protection can do is refused.
    assert!(said.contains("Could not insert hardware watchpoint"), "{said}");
    assert_eq!(guest.process.end().code(), Some(0));
}

#[test]
fn long_mode_memory_is_read_through_the_page_tables_and_two_processors_are_threads() {
    if !has_kvm() || !has_gdb() {
        return;
    }
    let mut guest = Waiting::start("page-fault");
    let said = guest.run(&[
        "printf \"cs %x cr3 %x efer %x\\n\", $cs, $cr3, $efer",
        "x/1xb 0x100014000",
        "p *(long *) 0x9000",
        "kill",
    ]);
    let expected = ["cs 10 cr3 9000 efer 500", "Cannot access memory at address 0x100014000"];
    assert!(expected.iter().all(|text| said.contains(text)), "{said}");
    guest.process.end();

    let mut guest = Waiting::start("two-processors");
    let said = guest.run(&[
        "info threads",
        "thread 2",
        // The second one starts in real mode, here.
        "break *0x2000",
        "continue",
        "printf \"cs %x eip %x\\n\", $cs, $eip",
        "info threads",
        "delete",
        "detach",
    ]);
    assert_in_order(
        &said,
        &["Thread 1.1", "Thread 1.2", "hit Breakpoint 1", "cs 200 eip 2000", "* 2 "],
    );
    assert_eq!(guest.process.end().code(), Some(0));
}

#[test]
fn a_debugger_that_vanishes_leaves_the_guest_as_it_was() {
    if !has_kvm() || !has_gdb() {
        return;
    }
    let mut guest = Waiting::start("port-output");
    // Connected, with a breakpoint in the code, and gone without a word.
    let connect = format!("target remote {}", guest.socket.display());
    let mut late = gdb(&[&connect, "break *0x1003", "stepi", "shell kill -9 $PPID"]);
    process::output(&mut late);
    guest.process.stdout.wait_for("Hi");
    assert_eq!(guest.process.end().code(), Some(0));
}

#[test]
fn a_debugger_that_is_killed_while_the_guest_runs_leaves_it_as_it_was() {
    if !has_kvm() || !has_gdb() {
        return;
    }
    let mut code = vec![
        0x66, 0xBA, 0xF8, 0x03, // mov $0x3F8, %dx
        0xB0, b'u', 0xEE, // mov $'u', %al; out %al, %dx
        // Input comes once its interrupt is enabled: mov $0x3F9, %dx; mov $1, %al; out %al, %dx
        0x66, 0xBA, 0xF9, 0x03, 0xB0, 0x01, 0xEE, //
        0x66, 0xBA, 0xFD, 0x03, // mov $0x3FD, %dx
        0xEC, 0xA8, 0x01, 0x74, 0xFB, // until there is input: in %dx, %al; test $1, %al; jz
        0x66, 0xBA, 0xF8, 0x03, // where the breakpoint is: mov $0x3F8, %dx
        0xB0, b'd', 0xEE, // mov $'d', %al; out %al, %dx
    ];
    code.extend(tiny_kernel::POWER_OFF);
    let (directory, kernel) = temporary_file("kernel", &tiny_kernel::elf(&code));
    let socket = directory.path().join("gdb.sock");
    let mut command = duplex(&["boot", "--testbed", "never", "--kernel", text(&kernel)]);
    command.args(["--gdb", text(&socket)]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut guest = Process::start(&mut command);
    guest.stderr.wait_for("waiting for a debugger");
    let connect = format!("target remote {}", socket.display());
    let mut debugger = Process::start(
        gdb(&[&connect, "break *0x100017", "continue"]).stdin(Stdio::null()).stdout(Stdio::null()),
    );
    guest.stdout.wait_for("u");
    debugger.kill();
    guest.take_stdin().write_all(b"x").unwrap();
    guest.stdout.wait_for("d");
    assert_eq!(guest.end().code(), Some(0));
}

#[test]
fn an_address_that_is_taken_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gdb.sock");
    let _listener = Listener::bind(&Address::Path(path.clone())).unwrap();
    if !has_kvm() {
        return;
    }
    let arguments = ["learn", "halt", "--testbed", "never", "--gdb", text(&path)];
    let output = process::output(&mut duplex(&arguments));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(said.contains("--gdb") && said.contains("in use"), "{said}");
}
