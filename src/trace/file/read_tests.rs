//! Blocks out and in again.

use super::*;
use crate::trace::event::Event;
use crate::trace::file::write::{Batch, TraceFile};
use std::io::Cursor;

fn source(queue: u16) -> Source {
    Source::Queue { slot: 1, device: "virtio-blk".into(), queue }
}

/// A trace with two lanes, and what is in the file.
fn written() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.trace");
    let file = TraceFile::create(&path).unwrap();
    file.about(&About { command: "duplex boot".into(), ..About::default() }).unwrap();
    for number in 0..2 {
        let lane = u16::try_from(number).unwrap();
        file.lane(&Lane { number, source: source(lane) }).unwrap();
    }
    let mut batch = Batch::default();
    batch.begin(1, 3);
    for at in 0..5 {
        batch.add(Event::Kick { at }.words());
    }
    assert_eq!(batch.count(), 5);
    file.events(&mut batch).unwrap();
    file.end(Conclusion { whole: true }).unwrap();
    std::fs::read(&path).unwrap()
}

#[test]
fn what_was_written_is_read() {
    let mut reader = Reader::new(Cursor::new(written())).unwrap();
    for _ in 0..2 {
        let mut seen = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            match block {
                Block::About(about) => assert_eq!(about.command, "duplex boot"),
                Block::Events(events) => {
                    assert_eq!((events.lane, events.dropped, events.count()), (1, 3, 5));
                    assert_eq!(*events.source, source(1));
                    seen.extend(events.iter().map(|event| event.at()));
                }
                Block::End(end) => assert!(end.whole),
                _ => {}
            }
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert!(!reader.is_cut_off());
        reader.rewind().unwrap();
    }
}

/// A file that others still write to: what comes later is found later.
#[test]
fn a_file_that_grows_is_read_as_it_does() {
    let whole = written();
    let (mut blocks, mut begun) = (0, None);
    for length in 0..=whole.len() {
        let mut reader = match begun.take() {
            Some(reader) => reader,
            None => match Reader::new(Cursor::new(whole[..length].to_vec())) {
                Ok(reader) => reader,
                Err(error) => {
                    assert!(matches!(error, Error::NotATrace) && length < HEADER);
                    continue;
                }
            },
        };
        *reader.from.get_mut() = whole[..length].to_vec();
        while reader.next_block().unwrap().is_some() {
            blocks += 1;
        }
        assert_eq!(reader.is_cut_off(), length < whole.len(), "{length}");
        begun = Some(reader);
    }
    assert_eq!(blocks, 5);
}

#[test]
fn two_do_not_write_to_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.trace");
    let first = TraceFile::create(&path).unwrap();
    let second = TraceFile::create(&path).map(drop).unwrap_err();
    assert!(second.to_string().contains("another duplex is writing to it"), "{second}");
    drop(first);
    TraceFile::create(&path).unwrap();
}
