//! Extended headers (POSIX.1-2001, pax, "pax Extended Header"): records `LENGTH KEY=VALUE\n`.
//!
//! Not by lines, as values may be any bytes: an extended attribute can hold a line feed.

use super::super::error::shown;
use super::super::{ImportError, limits};
use super::entry::{Extent, Time};

const XATTR: &[u8] = b"SCHILY.xattr.";
const SPARSE: &[u8] = b"GNU.sparse.";

/// What an extended header says about the entry behind it.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Sparse,
}

/// How GNU tar says that a file is sparse.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    /// The version of the format, if there is one: 1.0 keeps its map in front of the data.
    pub(super) major: Option<u64>,
    /// The file's name; the entry's has been made up.
    pub(super) name: Option<Vec<u8>>,
    /// Its size with holes.
    pub(super) size: Option<u64>,
    /// Versions 0.0 and 0.1: the map itself.
    pub(super) map: Option<Vec<Extent>>,
    /// Version 0.0: an offset whose length follows.
    offset: Option<u64>,
}

impl Extended {
    /// Reads a local header's records.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, ImportError> {
        let mut extended = Self::default();
        while let Some((key, value)) = record(&mut bytes)? {
            extended.add(key, value)?;
        }
        Ok(extended)
    }

    /// Looks at a global header: what it says must not change any entry. Those of `git archive` hold
    /// a comment.
    pub(super) fn check_global(mut bytes: &[u8]) -> Result<(), ImportError> {
        while let Some((key, _)) = record(&mut bytes)? {
            let honoured: [&[u8]; 6] = [b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime"];
            if honoured.contains(&key) || key.starts_with(XATTR) || key.starts_with(SPARSE) {
                return Err(malformed(key, "is given for all entries at once"));
            }
        }
        Ok(())
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), ImportError> {
        let number = || decimal(value).ok_or_else(|| malformed(key, "is no number"));
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => {
                let time = Time::parse(value).ok_or_else(|| malformed(key, "is no time"))?;
                self.mtime = Some(time);
            }
            b"GNU.sparse.major" => self.sparse.major = Some(number()?),
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = Some(number()?),
            b"GNU.sparse.offset" => self.sparse.offset = Some(number()?),
            b"GNU.sparse.numbytes" => {
                let offset = self.sparse.offset.take();
                let offset = offset.ok_or_else(|| malformed(key, "comes without an offset"))?;
                let length = number()?;
                self.sparse.map.get_or_insert_default().push(Extent { offset, length });
            }
            b"GNU.sparse.map" => self.sparse.map = Some(map(value)?),
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// A key and its value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// Takes the next record off; `None` at the end.
fn record<'a>(bytes: &mut &'a [u8]) -> Result<Option<Record<'a>>, ImportError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let split = || {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let length = usize::try_from(decimal(bytes.get(..space)?)?).ok()?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (record.get(..equals)?, record.get(equals + 1..)?);
        Some((key, value, bytes.get(length..)?))
    };
    let (key, value, rest) =
        split().ok_or_else(|| ImportError::malformed("an extended header", "is malformed"))?;
    *bytes = rest;
    Ok(Some((key, value)))
}

/// Version 0.1: offsets and lengths in turn.
fn map(value: &[u8]) -> Result<Vec<Extent>, ImportError> {
    let refused = || malformed(b"GNU.sparse.map", "is malformed");
    let numbers = value.split(|byte| *byte == b',').map(decimal).collect::<Option<Vec<_>>>();
    let numbers = numbers.ok_or_else(refused)?;
    if numbers.len() % 2 != 0 || numbers.len() / 2 > limits::EXTENTS {
        return Err(refused());
    }
    let pairs = numbers.as_chunks::<2>().0;
    Ok(pairs.iter().map(|&[offset, length]| Extent { offset, length }).collect())
}

/// Decimal digits and nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

fn malformed(key: &[u8], reason: &str) -> ImportError {
    ImportError::malformed(format!("extended header {}", shown(key)), reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let length = (1..).map(|digits| rest + digits).find(|l| l.to_string().len() + rest == *l);
        [format!("{} {key}=", length.unwrap()).as_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn values_are_any_bytes() {
        let value = b"\x01\n= \0";
        let bytes = [written("SCHILY.xattr.user.x", value), written("path", b"a\nb")].concat();
        let extended = Extended::parse(&bytes).unwrap();
        assert_eq!(extended.xattrs, [(b"user.x".to_vec(), value.to_vec())]);
        assert_eq!(extended.path.unwrap(), b"a\nb");
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for bad in ["5 a=b\n", "99 a=b\n", "0 a=b\n", "1 ", "18446744073709551616 a=b\n", "6 a=bc"]
        {
            assert!(Extended::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        for (key, value) in [
            ("size", "-1"),
            ("size", "99999999999999999999"),
            ("mtime", "soon"),
            ("GNU.sparse.map", "1"),
            ("GNU.sparse.numbytes", "1"),
            ("uid", "0x1"),
        ] {
            assert!(Extended::parse(&written(key, value.as_bytes())).is_err(), "{key}");
        }
    }

    #[test]
    fn a_global_header_changes_no_entry() {
        assert!(Extended::check_global(&written("comment", b"abc")).is_ok());
        for key in ["path", "size", "SCHILY.xattr.user.x", "GNU.sparse.name"] {
            assert!(Extended::check_global(&written(key, b"1")).is_err(), "{key}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Extended::parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let extended = Extended::parse(&written("linkpath", &value)).unwrap();
            prop_assert_eq!(extended.link.unwrap(), value);
        }
    }
}
