//! What is measured: one question a file. Each gives tables, on the machine that it runs on.

pub(super) mod asked;
pub mod cpu;
pub mod density;
pub mod disk;
pub(super) mod held;
pub mod isolation;
mod kernel_memory;
pub mod memory;
pub(super) mod neighbours;
pub mod net;
pub mod noise;
pub(super) mod processes;
mod yard;

use serde::{Deserialize, Serialize};

use super::ground::Ground;
use super::labs::Lab;
use super::results::{Case, Place, Table};

/// How many instances a burst has at most, where nobody says: natively, and emulated.
const INSTANCES: u32 = 32;
const INSTANCES_EMULATED: u32 = 8;

/// What is asked beside the case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Questions {
    /// How many instances are to run at once at most.
    pub instances: Option<u32>,
    /// Which failure is to be lived again.
    pub lab: Option<Lab>,
}

/// A case's tables; none for [`Case::Start`], which has a module of its own.
pub fn tables(case: Case, questions: &Questions, ground: &mut Ground<'_>) -> Vec<Table> {
    let usual = if ground.place == Place::Host { INSTANCES } else { INSTANCES_EMULATED };
    match case {
        Case::Start => Vec::new(),
        Case::Cpu => vec![cpu::run(ground)],
        Case::Memory => vec![memory::run(ground)],
        Case::Disk => vec![disk::run(ground)],
        Case::Net => net::run(ground),
        Case::Density => vec![density::run(ground, questions.instances.unwrap_or(usual))],
        Case::Noise => noise::run(ground),
        Case::Isolation => vec![isolation::run(ground)],
        Case::Lab => questions.lab.map(|lab| lab.run(ground)).unwrap_or_default(),
    }
}

impl Case {
    /// Whether it may take so much that others on the machine suffer.
    pub fn could_starve_the_host(self, questions: &Questions) -> bool {
        let lab = || questions.lab.is_some_and(Lab::could_starve_the_host);
        self == Self::Noise || (self == Self::Lab && lab())
    }
}
