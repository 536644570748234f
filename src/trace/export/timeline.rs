//! Events as slices and instants on tracks: what both of the viewers' forms have.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};

use super::Error;
use crate::trace::event::{Access, Call, Event, Exit};
use crate::trace::file::about::{About, DoneStep, Half, ReachedPhase, Source};
use crate::trace::file::read::{Block, Reader};
use crate::trace::requests::{Request, Requests};
use crate::trace::summary::{Names, reason};
use crate::trace::symbols::Symbols;

/// A track's number.
pub(super) type Track = u64;

/// Where phases are.
const PHASES: Track = 1;
/// Where the steps of a container's PID 1 are.
const STEPS: Track = 2;
/// Where its system calls are.
const CALLS: Track = 0x4000_0000;
/// The first vCPU's; then the others'.
const VCPUS: Track = 0x1000;
/// Those of lanes: queues and lines.
const LANES: Track = 0x2_0000;
/// Requests of one queue overlap: each queue has as many tracks as it ever has requests at a time.
const SLOTS: Track = 0x100;

/// Something with a beginning and an end, in nanoseconds since the process started.
pub(super) struct Slice<'a> {
    pub(super) track: Track,
    pub(super) name: &'a str,
    pub(super) start: u64,
    pub(super) took: u64,
    pub(super) details: &'a [(&'a str, Detail)],
}

/// What is told about a slice beside its times.
pub(super) enum Detail {
    Number(u64),
    Hex(u64),
    Text(String),
}

/// A form that a timeline is written in.
pub(super) trait Canvas {
    /// All of it is about this.
    fn begin(&mut self, title: &str) -> io::Result<()>;
    /// A track that slices and instants will be on.
    fn track(&mut self, track: Track, name: &str) -> io::Result<()>;
    /// A slice.
    fn slice(&mut self, slice: &Slice<'_>) -> io::Result<()>;
    /// Something that takes no time.
    fn instant(&mut self, track: Track, name: &str, at: u64) -> io::Result<()>;
    /// Nothing follows.
    fn end(&mut self) -> io::Result<()>;
}

/// Draws all of a trace.
pub(super) fn draw<R: Read + Seek>(
    reader: &mut Reader<R>,
    symbols: Option<Symbols>,
    canvas: &mut impl Canvas,
) -> Result<(), Error> {
    let mut drawing = Drawing {
        canvas,
        names: Names::new(symbols),
        about: About::default(),
        queues: BTreeMap::new(),
        known: BTreeMap::new(),
    };
    let mut title = None;
    while let Some(block) = reader.next_block()? {
        if title.is_none() {
            if let Block::About(about) = &block {
                drawing.about = about.clone();
            }
            drawing.canvas.begin(title.insert(drawing.title()))?;
        }
        drawing.block(&block)?;
    }
    drawing.finish()?;
    Ok(drawing.canvas.end()?)
}

/// The requests of a queue, and until when each of its tracks is taken.
#[derive(Default)]
struct Queue {
    requests: Requests,
    taken_until: Vec<u64>,
}

struct Drawing<'a, C> {
    canvas: &'a mut C,
    names: Names,
    about: About,
    queues: BTreeMap<u32, Queue>,
    /// Tracks that were named.
    known: BTreeMap<Track, ()>,
}

impl<C: Canvas> Drawing<'_, C> {
    fn title(&self) -> String {
        match self.about.command.as_str() {
            "" => "duplex".to_owned(),
            command => command.to_owned(),
        }
    }

    fn block(&mut self, block: &Block<'_>) -> io::Result<()> {
        match block {
            Block::About(about) => self.about = about.clone(),
            Block::Devices(devices) => self.names.devices(devices.clone()),
            Block::Phases(phases) => self.phases(phases)?,
            Block::Steps(steps) => self.steps(steps)?,
            Block::Events(events) => {
                for event in events.iter() {
                    self.event(events.lane, events.source, &event)?;
                }
            }
            Block::Lane(_) | Block::Counters(_) | Block::End(_) => {}
        }
        Ok(())
    }

    fn event(&mut self, lane: u32, source: &Source, event: &Event) -> io::Result<()> {
        match (event, source) {
            (Event::Exit(exit), Source::Vcpu(number)) => self.exit(*number, exit),
            (Event::Call(call), _) => self.call(call),
            (event, Source::Queue { .. }) => {
                let mut over = Vec::new();
                let queue = self.queues.entry(lane).or_default();
                queue.requests.take(event, |request| over.push(request));
                let name = source.to_string();
                over.iter().try_for_each(|request| self.request(lane, &name, request))
            }
            (Event::Notified { at, interrupt: true }, Source::Line { .. }) => {
                let track = LANES + u64::from(lane) * SLOTS;
                self.name(track, &source.to_string())?;
                self.canvas.instant(track, "interrupt", at.saturating_sub(self.about.start))
            }
            _ => Ok(()),
        }
    }

    /// A vCPU's time in the guest, then that in the VMM.
    fn exit(&mut self, number: u16, exit: &Exit) -> io::Result<()> {
        let track = VCPUS + u64::from(number);
        self.name(track, &format!("vCPU {number}"))?;
        let at = exit.at.saturating_sub(self.about.start);
        let start = at.saturating_sub(exit.guest);
        let guest = Slice { track, name: "guest", start, took: exit.guest, details: &[] };
        self.canvas.slice(&guest)?;
        let mut details = vec![("reason", Detail::Text(reason(exit)))];
        let name = match self.names.register(exit) {
            Some(register) => {
                let place = if exit.is_port() { "port" } else { "GPA" };
                details.push((place, Detail::Hex(exit.address)));
                details.push(("size", Detail::Number(exit.size.into())));
                details.push(("value", Detail::Hex(exit.value)));
                if exit.count > 1 {
                    details.push(("count", Detail::Number(exit.count.into())));
                }
                let way = if register.access == Access::Read { "read" } else { "write" };
                format!("{} ({way})", register.text())
            }
            None => reason(exit),
        };
        if let Some(rip) = exit.rip {
            details.push(("RIP", Detail::Hex(rip)));
            let function = self.names.function(rip);
            if !function.starts_with("0x") {
                details.push(("function", Detail::Text(function)));
            }
        }
        self.canvas.slice(&Slice {
            track,
            name: &name,
            start: at,
            took: exit.vmm,
            details: &details,
        })
    }

    fn call(&mut self, call: &Call) -> io::Result<()> {
        let track = CALLS + u64::from(call.process);
        self.name(track, &format!("process {}", call.process))?;
        let name = crate::trace::calls::name(call.number);
        let [a, b, c] = call.arguments.map(Detail::Hex);
        let result = Detail::Text(call.result.to_string());
        let details = [("argument 1", a), ("argument 2", b), ("argument 3", c), ("result", result)];
        let start = call.at.saturating_sub(self.about.start);
        self.canvas.slice(&Slice { track, name: &name, start, took: call.took, details: &details })
    }

    /// A request, on the first of its queue's tracks that is free when it begins.
    fn request(&mut self, lane: u32, queue_name: &str, request: &Request) -> io::Result<()> {
        let zero = self.about.start;
        let since_start = |time: u64| time.saturating_sub(zero);
        let (start, end) = (since_start(request.kicked), since_start(request.end()));
        let queue = self.queues.entry(lane).or_default();
        let free = queue.taken_until.iter().position(|until| *until <= start);
        let slot = free.unwrap_or(queue.taken_until.len());
        // More than can be told apart go onto the last track.
        let slot = slot.min(usize::try_from(SLOTS).unwrap_or(1) - 1);
        if slot == queue.taken_until.len() {
            queue.taken_until.push(0);
        }
        if let Some(until) = queue.taken_until.get_mut(slot) {
            *until = end.max(*until);
        }
        let track = LANES + u64::from(lane) * SLOTS + slot as u64;
        let name =
            if slot == 0 { queue_name.to_owned() } else { format!("{queue_name} (+{slot})") };
        self.name(track, &name)?;
        let mut details = vec![
            ("head", Detail::Number(request.head.into())),
            ("readable bytes", Detail::Number(request.readable)),
            ("written bytes", Detail::Number(request.written)),
        ];
        if request.told.is_none() {
            details.push(("interrupt", Detail::Text("none in this trace".into())));
        }
        let took = end.saturating_sub(start);
        self.canvas.slice(&Slice { track, name: "request", start, took, details: &details })?;
        // Its parts, one after the other, within it.
        let mut from = start;
        for (part, until) in
            [("waits", request.taken), ("at work", request.done), ("told", request.end())]
        {
            let until = since_start(until).max(from);
            let took = until - from;
            if took > 0 {
                self.canvas.slice(&Slice { track, name: part, start: from, took, details: &[] })?;
            }
            from = until;
        }
        Ok(())
    }

    fn phases(&mut self, phases: &[ReachedPhase]) -> io::Result<()> {
        let whose = if self.about.half == Half::Vm { "boot" } else { "start" };
        self.name(PHASES, &format!("phases of the {whose}"))?;
        self.row(PHASES, phases.iter().map(|phase| (phase.text.as_str(), phase.at)))
    }

    fn steps(&mut self, steps: &[DoneStep]) -> io::Result<()> {
        self.name(STEPS, "steps of PID 1")?;
        let mut steps = steps.iter().map(|step| (step.step.as_str(), step.at));
        // What came before the first is not known.
        let Some((first, at)) = steps.next() else { return Ok(()) };
        self.canvas.instant(STEPS, first, at)?;
        self.row_from(STEPS, at, steps)
    }

    /// Each as a slice that ends when it was reached.
    fn row<'t>(
        &mut self,
        track: Track,
        reached: impl Iterator<Item = (&'t str, u64)>,
    ) -> io::Result<()> {
        self.row_from(track, 0, reached)
    }

    fn row_from<'t>(
        &mut self,
        track: Track,
        mut start: u64,
        reached: impl Iterator<Item = (&'t str, u64)>,
    ) -> io::Result<()> {
        for (name, at) in reached {
            let took = at.saturating_sub(start);
            self.canvas.slice(&Slice { track, name, start, took, details: &[] })?;
            start = start.max(at);
        }
        Ok(())
    }

    fn name(&mut self, track: Track, name: &str) -> io::Result<()> {
        if self.known.insert(track, ()).is_none() { self.canvas.track(track, name) } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut queues = std::mem::take(&mut self.queues);
        for (lane, queue) in &mut queues {
            let mut over = Vec::new();
            queue.requests.finish(|request| over.push(request));
            self.queues.insert(*lane, std::mem::take(queue));
            over.iter().try_for_each(|request| self.request(*lane, "queue", request))?;
        }
        Ok(())
    }
}
