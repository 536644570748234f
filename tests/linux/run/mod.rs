//! `duplex run`: a command in a guest of its own, seen by whoever calls it.

mod ends;
mod halves;
mod lasting;
mod management;
mod networks;
mod stored;
mod streams;
mod terminal;
mod volumes;

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use crate::common::image;
use crate::common::process::Process;
use crate::common::testbed;

/// `duplex run` with these options, and a command in a busybox image.
fn command<A: AsRef<OsStr>>(options: &[&str], argv: &[A]) -> Command {
    let mut command = testbed::duplex(testbed::shared());
    command.arg("run").args(options).arg(image::busybox()).args(argv);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same with a script.
fn shell(options: &[&str], script: &str) -> Command {
    command(options, &["sh", "-c", script])
}

/// Runs it to its end.
fn end_of(mut command: Command) -> Output {
    Process::start(&mut command).output()
}

/// What it wrote to standard output, and its exit status.
fn said(command: Command) -> (String, Option<i32>) {
    let output = end_of(command);
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

/// What it wrote to standard error, without that it ran in the testbed, and its exit status.
fn complained(command: Command) -> (String, Option<i32>) {
    let output = end_of(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines = stderr.lines().filter(|line| !line.contains("running in the testbed"));
    (lines.map(|line| format!("{line}\n")).collect(), output.status.code())
}
