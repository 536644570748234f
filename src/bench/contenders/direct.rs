//! No wall: programs as plain processes.

use std::process::{Command, Stdio};

use super::called::Called;
use super::{Found, describe};
use crate::bench::contender::{Contender, Job};
use crate::bench::results::Wall;
use crate::bench::workshop::{OBSERVER, Workshop};

/// The image's program, started here.
pub(super) fn process(workshop: &Workshop) -> Found {
    let described = describe("process", "plain process", Wall::Process);
    let workshop = workshop.clone();
    Called::new(described, Vec::new(), move |job, _| {
        let (program, arguments) = split(job)?;
        let mut command = Command::new(workshop.in_image(program));
        command.args(arguments).stdin(Stdio::null());
        Ok(command)
    })
    .found()
}

/// The least program there can be, whatever the job: what it takes is the observer's own share.
pub(super) fn observer(workshop: &Workshop) -> Box<dyn Contender> {
    let described = describe("observer", "the observer itself", Wall::Process);
    let program = workshop.place.join(OBSERVER);
    Box::new(Called::new(described, vec![program.clone()], move |_, _| {
        let mut command = Command::new(&program);
        command.stdin(Stdio::null());
        Ok(command)
    }))
}

/// The program and its arguments.
///
/// # Errors
/// There is none.
pub(super) fn split(job: &Job) -> Result<(&String, &[String]), String> {
    job.argv.split_first().ok_or_else(|| "the job has no command".into())
}
