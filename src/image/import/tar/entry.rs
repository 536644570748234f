//! What an archive says about a file.

use super::pax::decimal;

/// An entry, as its headers have it together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path, as written.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) attributes: Attributes,
    /// Of a file, how much it holds, holes included.
    pub(crate) size: u64,
}

/// What a file is besides what it holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Permissions, with set-user-id, set-group-id and the sticky bit.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// Extended attributes, xattr(7).
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    /// Another name of what has this path.
    HardLink(Vec<u8>),
    CharacterDevice(Device),
    BlockDevice(Device),
    Fifo,
}

/// The number of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// A time since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

impl Time {
    /// As extended headers have it: decimal digits, perhaps with a sign and a fraction.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut parts = text.splitn(2, |byte| *byte == b'.');
        let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
        let fraction = parts.next().unwrap_or(b"0");
        let mut digits = [b'0'; 9];
        digits.iter_mut().zip(fraction).for_each(|(digit, given)| *digit = *given);
        decimal(fraction)?;
        let nanoseconds = u32::try_from(decimal(&digits)?).ok()?;
        if !negative {
            return Some(Self { seconds, nanoseconds });
        }
        match nanoseconds {
            0 => Some(Self { seconds: -seconds, nanoseconds }),
            // Nanoseconds count forwards.
            _ => Some(Self { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds }),
        }
    }
}

/// A piece of a sparse file that holds data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_signs_and_fractions() {
        let time = |text: &str| Time::parse(text.as_bytes()).map(|t| (t.seconds, t.nanoseconds));
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("12.25"), Some((12, 250_000_000)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("1.1234567891234"), Some((1, 123_456_789)));
        for bad in ["", ".", "-", "1.", "1.x", "+1", "--1", "99999999999999999999"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
