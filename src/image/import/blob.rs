//! A layer, from its blob into the root: unpacked, and checked against its digests, on the way.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};

use super::blobs::{Blobs, Hashing};
use super::layer;
use super::limits::{Bounded, Budget, Counting};
use super::path::Absolute;
use super::root::Root;
use super::tar::{Archive, Stream};
use super::{ImportError, Limits};
use crate::compression::Compression;

const BUFFER: usize = 256 << 10;

/// A layer of an image, and what is known of it.
#[derive(Debug)]
pub(super) struct Layer {
    /// Its file.
    pub(super) file: String,
    /// What its descriptor says of the file.
    pub(super) descriptor: Option<Promise>,
    /// The digest of what it unpacks to.
    pub(super) diff_id: String,
}

/// What a descriptor says of a blob.
#[derive(Debug)]
pub(super) struct Promise {
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) compression: Option<Compression>,
}

/// Where layers are unpacked to, and what that may cost.
pub(super) struct Unpacking {
    pub(super) root: Root,
    pub(super) budget: Budget,
    pub(super) absolute: Absolute,
}

impl Unpacking {
    /// Lays a layer over what is there.
    pub(super) fn layer(&mut self, blobs: &Blobs, layer: &Layer) -> Result<(), ImportError> {
        let what = format!("layer {}", layer.file.escape_debug());
        let (file, size) = blobs
            .open(&layer.file)?
            .ok_or_else(|| ImportError::malformed(what.clone(), "is not there"))?;
        let promise = layer.descriptor.as_ref();
        if let Some(promise) = promise {
            let [expected, found] = [promise.size, size].map(|size| size.to_string());
            check(&what, "size", &expected, &found)?;
        }
        self.stream(&what, file, promise, Some(&layer.diff_id)).map(drop)
    }

    /// Lays the archive in a stream, packed or not, over what is there. Returns the digest of the
    /// stream, if there is no `diff_id` to tell what it is.
    pub(super) fn stream(
        &mut self,
        what: &str,
        packed: impl Read,
        promise: Option<&Promise>,
        diff_id: Option<&str>,
    ) -> Result<String, ImportError> {
        let read = Cell::new(0);
        let is_hashed = promise.is_some() || diff_id.is_none();
        let mut packed = Hashing::new(Counting::new(packed, &read), is_hashed);
        let found = {
            let mut packed = BufReader::with_capacity(BUFFER, &mut packed);
            let head = packed.fill_buf().map_err(ImportError::from_reading)?;
            let compression = Compression::recognise(head);
            if let Some(promise) = promise
                && promise.compression != compression
            {
                let name = |it: Option<Compression>| it.map_or("none".into(), |it| it.to_string());
                let [expected, found] = [promise.compression, compression].map(name);
                check(what, "compression", &expected, &found)?;
            }
            let limits = self.budget.limits;
            let unpacked = unpack(&mut packed, &read, compression, limits);
            let mut unpacked = Hashing::new(unpacked, diff_id.is_some());
            self.apply(&mut unpacked)?;
            let found = unpacked.digest();
            io::copy(&mut packed, &mut io::sink()).map_err(ImportError::from_reading)?;
            found
        };
        let digest = packed.digest();
        if let Some(promise) = promise {
            check(what, "digest", &promise.digest, &digest)?;
        }
        if let Some(diff_id) = diff_id {
            check(what, "digest when unpacked", diff_id, &found)?;
        }
        Ok(digest)
    }

    fn apply(&mut self, unpacked: &mut dyn Read) -> Result<(), ImportError> {
        let input = Stream(BufReader::with_capacity(BUFFER, unpacked));
        let mut archive = Archive::new(input);
        layer::apply(&mut archive, &mut self.root, &mut self.budget, self.absolute)?;
        archive.finish()
    }
}

/// What packed data unpack to, within bounds.
pub(super) fn unpack<'a>(
    packed: impl Read + 'a,
    read: &'a Cell<u64>,
    compression: Option<Compression>,
    limits: Limits,
) -> Box<dyn Read + 'a> {
    match compression {
        Some(compression) => Box::new(Bounded::new(compression.stream(packed), read, limits)),
        None => Box::new(packed),
    }
}

/// Compares what a descriptor says with what is there.
pub(super) fn check(
    what: &str,
    property: &'static str,
    expected: &str,
    found: &str,
) -> Result<(), ImportError> {
    if expected == found {
        return Ok(());
    }
    let [what, expected, found] = [what, expected, found].map(str::to_owned);
    Err(ImportError::Mismatch { what, property, expected, found })
}
