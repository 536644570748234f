//! Whether a guest runs in the testbed.

use crate::host;

/// When to use the testbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TestbedMode {
    /// Where this host has no hardware virtualization, or KVM cannot be used.
    Auto,
    /// Never: fail where KVM cannot be used.
    Never,
    /// Always.
    Always,
}

impl TestbedMode {
    /// Why the testbed is to be used, for a person; `None` where it is not.
    pub(super) fn reason(self, count_instructions: bool) -> Option<String> {
        if count_instructions {
            return Some("instructions are counted".into());
        }
        match self {
            Self::Never => None,
            Self::Always => Some("as asked for".into()),
            Self::Auto => host::virtualization().lack(),
        }
    }
}
