//! Tar archives, read as a stream: the ustar, pax and GNU formats (POSIX.1-2001, pax; GNU tar manual,
//! "Basic Tar Format" and "Storing Sparse Files").
//!
//! The reader holds one header and at most a few MiB, whatever the archive says. It is strict where
//! readers disagree, so that nobody sees other files in an archive than another program does.

mod entry;
mod input;
mod number;
mod pax;
mod sparse;

use std::fs::File;
use std::os::unix::fs::FileExt;

use tar::Header;

use self::pax::Extended;
use super::ImportError;
use super::error::shown;
use super::limits::{self, Budget};
use crate::failure::Step;
use entry::Extent;
pub(super) use entry::{Attributes, Device, Entry, Kind, Time};
pub(super) use input::{Input, Section, Stream};

const BLOCK: usize = 512;
const BUFFER: usize = 256 << 10;
/// Archives are filled up to whole records; those of tapes had some MiB.
const LONGEST_END: usize = 64 << 20;

/// An archive that is being read.
pub(super) struct Archive<R> {
    input: R,
    position: u64,
    /// What is left of the data of the last entry, without what fills its last block.
    left: u64,
    padding: u64,
    /// Where its data belong.
    extents: Vec<Extent>,
    buffer: Vec<u8>,
}

/// Headers that say more about the entry behind them, each at most once.
#[derive(Default)]
struct Pending {
    extended: Option<Extended>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Input> Archive<R> {
    pub(super) fn new(input: R) -> Self {
        let buffer = vec![0; BUFFER];
        Self { input, position: 0, left: 0, padding: 0, extents: Vec::new(), buffer }
    }

    /// Where the data of the entry begin that was returned last, in bytes from the beginning.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes in the archive are that entry's data: less than its size if it has holes.
    pub(super) fn stored(&self) -> u64 {
        self.left
    }

    /// The next entry; `None` at the end mark. What has not been read of the last one is skipped.
    pub(super) fn next(&mut self, budget: &mut Budget) -> Result<Option<Entry>, ImportError> {
        self.skip_rest()?;
        let mut pending = Pending::default();
        loop {
            let Some(header) = self.header()? else {
                if pending.is_empty() {
                    return Ok(None);
                }
                return Err(ImportError::malformed("the last header", "is for no entry"));
            };
            budget.take_entry()?;
            let old = header.as_old();
            let size = number("size", number::parse_unsigned(&old.size))?;
            let once = |is_new: bool| match is_new {
                true => Ok(()),
                false => Err(ImportError::malformed("an extended header", "is there twice")),
            };
            match old.linkflag {
                [b'x'] => {
                    let bytes = self.small(size, limits::EXTENDED_HEADER)?;
                    once(pending.extended.replace(Extended::parse(&bytes)?).is_none())?;
                }
                [b'g'] => Extended::check_global(&self.small(size, limits::EXTENDED_HEADER)?)?,
                [b'L'] => once(pending.path.replace(self.long_name(size)?).is_none())?,
                [b'K'] => once(pending.link.replace(self.long_name(size)?).is_none())?,
                _ => return self.entry(&header, size, pending).map(Some),
            }
        }
    }

    /// Writes the data of the entry that was returned last to its places in an empty file, and gives
    /// that its size.
    pub(super) fn copy_data(&mut self, file: &File, size: u64) -> Result<(), ImportError> {
        let mut end = 0;
        for extent in std::mem::take(&mut self.extents) {
            let (mut at, mut left) = (extent.offset, extent.length);
            while left > 0 {
                let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
                let mut buffer = std::mem::take(&mut self.buffer);
                let chunk = buffer.get_mut(..want).unwrap_or_default();
                let read = self.read(chunk);
                let written =
                    read.and_then(|()| Ok(file.write_all_at(chunk, at).step("write a file")?));
                self.buffer = buffer;
                written?;
                at += want as u64;
                left -= want as u64;
                self.left -= want as u64;
            }
            end = at;
        }
        if end != size {
            file.set_len(size).step("give a file its size")?;
        }
        Ok(())
    }

    /// Reads what is behind the end mark: nothing but zeroes, and not without end.
    pub(super) fn finish(mut self) -> Result<(), ImportError> {
        let refused = |reason: &str| Err(ImportError::malformed("the archive", reason));
        let mut total = 0;
        loop {
            let read = match self.input.read(&mut self.buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other.map_err(ImportError::from_reading)?,
            };
            let bytes = self.buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(());
            }
            total += read;
            if total > LONGEST_END || bytes.iter().any(|byte| *byte != 0) {
                return refused("goes on behind its end mark");
            }
        }
    }

    /// The next header; `None` for the end mark.
    fn header(&mut self) -> Result<Option<Header>, ImportError> {
        let mut block = [0; BLOCK];
        self.read(&mut block)?;
        if block == [0; BLOCK] {
            // Two blocks mark the end; some programs are content with one.
            return match self.read(&mut block) {
                Err(ImportError::CutShort) => Ok(None),
                Ok(()) if block == [0; BLOCK] => Ok(None),
                Ok(()) => Err(ImportError::malformed("the archive", "goes on behind a zero block")),
                Err(other) => Err(other),
            };
        }
        let header = Header::from_byte_slice(&block).clone();
        let sum: u64 = (0..)
            .zip(block)
            .map(|(at, byte)| match at {
                148..156 => u64::from(b' '),
                _ => u64::from(byte),
            })
            .sum();
        if number::parse_unsigned(&header.as_old().cksum) != Ok(sum) {
            let at = self.position - BLOCK as u64;
            let what = format!("the header at byte {at}");
            return Err(ImportError::malformed(what, "its checksum does not match"));
        }
        Ok(Some(header))
    }

    fn entry(
        &mut self,
        header: &Header,
        size: u64,
        pending: Pending,
    ) -> Result<Entry, ImportError> {
        let mut extended = pending.extended.unwrap_or_default();
        let old = header.as_old();
        let path = extended.sparse.name.take().or(extended.path).or(pending.path);
        let path = path.unwrap_or_else(|| short_path(header));
        let about = format!("entry {}", shown(&path));
        let refused = |reason: String| ImportError::malformed(about.clone(), reason);
        let link = extended.link.or(pending.link);
        let link = || link.clone().unwrap_or_else(|| text(&old.linkname).to_vec());
        let device = || -> Result<Device, ImportError> {
            let ustar = header.as_ustar().map(|ustar| (&ustar.dev_major, &ustar.dev_minor));
            let gnu = header.as_gnu().map(|gnu| (&gnu.dev_major, &gnu.dev_minor));
            let (major, minor) = ustar.or(gnu).ok_or_else(|| refused("it has no number".into()))?;
            // What Linux has room for, makedev(3).
            let number = |field: &[u8; 8], bits: u32| {
                let number = number::parse_unsigned(field).ok().filter(|n| *n < 1 << bits);
                let number = number.and_then(|number| u32::try_from(number).ok());
                number.ok_or_else(|| refused("its device number is none of Linux's".into()))
            };
            Ok(Device { major: number(major, 12)?, minor: number(minor, 20)? })
        };
        let is_sparse = old.linkflag == *b"S";
        let kind = match old.linkflag {
            [b'0' | 0 | b'7'] if path.ends_with(b"/") => Kind::Directory,
            [b'0' | 0 | b'7' | b'S'] => Kind::File,
            [b'1'] => Kind::HardLink(link()),
            [b'2'] => Kind::Symlink(link()),
            [b'3'] => Kind::CharacterDevice(device()?),
            [b'4'] => Kind::BlockDevice(device()?),
            [b'5'] => Kind::Directory,
            [b'6'] => Kind::Fifo,
            [other] => {
                return Err(refused(format!("its type '{}' is not known", other.escape_ascii())));
            }
        };
        let target: &[u8] = match &kind {
            Kind::HardLink(target) | Kind::Symlink(target) => target,
            _ => b"-",
        };
        if path.contains(&0) || target.contains(&0) {
            return Err(refused("a name has a NUL character in it".into()));
        }
        if path.len() > limits::PATH || target.len() >= limits::PATH || target.is_empty() {
            return Err(refused(format!("a name has not 1 to {} bytes", limits::PATH)));
        }
        let stored = extended.size.unwrap_or(size);
        if kind != Kind::File && stored != 0 {
            return Err(refused("it has data, but is no file".into()));
        }
        let id = |given: Option<u64>, field: &[u8]| -> Result<u32, ImportError> {
            let id = given.map_or_else(|| number::parse_unsigned(field), Ok);
            // The largest stands for "unchanged" in chown(2).
            let id = id.ok().and_then(|id| u32::try_from(id).ok()).filter(|id| *id != u32::MAX);
            id.ok_or_else(|| refused("its owner is none that a file can have".into()))
        };
        let mtime = match extended.mtime {
            Some(time) => time,
            None => Time { seconds: number("time", number::parse(&old.mtime))?, nanoseconds: 0 },
        };
        let mode = number("mode", number::parse_unsigned(&old.mode))? & 0o7777;
        self.begin(stored)?;
        let size = if is_sparse {
            self.old_sparse(header, &about)?
        } else if extended.sparse.is_used() {
            if kind != Kind::File {
                return Err(refused("it has holes, but is no file".into()));
            }
            self.pax_sparse(extended.sparse, &about)?
        } else {
            self.extents = vec![Extent { offset: 0, length: stored }];
            stored
        };
        let attributes = Attributes {
            mode: u32::try_from(mode).unwrap_or_default(),
            uid: id(extended.uid, &old.uid)?,
            gid: id(extended.gid, &old.gid)?,
            mtime,
            xattrs: extended.xattrs,
        };
        Ok(Entry { path, kind, attributes, size })
    }

    /// So many bytes of data come now.
    fn begin(&mut self, stored: u64) -> Result<(), ImportError> {
        let end = stored.checked_next_multiple_of(BLOCK as u64);
        let end = end.filter(|end| i64::try_from(*end).is_ok());
        let end = end.ok_or_else(|| ImportError::malformed("a size", "is too large"))?;
        self.left = stored;
        self.padding = end - stored;
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<(), ImportError> {
        let bytes = self.left + self.padding;
        (self.left, self.padding) = (0, 0);
        self.extents.clear();
        self.position += bytes;
        self.input.skip(bytes).map_err(ImportError::from_reading)
    }

    /// The data of a header that is to be read as a whole.
    fn small(&mut self, size: u64, limit: u64) -> Result<Vec<u8>, ImportError> {
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        if size > limit {
            let reason = format!("has {size} bytes, more than the {limit} that any needs");
            return Err(ImportError::malformed("an extended header", reason));
        }
        let mut bytes = vec![0; length];
        self.begin(size)?;
        self.read(&mut bytes)?;
        self.left = 0;
        self.skip_rest()?;
        Ok(bytes)
    }

    /// GNU's names that are too long for a header: they end in a NUL.
    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, ImportError> {
        let mut name = self.small(size, limits::PATH as u64 + 1)?;
        name.pop_if(|last| *last == 0);
        Ok(name)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), ImportError> {
        self.input.read_exact(buffer).map_err(ImportError::from_reading)?;
        self.position += buffer.len() as u64;
        Ok(())
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.extended.is_none() && self.path.is_none() && self.link.is_none()
    }
}

/// The path in the header itself: ustar's has room for more in front.
fn short_path(header: &Header) -> Vec<u8> {
    let name = text(&header.as_old().name);
    match header.as_ustar().map(|ustar| text(&ustar.prefix)) {
        Some(prefix) if !prefix.is_empty() => [prefix, b"/", name].concat(),
        _ => name.to_vec(),
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn number<T>(what: &'static str, parsed: Result<T, &'static str>) -> Result<T, ImportError> {
    parsed.map_err(|reason| ImportError::malformed(format!("the {what} of an entry"), reason))
}

#[cfg(test)]
mod tests;
