//! PID 1 of a guest whose initramfs is the image: runs one command and ends the machine.
//!
//! ```text
//! /init as-init [--write PORT=BYTE] PROGRAM [ARGUMENT]…
//! ```
//!
//! The kernel passes what follows `--` on its command line. With `--write`, a byte is written to an I/O port
//! at the end: some machines without ACPI tables for the guest are switched off by that.

use std::arch::asm;
use std::process::{Command, ExitCode};

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::tcdrain;

/// What the first argument is.
pub(crate) const WORD: &str = "as-init";

/// What a Linux program expects to find.
const MOUNTS: [(&str, &str); 3] = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")];

/// Runs it; returns only where this process may not end the machine.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let mut arguments = arguments.peekable();
    let write = arguments.next_if(|word| word == "--write").and_then(|_| arguments.next());
    for (kind, place) in MOUNTS {
        if let Err(error) = mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>) {
            eprintln!("duplex-probe: cannot mount {place}: {error}");
        }
    }
    let Some(program) = arguments.next() else {
        eprintln!("duplex-probe: {WORD}: no command to run");
        return end(write.as_deref());
    };
    match Command::new(&program).args(arguments).status() {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("duplex-probe: {program} ended with {status}"),
        Err(error) => eprintln!("duplex-probe: cannot run {program}: {error}"),
    }
    end(write.as_deref())
}

fn end(write: Option<&str>) -> ExitCode {
    // What was written may still be on its way out of the serial port.
    let _ = tcdrain(std::io::stdout());
    if let Some((port, byte)) = write.and_then(|text| text.split_once('='))
        && let (Ok(port), Ok(byte)) = (port.parse(), byte.parse())
    {
        write_port(port, byte);
    }
    // With reboot=t or reboot=k on the kernel's command line, a reset that the VMM takes for the end.
    let _ = reboot(RebootMode::RB_AUTOBOOT);
    ExitCode::FAILURE
}

fn write_port(port: u16, byte: u8) {
    // SAFETY: allows this process one port, and writes to it what the machine's owner asked for; no memory is
    // touched.
    unsafe {
        if libc::ioperm(port.into(), 1, 1) == 0 {
            asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack, preserves_flags));
        }
    }
}
