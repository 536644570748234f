//! What a trace tells as a whole: where the time went, by phase, vCPU, device and function of the guest.
//!
//! | file | idea |
//! |---|---|
//! | `names` | addresses into names, each looked up once |
//! | `queues` | the requests of a queue, added up |
//! | `suggest` | what would make it faster, with figures |
//!
//! Memory is bounded, whatever the file has: beyond so many different places the rest is "others".

mod names;
mod queues;
mod suggest;

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::io::{Read, Seek};

use super::cost::Cost;
use super::event::{Access, Call, Event, Exit};
use super::exits::Reason;
use super::file::about::{About, DoneStep, ReachedPhase, Source};
use super::file::read::{Block, Error, Events, Reader};
use super::symbols::Symbols;

pub(super) use names::Names;
pub use queues::Queue;
pub use suggest::{Suggestion, duration, grouped, percent};

/// The most different places that are told apart.
const MOST_PLACES: usize = 1 << 14;

/// A register of a device, as a guest reaches it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register {
    /// The device; of several of a kind, which.
    pub device: String,
    /// The register; empty where there is no device.
    pub register: String,
    /// Which way data goes.
    pub access: Access,
}

impl Register {
    /// As one word for people.
    pub fn text(&self) -> String {
        match self.register.as_str() {
            "" => self.device.clone(),
            register => format!("{}: {register}", self.device),
        }
    }
}

/// What a vCPU did.
#[derive(Clone, Debug)]
pub struct Vcpu {
    /// All its exits.
    pub cost: Cost,
    /// When it first entered the guest, since the process started; nanoseconds, like all that follow.
    pub first: u64,
    /// When its last exit was dealt with.
    pub last: u64,
    /// How many exits KVM has counted, and how many of them reached user space.
    pub counted: BTreeMap<String, u64>,
}

/// What happened in a phase.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Which, and when it was reached.
    pub reached: ReachedPhase,
    /// How long it took since the one before.
    pub took: u64,
    /// The exits that were dealt with in it, of all vCPUs.
    pub cost: Cost,
}

/// An exit that took longer than all others of its kind.
#[derive(Clone, Debug)]
pub struct Slowest {
    /// Where.
    pub register: Register,
    /// What.
    pub exit: Exit,
    /// When, since the process started.
    pub at: u64,
}

/// Different places with what each has cost, as many as are told apart, and the others.
#[derive(Clone, Debug)]
pub struct Places<T> {
    costs: HashMap<T, Cost>,
    /// What did not fit.
    pub others: Cost,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Places { costs: HashMap::new(), others: Cost::default() }
    }
}

impl<T: Hash + Eq + Ord + Clone> Places<T> {
    fn add(&mut self, place: &T, guest: u64, vmm: u64) {
        if let Some(cost) = self.costs.get_mut(place) {
            cost.add(guest, vmm);
        } else if self.costs.len() < MOST_PLACES {
            self.costs.entry(place.clone()).or_default().add(guest, vmm);
        } else {
            self.others.add(guest, vmm);
        }
    }

    /// The costliest first: by the VMM's time, then by their number, then by name.
    pub fn costliest(&self) -> Vec<(&T, &Cost)> {
        let mut all: Vec<_> = self.costs.iter().collect();
        all.sort_by(|(a, x), (b, y)| (y.vmm, y.count).cmp(&(x.vmm, x.count)).then(a.cmp(b)));
        all
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = (&T, &Cost)> {
        self.costs.iter()
    }
}

/// All of it.
#[derive(Default)]
pub struct Summary {
    /// What the trace is of.
    pub about: About,
    /// In the order of time.
    pub phases: Vec<Phase>,
    /// Of a container's PID 1.
    pub steps: Vec<DoneStep>,
    /// By number.
    pub vcpus: BTreeMap<u16, Vcpu>,
    /// By reason, as people call it.
    pub reasons: BTreeMap<String, Cost>,
    /// By device and register.
    pub registers: Places<Register>,
    /// By function of the guest, or by address where its name is not known.
    pub functions: Places<String>,
    /// Where vCPUs were when they were kicked out of the guest: samples of its time.
    pub samples: Places<String>,
    /// By both.
    pub sites: Places<(Register, String)>,
    /// By what they are queues of.
    pub queues: BTreeMap<Source, Queue>,
    /// Pulses of interrupt lines, those of queues too.
    pub interrupts: BTreeMap<String, u64>,
    /// System calls by number.
    pub calls: BTreeMap<u32, Cost>,
    /// The access that the VMM took longest for.
    pub slowest: Option<Slowest>,
    /// All events.
    pub events: u64,
    /// Those that found no room, by lane.
    pub dropped: BTreeMap<u32, u64>,
    /// The file has an end.
    pub has_end: bool,
    /// The process that made the events ended by itself.
    pub whole: bool,
    /// When the last thing happened, since the process started.
    pub last: u64,
    /// How many functions have names.
    pub symbols: usize,
    names: Names,
    counted: BTreeMap<u16, BTreeMap<String, u64>>,
}

impl Summary {
    /// How many events found no room, in all lanes.
    pub fn dropped(&self) -> u64 {
        self.dropped.values().copied().fold(0, u64::saturating_add)
    }

    /// Reads all of a trace, twice: what is said at its end is needed for its beginning.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn of<R: Read + Seek>(
        reader: &mut Reader<R>,
        symbols: Option<Symbols>,
    ) -> Result<Summary, Error> {
        let mut summary = Summary::new(symbols);
        while let Some(block) = reader.next_block()? {
            summary.prepare(block);
        }
        reader.rewind()?;
        while let Some(block) = reader.next_block()? {
            summary.take(&block);
        }
        summary.finish();
        Ok(summary)
    }

    /// Of nothing yet.
    pub fn new(symbols: Option<Symbols>) -> Summary {
        let count = symbols.as_ref().map_or(0, Symbols::count);
        Summary { names: Names::new(symbols), symbols: count, ..Summary::default() }
    }

    /// Takes what is said at the end.
    fn prepare(&mut self, block: Block<'_>) {
        match block {
            Block::About(about) => self.about = about,
            Block::Phases(phases) => {
                let mut before = 0;
                for reached in phases {
                    let took = reached.at.saturating_sub(before);
                    before = reached.at;
                    self.phases.push(Phase { reached, took, cost: Cost::default() });
                }
                self.phases.sort_by_key(|phase| phase.reached.at);
            }
            Block::Steps(steps) => self.steps = steps,
            Block::Counters(counters) => {
                // Of a guest that was started again, each time.
                let counted = self.counted.entry(counters.vcpu).or_default();
                for (name, value) in counters.counted {
                    let sum = counted.entry(name).or_default();
                    *sum = sum.saturating_add(value);
                }
            }
            Block::End(conclusion) => (self.has_end, self.whole) = (true, conclusion.whole),
            Block::Devices(_) | Block::Lane(_) | Block::Events(_) => {}
        }
    }

    /// Takes a block, as it comes.
    pub fn take(&mut self, block: &Block<'_>) {
        match block {
            Block::About(about) => self.about = about.clone(),
            Block::Devices(devices) => self.names.devices(devices.clone()),
            Block::Events(events) => self.take_events(events),
            Block::End(conclusion) => (self.has_end, self.whole) = (true, conclusion.whole),
            Block::Lane(lane) => {
                if let Source::Queue { .. } = &lane.source {
                    self.queues.entry(lane.source.clone()).or_default();
                }
            }
            Block::Phases(_) | Block::Steps(_) | Block::Counters(_) => {}
        }
    }

    fn take_events(&mut self, events: &Events<'_>) {
        if events.dropped > 0 {
            self.dropped.insert(events.lane, events.dropped);
        }
        for event in events.iter() {
            self.events += 1;
            match (&event, events.source) {
                (Event::Exit(exit), Source::Vcpu(number)) => self.exit(*number, exit),
                (Event::Call(call), _) => self.call(call),
                (Event::Notified { interrupt: true, at }, source @ Source::Line { .. }) => {
                    self.reached(*at);
                    *self.interrupts.entry(source.to_string()).or_default() += 1;
                }
                (event, source @ Source::Queue { .. }) => {
                    self.reached(event.at());
                    if let Event::Notified { interrupt: true, .. } = event {
                        *self.interrupts.entry(source.to_string()).or_default() += 1;
                    }
                    self.queues.entry(source.clone()).or_default().take(event);
                }
                _ => {}
            }
        }
    }

    /// A time of the monotonic clock since the process started.
    pub fn since_start(&self, time: u64) -> u64 {
        time.saturating_sub(self.about.start)
    }

    fn reached(&mut self, time: u64) {
        self.last = self.last.max(self.since_start(time));
    }

    fn exit(&mut self, number: u16, exit: &Exit) {
        let Exit { guest, vmm, .. } = *exit;
        let at = self.since_start(exit.at);
        self.reached(exit.at.saturating_add(vmm));
        let first = at.saturating_sub(guest);
        let vcpu = self.vcpus.entry(number).or_insert_with(|| Vcpu {
            cost: Cost::default(),
            first,
            last: 0,
            counted: BTreeMap::new(),
        });
        vcpu.cost.add(guest, vmm);
        vcpu.last = vcpu.last.max(at.saturating_add(vmm));
        self.reasons.entry(reason(exit)).or_default().add(guest, vmm);
        let phase = self.phases.partition_point(|phase| phase.reached.at < at);
        if let Some(phase) = self.phases.get_mut(phase) {
            phase.cost.add(guest, vmm);
        }
        let function = exit.rip.map(|rip| self.names.function(rip));
        if let Some(function) = &function {
            self.functions.add(function, guest, vmm);
            if exit.reason == Reason::Interrupted {
                self.samples.add(function, guest, vmm);
            }
        }
        let Some(register) = self.names.register(exit) else { return };
        self.registers.add(&register, guest, vmm);
        if self.slowest.as_ref().is_none_or(|slowest| slowest.exit.vmm < vmm) {
            self.slowest = Some(Slowest { register: register.clone(), exit: *exit, at });
        }
        if let Some(function) = function {
            self.sites.add(&(register, function), guest, vmm);
        }
    }

    fn call(&mut self, call: &Call) {
        self.reached(call.at.saturating_add(call.took));
        if self.calls.len() < MOST_PLACES || self.calls.contains_key(&call.number) {
            self.calls.entry(call.number).or_default().add(0, call.took);
        }
    }

    fn finish(&mut self) {
        for (vcpu, counted) in std::mem::take(&mut self.counted) {
            if let Some(vcpu) = self.vcpus.get_mut(&vcpu) {
                vcpu.counted = counted;
            }
        }
        self.queues.values_mut().for_each(Queue::finish);
        self.last = self.phases.iter().map(|phase| phase.reached.at).fold(self.last, u64::max);
    }

    /// All exits to user space.
    pub fn exits(&self) -> u64 {
        self.vcpus.values().map(|vcpu| vcpu.cost.count).sum()
    }

    /// When a phase was reached.
    pub fn phase(&self, name: &str) -> Option<u64> {
        let mut phases = self.phases.iter();
        phases.find(|phase| phase.reached.phase == name).map(|phase| phase.reached.at)
    }

    /// How long the guest was there: from the first KVM_RUN of its first vCPU to the end of its last exit.
    pub fn guest_time(&self) -> u64 {
        let first = self.vcpus.values().map(|vcpu| vcpu.first).min().unwrap_or(0);
        let last = self.vcpus.values().map(|vcpu| vcpu.last).max().unwrap_or(0);
        last.saturating_sub(first)
    }

    /// What would make it faster.
    pub fn suggestions(&self) -> Vec<Suggestion> {
        suggest::all(self)
    }
}

/// The reason of an exit, in words.
pub fn reason(exit: &Exit) -> String {
    if exit.reason != Reason::Other {
        return exit.reason.describe().to_owned();
    }
    match exit.number {
        // KVM_EXIT_UNKNOWN: KVM_RUN returned EAGAIN.
        // KVM_EXIT_INTR: the same, as later kernels have it.
        0 | 10 => "vCPU started by another".to_owned(),
        8 => "triple fault".to_owned(),
        9 => "entry refused by the processor".to_owned(),
        17 => "KVM internal error".to_owned(),
        number => format!("KVM exit {number}"),
    }
}
