//! duplex's own halves.

use std::process::{Command, Stdio};

use super::{Found, describe};
use crate::bench::contender::{Contender, Job};
use crate::bench::results::{Contender as Described, Wall};
use crate::bench::workshop::{DATA, Workshop};

struct Duplex {
    described: Described,
    half: &'static str,
    workshop: Workshop,
}

/// `duplex run --container`.
pub(super) fn container(workshop: &Workshop) -> Found {
    found(
        describe("duplex-container", "duplex, container", Wall::Container),
        "--container",
        workshop,
    )
}

fn found(mut described: Described, half: &'static str, workshop: &Workshop) -> Found {
    described.version = Some(format!("duplex {}", env!("CARGO_PKG_VERSION")));
    Ok(Box::new(Duplex { described, half, workshop: workshop.clone() }))
}

impl Contender for Duplex {
    fn described(&self) -> &Described {
        &self.described
    }

    fn command(&self, job: &Job, number: u64) -> Result<Command, String> {
        let mut command = Command::new(&self.workshop.duplex);
        command.args(["run", self.half, "--name", &self.workshop.name(number)]);
        command.env("XDG_RUNTIME_DIR", self.workshop.directory("state")?).stdin(Stdio::null());
        if job.input {
            command.arg("--interactive");
        }
        limits(job, &mut command);
        if let Some(data) = &job.data {
            let mut volume = data.clone().into_os_string();
            volume.push(format!(":{DATA}"));
            command.arg("--volume").arg(volume);
        }
        if job.net {
            command.args(["--net", "user"]);
        }
        command.arg("--").arg(&self.workshop.image).args(&job.argv);
        Ok(command)
    }

    /// What a killed start has left, the next one removes.
    fn clean_up(&self, _number: u64) {}
}

fn limits(job: &Job, command: &mut Command) {
    if job.unlimited {
        // A container has this limit by default.
        command.args(["--pids-limit", "-1"]);
        return;
    }
    if let Some(cpus) = job.cpus {
        command.args(["--cpus", &cpus.to_string()]);
    }
    if let Some(memory) = job.memory {
        command.args(["--memory", &memory.to_string()]);
    }
    if let Some(pids) = job.pids {
        command.args(["--pids-limit", &pids.to_string()]);
    }
}
