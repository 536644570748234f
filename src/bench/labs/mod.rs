//! Production failures, lived again, each with what mends it: `duplex bench lab NAME`.

mod resource_exhaustion;
mod shared_kernel;
mod slow_scaling;

use serde::{Deserialize, Serialize};

use super::ground::Ground;
use super::results::Table;

/// Which failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Lab {
    /// One container without limits starves its neighbours; then with control groups
    ResourceExhaustion,
    /// A burst of 50 instances: VMs of a distribution's kernel, tuned VMs, containers
    SlowScaling,
    /// What a fault of the kernel would reach in each half, tried from inside
    SharedKernel,
}

impl Lab {
    /// Whether it may take so much that others on the machine suffer.
    pub fn could_starve_the_host(self) -> bool {
        self != Self::SharedKernel
    }

    /// What happens in it, for a person who looks on.
    pub fn story(self) -> &'static str {
        match self {
            Self::ResourceExhaustion => resource_exhaustion::STORY,
            Self::SlowScaling => slow_scaling::STORY,
            Self::SharedKernel => shared_kernel::STORY,
        }
    }

    /// Lives it, with so many instances at most where it has many.
    pub fn run(self, ground: &mut Ground<'_>, instances: Option<u32>) -> Vec<Table> {
        match self {
            Self::ResourceExhaustion => vec![resource_exhaustion::run(ground)],
            Self::SlowScaling => vec![slow_scaling::run(ground, instances)],
            Self::SharedKernel => vec![shared_kernel::run(ground)],
        }
    }
}
