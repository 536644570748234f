//! A trace for other programs to read.
//!
//! | file | idea |
//! |---|---|
//! | `timeline` | events as slices and instants on tracks, in whatever form they are written |
//! | `chrome` | Chrome's JSON (trace event format) |
//! | `perfetto` | Perfetto's protocol buffers, by a small encoder (`protobuf`) |
//! | `folded` | stacks on one line each, for flame graphs |

mod chrome;
mod folded;
mod perfetto;
mod protobuf;
mod timeline;

use std::io::{self, Read, Seek, Write};

use thiserror::Error;

use super::file::read::{self, Reader};
use super::symbols::Symbols;

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Chrome's JSON.
    Chrome,
    /// Perfetto's protocol buffers.
    Perfetto,
    /// Folded stacks.
    Folded,
}

/// Why there is no export.
#[derive(Debug, Error)]
pub enum Error {
    /// The trace.
    #[error(transparent)]
    Read(#[from] read::Error),
    /// What is made of it cannot be written.
    #[error("what is made of it cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// Writes a trace in another form.
///
/// # Errors
/// The trace is damaged, or `out` takes no more.
pub fn export<R: Read + Seek>(
    reader: &mut Reader<R>,
    symbols: Option<Symbols>,
    format: Format,
    out: &mut impl Write,
) -> Result<(), Error> {
    match format {
        Format::Chrome => timeline::draw(reader, symbols, &mut chrome::Chrome::new(out)),
        Format::Perfetto => timeline::draw(reader, symbols, &mut perfetto::Perfetto::new(out)),
        Format::Folded => folded::write(reader, symbols, out),
    }
}
