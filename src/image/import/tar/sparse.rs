//! Sparse files: which bytes of a file the archive has, and where they belong (GNU tar manual,
//! "Storing Sparse Files"). What the map says is checked against what is there.

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::super::ImportError;
use super::super::limits::EXTENTS;
use super::pax::{Sparse, decimal};
use super::{Archive, BLOCK, Extent, Input, number};

impl Sparse {
    pub(super) fn is_used(&self) -> bool {
        self.major.is_some() || self.size.is_some() || self.map.is_some()
    }
}

impl<R: Input> Archive<R> {
    /// GNU tar's old format: the map is in the header, and in blocks behind it. Returns the file's size.
    pub(super) fn old_sparse(&mut self, header: &Header, about: &str) -> Result<u64, ImportError> {
        let refused = |reason: &str| ImportError::malformed(about, reason);
        let gnu = header.as_gnu().ok_or_else(|| refused("its header is not GNU's"))?;
        let unsigned = |field: &[u8]| number::parse_unsigned(field);
        let size =
            unsigned(&gnu.realsize).map_err(|reason| refused(&format!("its size {reason}")))?;
        let mut extents = Vec::new();
        let mut add = |pieces: &[GnuSparseHeader]| {
            for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                let number = |field| unsigned(field).map_err(|_| refused("its map is malformed"));
                let (offset, length) = (number(&piece.offset)?, number(&piece.numbytes)?);
                extents.push(Extent { offset, length });
            }
            if extents.len() > EXTENTS { Err(refused("its map is too long")) } else { Ok(()) }
        };
        add(&gnu.sparse)?;
        let mut further = gnu.isextended[0] != 0;
        while further {
            let mut block = GnuExtSparseHeader::new();
            self.read(block.as_mut_bytes())?;
            add(block.sparse())?;
            further = block.is_extended();
        }
        self.map(extents, size, about)
    }

    /// The formats of extended headers. Returns the file's size.
    pub(super) fn pax_sparse(&mut self, sparse: Sparse, about: &str) -> Result<u64, ImportError> {
        let refused = |reason: &str| ImportError::malformed(about, reason);
        let size = sparse.size.ok_or_else(|| refused("it has holes, but no size"))?;
        let extents = match (sparse.major, sparse.map) {
            (None | Some(0), Some(map)) => map,
            (Some(1), None) => self.map_in_front(about)?,
            _ => return Err(refused("its kind of sparse file is not known")),
        };
        self.map(extents, size, about)
    }

    /// Version 1.0: the map is in whole blocks in front of the data, as lines of decimal numbers: how
    /// many pieces, then offset and length of each.
    fn map_in_front(&mut self, about: &str) -> Result<Vec<Extent>, ImportError> {
        let refused = || ImportError::malformed(about, "its map is malformed");
        let mut text = Vec::new();
        let mut numbers = Vec::new();
        let mut expected = None;
        while expected.is_none_or(|expected| numbers.len() < expected) {
            let mut block = [0; BLOCK];
            self.left = self.left.checked_sub(BLOCK as u64).ok_or_else(refused)?;
            self.read(&mut block)?;
            for byte in block {
                if expected.is_some_and(|expected| numbers.len() == expected) {
                    break;
                }
                if byte != b'\n' {
                    text.push(byte);
                    continue;
                }
                let number = decimal(&text).ok_or_else(refused)?;
                text.clear();
                if expected.is_some() {
                    numbers.push(number);
                } else {
                    let pieces = usize::try_from(number).ok().filter(|pieces| *pieces <= EXTENTS);
                    expected = Some(pieces.ok_or_else(refused)? * 2);
                }
            }
        }
        let pairs = numbers.as_chunks::<2>().0;
        Ok(pairs.iter().map(|&[offset, length]| Extent { offset, length }).collect())
    }

    /// Takes the map: its pieces follow one another, end with the file, and are as much as there is.
    fn map(&mut self, extents: Vec<Extent>, size: u64, about: &str) -> Result<u64, ImportError> {
        let mut end = 0;
        let mut total: u64 = 0;
        let is_good = extents.iter().all(|extent| {
            let begins_behind = extent.offset >= end;
            end = extent.offset.saturating_add(extent.length);
            total = total.saturating_add(extent.length);
            begins_behind && end <= size
        });
        if !is_good || total != self.left || i64::try_from(size).is_err() {
            return Err(ImportError::malformed(about, "its map does not go with its data"));
        }
        self.extents = extents;
        Ok(size)
    }
}
