//! What is to run, with everything decided: by the time there is one, nothing about it depends on this
//! host's environment any more, so that another process can carry it out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::volumes::Volume;
use crate::cli::timing::Unit;
use crate::image::Init;
use crate::init::Start;
use crate::instances::About;
use crate::workload::{Cpus, MemorySize, Net};

/// A guest and the command in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// What others find it by.
    pub(super) about: About,
    /// The kernel, an ELF.
    pub(super) kernel: PathBuf,
    /// Its init.
    pub(super) init: Init,
    /// The disk of the image.
    pub(super) disk: PathBuf,
    /// The image of the store that is to be leased while the guest runs.
    pub(super) leased: Option<PathBuf>,
    /// The disk of a writable layer that stays.
    pub(super) layer: Option<PathBuf>,
    /// Directories of this host.
    pub(super) volumes: Vec<Volume>,
    /// Its network interfaces.
    pub(super) nets: Vec<Net>,
    /// How many vCPUs.
    pub(super) cpus: Cpus,
    /// How much memory.
    pub(super) memory: MemorySize,
    /// What init is told.
    pub(super) start: Start,
    /// Whether the command reads this process's standard input.
    pub(super) input: bool,
    /// Whether it has a terminal.
    pub(super) terminal: bool,
    /// Whether it runs on its own: its output is for nobody, and that it was started is said by a
    /// line on standard output.
    pub(super) detached: bool,
    /// Whether to say where the time went.
    pub(super) timing: bool,
    /// What time is measured in.
    pub(super) unit: Unit,
    /// As JSON.
    pub(super) json: bool,
}
