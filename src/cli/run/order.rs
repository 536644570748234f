//! What is to run, with everything decided: by the time there is one, nothing about it depends on this
//! host's environment any more, so that another process can carry it out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::security::Confinement;
use super::volumes::Volume;
use crate::cli::timing::{Timing, Unit};
use crate::cli::tracing::{TraceOrder, command_line};
use crate::container;
use crate::image::Init;
use crate::init::Start;
use crate::instances::{About, Half};
use crate::workload::{Cpus, Limits, MemorySize, Net, PublishedPort};

/// What is to run, in either half.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// In a VM.
    Vm(Box<VmOrder>),
    /// In a container.
    Container(Box<ContainerOrder>),
}

impl Order {
    /// What it is about.
    pub(super) fn subject(&self) -> &Subject {
        match self {
            Order::Vm(order) => &order.subject,
            Order::Container(order) => &order.subject,
        }
    }

    /// What it is about, to be changed.
    pub(super) fn subject_mut(&mut self) -> &mut Subject {
        match self {
            Order::Vm(order) => &mut order.subject,
            Order::Container(order) => &mut order.subject,
        }
    }

    /// Where to write down what happens.
    pub(super) fn trace(&self) -> Option<&TraceOrder> {
        match self {
            Order::Vm(order) => order.trace.as_ref(),
            Order::Container(order) => order.trace.as_ref(),
        }
    }

    /// What its time is measured in.
    pub(super) fn unit(&self) -> Unit {
        match self {
            Order::Vm(order) => order.unit,
            Order::Container(order) => {
                order.timing.map_or(Unit::Milliseconds, |timing| timing.unit)
            }
        }
    }
}

/// What is the same in both halves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Subject {
    /// What others find it by.
    pub(super) about: About,
    /// The directory with the root file system.
    pub(super) image: PathBuf,
    /// The image of the store that is to be leased while it runs.
    pub(super) leased: Option<PathBuf>,
    /// What its PID 1 is told.
    pub(super) start: Start,
    /// Whether the command reads this process's standard input.
    pub(super) input: bool,
    /// Whether it has a terminal.
    pub(super) terminal: bool,
    /// Whether it runs on its own: its output is for nobody, and that it was started is said by a
    /// line on standard output.
    pub(super) detached: bool,
}

impl Subject {
    /// What is run, for a person.
    pub(super) fn command_line(&self) -> String {
        let half = match self.about.half {
            Half::Vm => "",
            Half::Container => " --container",
        };
        let image = command_line([&self.about.image]);
        format!("duplex run{half} {image} {}", command_line(&self.about.command))
    }
}

/// A container and the command in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ContainerOrder {
    /// What both halves have.
    pub(super) subject: Subject,
    /// The way to it.
    pub(super) plan: container::Plan,
    /// What AppArmor is to confine commands to.
    pub(super) confinement: Confinement,
    /// What it may use.
    pub(super) limits: Limits,
    /// The control group that its own is made in.
    pub(super) cgroup_parent: String,
    /// How to say where the time went, if at all.
    pub(super) timing: Option<Timing>,
    /// Where to write down what happens.
    pub(super) trace: Option<TraceOrder>,
}

/// A guest and the command in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct VmOrder {
    /// What both halves have.
    pub(super) subject: Subject,
    /// The kernel, an ELF.
    pub(super) kernel: PathBuf,
    /// Its init.
    pub(super) init: Init,
    /// The disk of the image.
    pub(super) disk: PathBuf,
    /// The disk of a writable layer that stays.
    pub(super) layer: Option<PathBuf>,
    /// Directories of this host.
    pub(super) volumes: Vec<Volume>,
    /// Its network interfaces.
    pub(super) nets: Vec<Net>,
    /// The ports of this host that lead to it.
    pub(super) published: Vec<PublishedPort>,
    /// How many vCPUs.
    pub(super) cpus: Cpus,
    /// How much memory.
    pub(super) memory: MemorySize,
    /// What the VMM's process may use of the host.
    pub(super) limits: Limits,
    /// The control group above that of the VMM.
    pub(super) cgroup_parent: String,
    /// How early the host's kernel kills the VMM when memory is short.
    pub(super) oom_score: Option<i16>,
    /// Whether to say where the time went.
    pub(super) timing: bool,
    /// What time is measured in.
    pub(super) unit: Unit,
    /// As JSON.
    pub(super) json: bool,
    /// Where to write down what happens.
    pub(super) trace: Option<TraceOrder>,
}
