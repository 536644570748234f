//! Perfetto's own form: packets with tracks and with events on them (perfetto.dev, "Track events", and
//! protos/perfetto/trace/perfetto_trace.proto, whose numbers of fields stand here).

use std::io::{self, Write};

use super::protobuf::Message;
use super::timeline::{Canvas, Detail, Slice, Track};

// Trace
const PACKET: u64 = 1;
// TracePacket
const TIMESTAMP: u64 = 8;
const SEQUENCE_ID: u64 = 10;
const TRACK_EVENT: u64 = 11;
const SEQUENCE_FLAGS: u64 = 13;
const TIMESTAMP_CLOCK: u64 = 58;
const TRACK_DESCRIPTOR: u64 = 60;
// TrackDescriptor
const UUID: u64 = 1;
const NAME: u64 = 2;
const PROCESS: u64 = 3;
const PARENT: u64 = 5;
// ProcessDescriptor
const PID: u64 = 1;
const PROCESS_NAME: u64 = 6;
// TrackEvent
const ANNOTATION: u64 = 4;
const KIND: u64 = 9;
const TRACK: u64 = 11;
const EVENT_NAME: u64 = 23;
const SLICE_BEGIN: u64 = 1;
const SLICE_END: u64 = 2;
const INSTANT: u64 = 3;
// DebugAnnotation
const UNSIGNED: u64 = 3;
const TEXT: u64 = 6;
const POINTER: u64 = 7;
const ANNOTATION_NAME: u64 = 10;

/// All packets come from one place, which knows its state from the beginning.
const SEQUENCE: u64 = 1;
const STATE_CLEARED: u64 = 1;
/// BUILTIN_CLOCK_BOOTTIME: the viewer's own, so that it need not be told how clocks relate.
const BOOT_TIME: u64 = 6;
/// The track of all others.
const ROOT: Track = 0x7_0000_0000;

pub(super) struct Perfetto<'a, W> {
    out: &'a mut W,
    begun: bool,
}

impl<'a, W: Write> Perfetto<'a, W> {
    pub(super) fn new(out: &'a mut W) -> Self {
        Perfetto { out, begun: false }
    }

    fn packet(&mut self, packet: Message) -> io::Result<()> {
        let mut packet = packet.number(SEQUENCE_ID, SEQUENCE);
        if !std::mem::replace(&mut self.begun, true) {
            packet = packet.number(SEQUENCE_FLAGS, STATE_CLEARED);
        }
        self.out.write_all(Message::default().message(PACKET, &packet).as_bytes())
    }

    fn event(&mut self, at: u64, event: &Message) -> io::Result<()> {
        let packet = Message::default().number(TIMESTAMP, at).number(TIMESTAMP_CLOCK, BOOT_TIME);
        self.packet(packet.message(TRACK_EVENT, event))
    }
}

impl<W: Write> Canvas for Perfetto<'_, W> {
    fn begin(&mut self, title: &str) -> io::Result<()> {
        let process = Message::default().number(PID, 1).text(PROCESS_NAME, title);
        let track = Message::default().number(UUID, ROOT).message(PROCESS, &process);
        self.packet(Message::default().message(TRACK_DESCRIPTOR, &track))
    }

    fn track(&mut self, track: Track, name: &str) -> io::Result<()> {
        let track = Message::default().number(UUID, track).text(NAME, name).number(PARENT, ROOT);
        self.packet(Message::default().message(TRACK_DESCRIPTOR, &track))
    }

    fn slice(&mut self, slice: &Slice<'_>) -> io::Result<()> {
        let on_track = |kind| Message::default().number(KIND, kind).number(TRACK, slice.track);
        let mut begin = on_track(SLICE_BEGIN).text(EVENT_NAME, slice.name);
        for (name, detail) in slice.details {
            let annotation = Message::default().text(ANNOTATION_NAME, name);
            let annotation = match detail {
                Detail::Number(number) => annotation.number(UNSIGNED, *number),
                Detail::Hex(number) => annotation.number(POINTER, *number),
                Detail::Text(text) => annotation.text(TEXT, text),
            };
            begin = begin.message(ANNOTATION, &annotation);
        }
        self.event(slice.start, &begin)?;
        self.event(slice.start.saturating_add(slice.took), &on_track(SLICE_END))
    }

    fn instant(&mut self, track: Track, name: &str, at: u64) -> io::Result<()> {
        let event = Message::default().number(KIND, INSTANT).number(TRACK, track);
        self.event(at, &event.text(EVENT_NAME, name))
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
