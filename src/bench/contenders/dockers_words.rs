//! Options that docker, podman and duplex call the same.

use std::ffi::OsString;
use std::process::Command;

use crate::bench::contender::Job;
use crate::bench::workshop::DATA;

/// What the workload reads, and the directory of this host that it sees.
pub(super) fn input_and_volume(job: &Job, command: &mut Command) {
    if job.input {
        command.arg("--interactive");
    }
    if let Some(data) = &job.data {
        let mut volume = OsString::from(data);
        volume.push(":");
        volume.push(DATA);
        command.arg("--volume").arg(volume);
    }
}

/// The limits that the job asks for; or none, not even the one that there is by default.
pub(super) fn limits(job: &Job, unlimited: bool, command: &mut Command) {
    if unlimited {
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
