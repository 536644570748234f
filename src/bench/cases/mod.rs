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

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ground::Ground;
use super::labs::Lab;
use super::results::{Case, Place, Table};

/// How many instances a burst has at most, where nobody says: natively, and emulated.
const INSTANCES: u32 = 32;
const INSTANCES_EMULATED: u32 = 8;

/// How long the rounds of a table may take when everything is asked for: natively, and emulated.
const BUDGET: Duration = Duration::from_secs(60);
const BUDGET_EMULATED: Duration = Duration::from_secs(120);

/// What is asked beside the case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Questions {
    /// How many instances are to run at once at most.
    pub instances: Option<u32>,
    /// Which failure is to be lived again.
    pub lab: Option<Lab>,
    /// Whether all of it has to be done in less than three quarters of an hour: tables then have as many rounds
    /// as fit.
    pub in_time: bool,
}

impl Questions {
    /// How long the rounds of a table should take, where that matters.
    pub(super) fn budget(&self, place: Place) -> Option<Duration> {
        let here = place == Place::Host;
        self.in_time.then_some(if here { BUDGET } else { BUDGET_EMULATED })
    }
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
        Case::Lab => {
            questions.lab.map(|lab| lab.run(ground, questions.instances)).unwrap_or_default()
        }
    }
}

impl Case {
    /// About how long it takes with ten rounds on a machine with two processors: an estimate, for the plan that is
    /// told beforehand.
    pub fn usually_takes(self, place: Place) -> Duration {
        let minutes = match (place == Place::Host, self) {
            (true, Self::Isolation) => 0.2,
            (true, _) => 1.0,
            (false, Self::Start) => 6.0,
            (false, Self::Net | Self::Density) => 4.0,
            (false, Self::Noise | Self::Lab) => 6.0,
            (false, Self::Isolation) => 1.0,
            (false, _) => 2.5,
        };
        Duration::from_secs_f64(minutes * 60.0)
    }

    /// Whether it may take so much that others on the machine suffer.
    pub fn could_starve_the_host(self, questions: &Questions) -> bool {
        let lab = || questions.lab.is_some_and(Lab::could_starve_the_host);
        self == Self::Noise || (self == Self::Lab && lab())
    }
}
