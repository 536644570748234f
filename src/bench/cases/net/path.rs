//! The ways from a workload to this host.

use std::process::{Command, Stdio};

use crate::bench::contender::Contender;
use crate::bench::results::Place;
use crate::bench::workshop::Workshop;
use crate::host::installed_program;

/// What a contender's network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// The one that is had without changing the host: with duplex `--net user`.
    User,
    /// A bridge of the host's: with duplex `--net bridge`.
    Bridge,
}

/// Who listens at the loopback interface is out of reach of other engines' bridges.
const OWN: [&str; 3] = ["process", "duplex-container", "duplex-vm"];

/// The testbed has no network; passt wants a default route, which may lead nowhere.
const ROUTE: [&[&str]; 5] = [
    &["link", "add", "bench0", "type", "veth", "peer", "name", "bench1"],
    &["address", "add", "10.213.77.1/24", "dev", "bench0"],
    &["link", "set", "bench0", "up"],
    &["link", "set", "bench1", "up"],
    &["route", "add", "default", "via", "10.213.77.2", "dev", "bench0"],
];

/// What the testbed's kernel has not loaded by itself.
const MODULES: [&str; 1] = ["nf_tables"];

impl Path {
    /// Those that can be had at this place: a bridge would stay on the host, and change it.
    pub(super) fn on(place: Place) -> &'static [Self] {
        if place == Place::Host { &[Self::User] } else { &[Self::User, Self::Bridge] }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Bridge => "bridge",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::User => "Talking, by a user's network",
            Self::Bridge => "Talking, by a bridge",
        }
    }

    pub(super) fn how(self) -> &'static str {
        match self {
            Self::User => {
                "by the network that the contender has without changing the host (duplex: passt for a VM, pasta for a \
                 container; engines: their default)"
            }
            Self::Bridge => {
                "by a bridge of the host's (duplex: a tap and virtio-net for a VM, a veth pair for a \
                 container)"
            }
        }
    }

    /// Where the server is to listen.
    pub(super) fn listens_at(self, contender: &dyn Contender) -> &'static str {
        let own = OWN.contains(&contender.described().id.as_str());
        if own && self == Self::User { "127.0.0.1" } else { "0.0.0.0" }
    }

    /// What the workload finds the server by.
    pub(super) fn server_seen_by(self, contender: &dyn Contender) -> &'static str {
        if contender.described().id == "process" { "127.0.0.1" } else { "gateway" }
    }

    /// Makes what it needs; gone when it is dropped.
    pub(super) fn prepare(self, workshop: &Workshop, place: Place) -> Result<Way, String> {
        let way = Way { workshop: workshop.clone(), path: self, place };
        if place != Place::Host && self == Self::User {
            ROUTE.iter().try_for_each(|arguments| tool("ip", arguments))?;
        }
        if place != Place::Host && self == Self::Bridge {
            MODULES.iter().try_for_each(|module| tool("modprobe", &[module]))?;
        }
        Ok(way)
    }
}

/// A way that has been prepared.
pub(super) struct Way {
    workshop: Workshop,
    path: Path,
    place: Place,
}

impl Drop for Way {
    fn drop(&mut self) {
        if self.place == Place::Host {
            return;
        }
        match self.path {
            // Its peer and the route go with it.
            Path::User => drop(tool("ip", &["link", "delete", "bench0"])),
            Path::Bridge => {
                let mut remove = Command::new(&self.workshop.duplex);
                remove.args(["network", "rm", "duplex0"]).stdin(Stdio::null());
                let _ = remove.output();
            }
        }
    }
}

fn tool(name: &str, arguments: &[&str]) -> Result<(), String> {
    let program = installed_program(name).ok_or_else(|| format!("there is no {name}"))?;
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{name} {}: {said}", arguments.join(" ")))
}
