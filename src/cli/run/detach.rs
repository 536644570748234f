//! `--detach`: the guest belongs to a process of its own, which this one starts and leaves.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use super::order::Order;
use crate::cli::{FAILED, report};

/// Starts it, waits until the command has been started, and prints its name; or passes on why it
/// has not.
pub(super) fn run(order: &Order) -> Result<ExitCode, Box<dyn Error>> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["run-order", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: a single system call. It leaves the caller's terminal and its signals behind.
    unsafe { command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?)) };
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&serde_json::to_vec(order)?)?;
    }
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if line == "started\n" {
        writeln!(std::io::stdout(), "{}", order.subject().about.name)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    report(said);
    let status = child.wait()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(status.unwrap_or(FAILED).into())
}
