//! What is kept of an image beside its root file system.

use serde::{Deserialize, Serialize};

use super::Name;
use crate::workload::Process;

/// What is kept of an image beside its root file system, in its `config.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// What it goes by.
    pub name: Name,
    /// What it says about the command.
    pub process: Process,
    /// Where it came from: a path, or `-`; for people.
    pub source: String,
    /// What form it had.
    pub form: String,
    /// What it is: `sha256:` and the digest of its manifest, of its configuration (docker), or of the
    /// tarball. A directory has none.
    pub digest: Option<String>,
    /// How much its files hold, in bytes.
    pub size: u64,
    /// When it was imported, in seconds since 1970.
    pub created: u64,
}
