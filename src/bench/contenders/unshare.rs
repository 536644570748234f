//! unshare(1): namespaces and nothing else, with the host's own root.

use super::called::{Called, refuse};
use super::direct::split;
use super::program::Program;
use super::{Found, describe};
use crate::bench::results::Wall;
use crate::bench::workshop::Workshop;

pub(super) fn find(workshop: &Workshop) -> Found {
    let mut described = describe("unshare", "unshare(1)", Wall::Container);
    let program = Program::find("unshare", "util-linux", &mut described)?;
    described.version = program.version(&["--version"]);
    let workshop = workshop.clone();
    Called::new(described, program.files(), move |job, _| {
        refuse(job.net, "network of its own that reaches anything")?;
        let (name, arguments) = split(job)?;
        let mut command = program.command();
        // Mounts, UTS, IPC, network, PIDs; as a child, which /proc is mounted for.
        command.args(["-muinpf", "--mount-proc"]).arg(workshop.in_image(name)).args(arguments);
        Ok(command)
    })
    .found()
}
