//! No wall: the probe as a plain process.

use std::process::{Command, Stdio};

use super::{Found, describe};
use crate::bench::contender::{Contender, Job};
use crate::bench::results::{Contender as Described, Wall};
use crate::bench::workshop::Workshop;

/// The image's program, started here.
struct Direct {
    described: Described,
    workshop: Workshop,
}

/// The probe itself.
pub(super) fn process(workshop: &Workshop) -> Found {
    let described = describe("process", "plain process", Wall::Process);
    Ok(Box::new(Direct { described, workshop: workshop.clone() }))
}

impl Contender for Direct {
    fn described(&self) -> &Described {
        &self.described
    }

    fn command(&self, job: &Job, _number: u64) -> Result<Command, String> {
        let (program, arguments) = job.argv.split_first().ok_or("the job has no command")?;
        let mut command = Command::new(self.workshop.in_image(program));
        command.args(arguments).stdin(Stdio::null());
        Ok(command)
    }

    fn clean_up(&self, _number: u64) {}
}
