//! Which device nodes work.

use std::fmt;

use serde::Serialize;

/// The two kinds of device nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A stream of bytes.
    Character,
    /// A disk.
    Block,
}

/// Devices that may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceRule {
    /// Their kind.
    pub kind: DeviceKind,
    /// Their major number; any, without.
    pub major: Option<u32>,
    /// Their minor number; any, without.
    pub minor: Option<u32>,
    /// May they be opened for reading and writing? If not, only their nodes may be made.
    pub open: bool,
    /// What they are.
    pub reason: &'static str,
}

impl DeviceRule {
    const fn character(major: u32, minor: Option<u32>, reason: &'static str) -> Self {
        Self { kind: DeviceKind::Character, major: Some(major), minor, open: true, reason }
    }

    const fn node_of_any(kind: DeviceKind) -> Self {
        let reason = "a node may be made, but not opened";
        Self { kind, major: None, minor: None, open: false, reason }
    }

    /// Those that a container may use: as in docker's default, the ones that give access to nothing
    /// but themselves (Linux, Documentation/admin-guide/devices.txt).
    pub const DEFAULT: [Self; 11] = [
        Self::node_of_any(DeviceKind::Character),
        Self::node_of_any(DeviceKind::Block),
        Self::character(1, Some(3), "/dev/null"),
        Self::character(1, Some(5), "/dev/zero"),
        Self::character(1, Some(7), "/dev/full"),
        Self::character(1, Some(8), "/dev/random"),
        Self::character(1, Some(9), "/dev/urandom"),
        Self::character(5, Some(0), "/dev/tty"),
        Self::character(5, Some(1), "/dev/console, a terminal of the container's own"),
        Self::character(5, Some(2), "/dev/ptmx"),
        Self::character(136, None, "terminals in /dev/pts"),
    ];
}

impl fmt::Display for DeviceRule {
    /// As the controller of version 1 reads it, Linux, Documentation/admin-guide/cgroup-v1/devices.rst.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::Character => 'c',
            DeviceKind::Block => 'b',
        };
        let number = |number: Option<u32>| number.map_or("*".into(), |number| number.to_string());
        let access = if self.open { "rwm" } else { "m" };
        write!(f, "{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_the_kernel_wants_them() {
        let lines = DeviceRule::DEFAULT.map(|rule| rule.to_string());
        assert_eq!(&lines[..3], ["c *:* m", "b *:* m", "c 1:3 rwm"]);
        assert_eq!(lines[10], "c 136:* rwm");
        // No block device can be opened.
        assert!(
            DeviceRule::DEFAULT.iter().all(|rule| rule.kind != DeviceKind::Block || !rule.open)
        );
    }
}
