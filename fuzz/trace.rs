//! Any bytes as a trace: whatever can be done with one is done.

use std::io::{self, Cursor};

use duplex::trace::export::{Format, export};
use duplex::trace::file::read::Reader;
use duplex::trace::live::Live;
use duplex::trace::summary::Summary;
use duplex::trace::symbols::Symbols;

/// Names for some addresses.
const MAP: &[u8] =
    b"0000000000001000 T first\n0000000000002000 t second\nffffffff81000000 T text\n";

/// Reads them; returns whether they are a trace.
pub(crate) fn read(bytes: &[u8]) -> bool {
    let Ok(mut reader) = Reader::new(Cursor::new(bytes)) else {
        // What is no trace may be a kernel with symbols.
        let symbols = Symbols::parse(bytes);
        symbols.find(u64::MAX);
        return false;
    };
    let symbols = Symbols::parse(MAP);
    let mut live = Live::new(Some(symbols.clone()));
    while let Ok(Some(block)) = reader.next_block() {
        live.take(&block);
    }
    live.next_moment();
    let mut whole = reader.rewind().is_ok();
    match Summary::of(&mut reader, Some(symbols.clone())) {
        Ok(summary) => {
            summary.suggestions();
            assert!(summary.exits() <= summary.events);
        }
        Err(_) => whole = false,
    }
    for format in [Format::Chrome, Format::Perfetto, Format::Folded] {
        if reader.rewind().is_ok() {
            let exported = export(&mut reader, Some(symbols.clone()), format, &mut io::sink());
            assert_eq!(exported.is_ok(), whole, "what can be summed up can be exported");
        }
    }
    whole
}
