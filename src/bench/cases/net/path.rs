//! The ways from a workload to this host.

use std::process::{Command, Stdio};

use crate::bench::contender::{Contender, Job};
use crate::bench::results::Place;
use crate::bench::workshop::Workshop;
use crate::host::installed_program;

/// What a contender's network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// The one that is had without changing the host: with duplex `--net user`.
    User,
    /// A bridge of the host's, without NAT: with duplex `--net bridge=NAME` for a container, `tap=NAMEp0` for a VM.
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

/// The network that is made for these figures, and removed after them.
const NETWORK: &str = "dbench";
const SUBNET: &str = "10.213.78.0/24";
const BRIDGE: &str = "10.213.78.1";

impl Path {
    /// Whether a contender has it here. A container's port on a bridge takes the kernel's packet filter, which the
    /// testbed's has not.
    pub(super) fn is_had_by(self, contender: &dyn Contender, place: Place) -> bool {
        let id = contender.described().id.as_str();
        let filter = place == Place::Host || id != "duplex-container";
        self == Self::User || (OWN.contains(&id) && filter)
    }

    /// What the job asks for.
    pub(super) fn ask(self, job: Job) -> Job {
        let bridge = (self == Self::Bridge).then(|| NETWORK.to_owned());
        Job { net: true, bridge, ..job }
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
                "by a bridge of this machine's, made for it without NAT (duplex: a tap and virtio-net for a VM; a veth \
                 pair for a container, but in the testbed, whose kernel has no packet filter)"
            }
        }
    }

    /// Where the server is to listen.
    pub(super) fn listens_at(self, contender: &dyn Contender) -> &'static str {
        let id = contender.described().id.as_str();
        match self {
            _ if id == "process" => "127.0.0.1",
            Self::Bridge => BRIDGE,
            Self::User if OWN.contains(&id) => "127.0.0.1",
            // An engine's own bridge has an address that is known when an instance runs.
            Self::User => "0.0.0.0",
        }
    }

    /// What the workload finds the server by.
    pub(super) fn server_seen_by(self, contender: &dyn Contender) -> &'static str {
        if contender.described().id == "process" { "127.0.0.1" } else { "gateway" }
    }

    /// Makes what it needs; gone when it is dropped.
    pub(super) fn prepare(self, workshop: &Workshop, place: Place) -> Result<Way, String> {
        let way = || Way { workshop: workshop.clone(), path: self, place };
        match self {
            Self::User if place == Place::Host => Ok(way()),
            Self::User => {
                let way = way();
                ROUTE.iter().try_for_each(|arguments| run("ip".as_ref(), arguments))?;
                Ok(way)
            }
            Self::Bridge => {
                if std::path::Path::new("/sys/class/net").join(NETWORK).exists() {
                    return Err(format!(
                        "the network {NETWORK} is there already: of another bench that runs, or of one that was \
                         killed (then: duplex network rm {NETWORK})"
                    ));
                }
                let create = ["network", "create", "--no-nat", "--ports", "1", "--subnet", SUBNET];
                run(&workshop.duplex, &[&create[..], &[NETWORK]].concat())?;
                Ok(way())
            }
        }
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
        let removed = match self.path {
            Path::User if self.place == Place::Host => Ok(()),
            // Its peer and the route go with it.
            Path::User => run("ip".as_ref(), &["link", "delete", "bench0"]),
            Path::Bridge => run(&self.workshop.duplex, &["network", "rm", NETWORK]),
        };
        if let Err(reason) = removed {
            log::warn!("what was made for the network stays: {reason}");
        }
    }
}

/// Runs a program, which has to succeed.
fn run(program: &std::path::Path, arguments: &[&str]) -> Result<(), String> {
    let name = program.display();
    let found = if program.is_absolute() {
        program.to_owned()
    } else {
        installed_program(&name.to_string()).ok_or_else(|| format!("there is no {name}"))?
    };
    let output = Command::new(found).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{name} {}: {said}", arguments.join(" ")))
}
