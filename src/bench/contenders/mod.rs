//! Those who take part, one kind a file: how each is found on this host, and how it is called.

mod bubblewrap;
mod called;
mod cloud_hypervisor;
mod direct;
mod dockers_words;
mod duplex;
mod engines;
mod firecracker;
mod oci;
mod program;
mod qemu;
mod unshare;
mod vmm;

use self::program::missing;
use super::contender::Contender;
use super::results::{Contender as Described, Wall};
use super::workshop::Workshop;

/// A contender, or why it cannot take part.
type Found = Result<Box<dyn Contender>, Described>;

/// All kinds, in the order in which reports show them.
const KINDS: [Kind; 16] = [
    Kind { id: "process", own: true, vm: false, find: direct::process },
    Kind { id: "unshare", own: false, vm: false, find: unshare::find },
    Kind { id: "bubblewrap", own: false, vm: false, find: bubblewrap::find },
    Kind { id: "duplex-container", own: true, vm: false, find: duplex::container },
    Kind { id: "crun", own: false, vm: false, find: oci::crun },
    Kind { id: "runc", own: false, vm: false, find: oci::runc },
    Kind { id: "podman", own: false, vm: false, find: engines::podman },
    Kind { id: "docker", own: false, vm: false, find: engines::docker },
    Kind { id: "ctr", own: false, vm: false, find: engines::ctr },
    Kind { id: "runsc", own: false, vm: false, find: oci::runsc },
    Kind { id: "duplex-vm", own: true, vm: true, find: duplex::vm },
    Kind { id: "duplex-boot", own: true, vm: true, find: duplex::boot },
    Kind { id: "qemu-microvm", own: false, vm: true, find: qemu::microvm },
    Kind { id: "qemu-q35", own: false, vm: true, find: qemu::q35 },
    Kind { id: "firecracker", own: false, vm: true, find: firecracker::find },
    Kind { id: "cloud-hypervisor", own: false, vm: true, find: cloud_hypervisor::find },
];

/// How a contender is found.
struct Kind {
    id: &'static str,
    /// Takes part without being asked for.
    own: bool,
    /// Needs hardware virtualization.
    vm: bool,
    find: fn(&Workshop) -> Found,
}

/// Who is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Wanted {
    /// Also those that are not duplex's own.
    pub peers: bool,
    /// Only those of these ids; none for all.
    pub only: Vec<String>,
    /// Whether VMs take part.
    pub vms: Vms,
}

/// Whether VMs take part.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Vms {
    /// They do.
    #[default]
    Here,
    /// They take part elsewhere.
    Elsewhere,
    /// They do not, for this reason.
    Nowhere(String),
}

/// Who takes part, and who does not.
pub struct LineUp {
    /// In the order in which reports show them.
    pub present: Vec<Box<dyn Contender>>,
    /// Each with its reason.
    pub missing: Vec<Described>,
    /// The least command there can be: what it takes is the observer's own share.
    pub observer: Box<dyn Contender>,
}

impl LineUp {
    /// Looks for all that are wanted.
    pub fn find(workshop: &Workshop, wanted: &Wanted) -> Self {
        let observer = direct::observer(workshop);
        let mut line_up = Self { present: Vec::new(), missing: Vec::new(), observer };
        for kind in KINDS.iter().filter(|kind| kind.is_wanted(wanted)) {
            let found = match &wanted.vms {
                Vms::Nowhere(reason) if kind.vm => {
                    Err(missing(&describe(kind.id, kind.id, Wall::Vm), reason.clone()))
                }
                _ => (kind.find)(workshop),
            };
            match found {
                Ok(contender) => line_up.present.push(contender),
                Err(described) => line_up.missing.push(described),
            }
        }
        line_up
    }

    /// All that were asked for, as a report lists them.
    pub fn described(&self) -> Vec<Described> {
        let present = self.present.iter().map(|contender| contender.described().clone());
        present.chain(self.missing.iter().cloned()).collect()
    }
}

impl Kind {
    fn is_wanted(&self, wanted: &Wanted) -> bool {
        let named = wanted.only.iter().any(|id| id == self.id);
        let chosen = if wanted.only.is_empty() { self.own || wanted.peers } else { named };
        chosen && !(self.vm && wanted.vms == Vms::Elsewhere)
    }
}

/// All ids that there are.
pub fn ids() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.id)
}

/// How a report names one that has not been looked for yet.
fn describe(id: &str, name: &str, wall: Wall) -> Described {
    Described { id: id.into(), name: name.into(), wall, version: None, missing: None }
}
