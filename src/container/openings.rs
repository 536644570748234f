//! Walls that a container does without, because its user said so.

use serde::{Deserialize, Serialize};

/// What is left open. By default nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Openings {
    /// Its users are the host's: its root is the host's root, with the capabilities that it is granted.
    pub(crate) users: bool,
    /// It sees the host's tree of control groups.
    pub(crate) groups: bool,
    /// There is no filter on system calls.
    pub(crate) calls: bool,
    /// What tells about the host's kernel, or changes it, is neither masked nor read-only.
    pub(crate) paths: bool,
    /// Set-user-id programs of the image have their effect.
    pub(crate) privileges: bool,
}
