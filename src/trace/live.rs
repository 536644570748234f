//! What a trace that is still being made tells of the last moment.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::event::{Access, Event, Exit};
use super::file::about::{About, Source};
use super::file::read::Block;
use super::summary::{Names, Register, reason};
use super::symbols::Symbols;

/// How many exits are remembered one by one.
const REMEMBERED: usize = 256;
/// How many registers are told apart within a moment.
const MOST_REGISTERS: usize = 1024;

/// An exit that was not long ago.
#[derive(Clone, Debug)]
pub struct Recent {
    /// When, in nanoseconds since the process started.
    pub at: u64,
    /// Of which vCPU.
    pub vcpu: u16,
    /// What it was, in words.
    pub what: String,
    /// The function of the guest, or the address.
    pub function: String,
    /// The exit itself.
    pub exit: Exit,
}

/// What is counted over a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// How many exits.
    pub exits: u64,
    /// How long in the guest, in nanoseconds.
    pub guest: u64,
    /// How long in the VMM.
    pub vmm: u64,
}

impl Counts {
    fn add(&mut self, exit: &Exit) {
        self.exits += 1;
        self.guest = self.guest.saturating_add(exit.guest);
        self.vmm = self.vmm.saturating_add(exit.vmm);
    }
}

/// A vCPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vcpu {
    /// In the last moment that is over.
    pub moment: Counts,
    /// In all.
    pub total: Counts,
    /// When it last entered the guest, since the process started.
    pub entered: u64,
    counting: Counts,
}

/// All of it.
#[derive(Default)]
pub struct Live {
    /// What the trace is of.
    pub about: About,
    /// By number.
    pub vcpus: BTreeMap<u16, Vcpu>,
    /// What was reached in the last moment that is over, the most frequent first.
    pub registers: Vec<(Register, Counts)>,
    /// The newest last.
    pub recent: VecDeque<Recent>,
    /// Requests that were done in the last moment.
    pub requests: u64,
    /// Interrupts that were raised in it.
    pub interrupts: u64,
    /// All events.
    pub events: u64,
    /// How many found no room.
    pub dropped: u64,
    /// When the newest event was, in nanoseconds since the process started.
    pub newest: u64,
    /// The trace is whole.
    pub ended: bool,
    names: Names,
    counting: HashMap<Register, Counts>,
    dropped_by_lane: BTreeMap<u32, u64>,
    counting_requests: u64,
    counting_interrupts: u64,
}

impl Live {
    /// Of nothing yet.
    pub fn new(symbols: Option<Symbols>) -> Live {
        Live { names: Names::new(symbols), ..Live::default() }
    }

    /// Takes a block.
    pub fn take(&mut self, block: &Block<'_>) {
        match block {
            Block::About(about) => self.about = about.clone(),
            Block::Devices(devices) => self.names.devices(devices.clone()),
            Block::End(_) => self.ended = true,
            Block::Events(events) => {
                self.dropped_by_lane.insert(events.lane, events.dropped);
                self.dropped = self.dropped_by_lane.values().copied().fold(0, u64::saturating_add);
                for event in events.iter() {
                    self.event(events.source, &event);
                }
            }
            Block::Lane(_) | Block::Phases(_) | Block::Steps(_) | Block::Counters(_) => {}
        }
    }

    /// The file was begun anew: all is forgotten but the names of functions.
    pub fn begin_anew(&mut self) {
        let names = std::mem::take(&mut self.names);
        *self = Live { names, ..Live::default() };
    }

    /// The moment is over, and another begins.
    pub fn next_moment(&mut self) {
        // Lanes are written one after the other.
        self.recent.make_contiguous().sort_by_key(|recent| recent.at);
        for vcpu in self.vcpus.values_mut() {
            vcpu.moment = std::mem::take(&mut vcpu.counting);
        }
        self.registers = self.counting.drain().collect();
        self.registers.sort_by(|(a, x), (b, y)| y.exits.cmp(&x.exits).then(a.cmp(b)));
        self.requests = std::mem::take(&mut self.counting_requests);
        self.interrupts = std::mem::take(&mut self.counting_interrupts);
    }

    fn event(&mut self, source: &Source, event: &Event) {
        self.events += 1;
        self.newest = self.newest.max(event.at().saturating_sub(self.about.start));
        match (event, source) {
            (Event::Exit(exit), Source::Vcpu(number)) => self.exit(*number, exit),
            (Event::Done { .. }, _) => self.counting_requests += 1,
            (Event::Notified { interrupt: true, .. }, _) => self.counting_interrupts += 1,
            _ => {}
        }
    }

    fn exit(&mut self, number: u16, exit: &Exit) {
        let at = exit.at.saturating_sub(self.about.start);
        let vcpu = self.vcpus.entry(number).or_default();
        vcpu.counting.add(exit);
        vcpu.total.add(exit);
        vcpu.entered = at.saturating_add(exit.vmm);
        let register = self.names.register(exit);
        let what = match &register {
            Some(register) => {
                let way = if register.access == Access::Read { "→" } else { "←" };
                format!("{} {way} {:#x}", register.text(), exit.value)
            }
            None => reason(exit),
        };
        if let Some(register) = register
            && (self.counting.len() < MOST_REGISTERS || self.counting.contains_key(&register))
        {
            self.counting.entry(register).or_default().add(exit);
        }
        let function = exit.rip.map_or_else(String::new, |rip| self.names.function(rip));
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { at, vcpu: number, what, function, exit: *exit });
    }
}
