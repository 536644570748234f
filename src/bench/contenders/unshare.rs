//! unshare(1): namespaces and nothing else, with the host's own root.

use std::process::{Command, Stdio};

use super::program::{Program, version};
use super::{Found, describe};
use crate::bench::contender::{Contender, Job};
use crate::bench::results::{Contender as Described, Wall};
use crate::bench::workshop::Workshop;

struct Unshare {
    described: Described,
    program: Program,
    workshop: Workshop,
}

pub(super) fn find(workshop: &Workshop) -> Found {
    let mut described = describe("unshare", "unshare(1)", Wall::Container);
    let program = Program::find("unshare", "util-linux", &mut described)?;
    described.version = version(&program, &["--version"]);
    Ok(Box::new(Unshare { described, program, workshop: workshop.clone() }))
}

impl Contender for Unshare {
    fn described(&self) -> &Described {
        &self.described
    }

    fn command(&self, job: &Job, _number: u64) -> Result<Command, String> {
        let (program, arguments) = job.argv.split_first().ok_or("the job has no command")?;
        let mut command = self.program.command();
        // Mounts, UTS, IPC, network, PIDs, as a child that /proc is mounted for.
        command.args(["-muinpf", "--mount-proc"]).arg(self.workshop.in_image(program));
        command.args(arguments).stdin(Stdio::null());
        Ok(command)
    }

    fn clean_up(&self, _number: u64) {}
}
