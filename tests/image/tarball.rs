//! Tarballs made by hand: every field can be a lie.

use tar::{EntryType, Header};

pub(crate) const BLOCK: usize = 512;

/// An archive that is being made.
#[derive(Clone, Default)]
pub(crate) struct Tarball(Vec<u8>);

impl Tarball {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// An entry whose header the caller changes.
    pub(crate) fn entry(
        mut self,
        kind: u8,
        path: &str,
        link: &str,
        data: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.set_size(data.len() as u64);
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        if matches!(kind, b'3' | b'4') {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        let old = header.as_old_mut();
        fill(&mut old.name, path.as_bytes());
        fill(&mut old.linkname, link.as_bytes());
        change(&mut header);
        header.set_cksum();
        self.0.extend(header.as_bytes());
        self.data(data)
    }

    /// Data, up to a whole block.
    pub(crate) fn data(mut self, data: &[u8]) -> Self {
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    pub(crate) fn file(self, path: &str, data: &[u8]) -> Self {
        self.entry(b'0', path, "", data, |_| {})
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        self.entry(b'5', path, "", b"", |_| {})
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, target, b"", |_| {})
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, target, b"", |_| {})
    }

    /// An extended header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let data: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.entry(b'x', "pax", "", &data, |_| {})
    }

    /// A name of GNU's that is too long for a header.
    pub(crate) fn long_name(self, name: &str) -> Self {
        self.entry(b'L', "././@LongLink", "", &[name.as_bytes(), b"\0"].concat(), |_| {})
    }

    /// Without an end mark.
    pub(crate) fn open_end(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 2 * BLOCK]);
        self.0
    }
}

/// A record of an extended header.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..).map(|digits| rest + digits).find(|l| l.to_string().len() + rest == *l);
    [format!("{} {key}=", length.unwrap()).as_bytes(), value, b"\n"].concat()
}

/// Puts as much into a field as fits.
pub(crate) fn fill(field: &mut [u8], text: &[u8]) {
    field.iter_mut().zip(text).for_each(|(byte, given)| *byte = *given);
}
