//! bubblewrap: namespaces and a root of its own, for desktop applications. It has no limits.

use super::called::{Called, refuse};
use super::program::Program;
use super::{Found, describe};
use crate::bench::results::Wall;
use crate::bench::workshop::{DATA, Workshop};

pub(super) fn find(workshop: &Workshop) -> Found {
    let mut described = describe("bubblewrap", "bubblewrap", Wall::Container);
    let program = Program::find("bwrap", "Debian's package bubblewrap", &mut described)?;
    described.version = program.version(&["--version"]);
    let workshop = workshop.clone();
    Called::new(described, program.files(), move |job, _| {
        refuse(job.net, "network of its own that reaches anything")?;
        let mut command = program.command();
        // Not --die-with-parent: that is the thread that has called it, which may end before.
        command.args(["--unshare-all", "--ro-bind"]).arg(&workshop.image);
        command.args(["/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
        if let Some(data) = &job.data {
            command.arg("--bind").arg(data).arg(DATA);
        }
        command.arg("--").args(&job.argv);
        Ok(command)
    })
    .found()
}
