//! What is recorded: each event is eight words, whatever it is, so that a ring is an array and a file is
//! read without guessing. docs/trace.md has the layout.

use serde::Serialize;

use super::exits::Reason;

/// How many words of eight bytes an event has.
pub const WORDS: usize = 8;

/// An event as it is kept.
pub type Words = [u64; WORDS];

const EXIT: u64 = 1;
const KICK: u64 = 2;
const TAKEN: u64 = 3;
const DONE: u64 = 4;
const NOTIFIED: u64 = 5;
const CALL: u64 = 6;

/// [`Exit::rip`] is known.
const RIP_KNOWN: u64 = 1;

/// Something that happened. Times are nanoseconds of the monotonic clock, durations nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A vCPU left the guest.
    Exit(Exit),
    /// The thread of a queue has heard its driver's kick.
    Kick {
        /// When.
        at: u64,
    },
    /// A device took a request out of its queue.
    Taken {
        /// When.
        at: u64,
        /// The descriptor that it begins with: its name until it is done.
        head: u16,
        /// How many bytes the device may read.
        readable: u64,
        /// How many it may write.
        writable: u64,
    },
    /// A device gave a request back.
    Done {
        /// When.
        at: u64,
        /// Which.
        head: u16,
        /// How many bytes were written into its buffers.
        written: u64,
    },
    /// What was given back was told to the driver.
    Notified {
        /// When.
        at: u64,
        /// By an interrupt; `false`: the driver wanted none.
        interrupt: bool,
    },
    /// A process of a container made a system call.
    Call(Call),
}

/// A vCPU's exit to user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Why.
    pub reason: Reason,
    /// KVM's number for it (KVM_EXIT_…), which tells more where the reason is [`Reason::Other`].
    pub number: u32,
    /// When KVM_RUN returned.
    pub at: u64,
    /// The port or guest-physical address, where there was an access.
    pub address: u64,
    /// How many bytes an access had.
    pub size: u8,
    /// How many accesses there were: string instructions make many.
    pub count: u32,
    /// What was read or written: the first eight bytes, the lowest first.
    pub value: u64,
    /// The instruction pointer, at the instruction or just behind it, where it is known.
    pub rip: Option<u64>,
    /// How long KVM_RUN took: guest and KVM.
    pub guest: u64,
    /// How long the VMM then took until the next KVM_RUN.
    pub vmm: u64,
}

/// A system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it began.
    pub at: u64,
    /// Its number on x86-64.
    pub number: u32,
    /// Whose: the process' number as the host has it, outside of the container.
    pub process: u32,
    /// The first three arguments.
    pub arguments: [u64; 3],
    /// What it returned; an error is below zero.
    pub result: i64,
    /// How long it took, with what tracing adds.
    pub took: u64,
}

/// Which way an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// From the guest's side: it reads.
    Read,
    /// It writes.
    Write,
}

impl Exit {
    /// Which way data went, where the exit was for some.
    pub fn access(&self) -> Option<Access> {
        match self.reason {
            Reason::PortIn | Reason::MmioRead => Some(Access::Read),
            Reason::PortOut | Reason::MmioWrite => Some(Access::Write),
            _ => None,
        }
    }

    /// Whether it was about a port.
    pub fn is_port(&self) -> bool {
        matches!(self.reason, Reason::PortIn | Reason::PortOut)
    }
}

impl Event {
    /// When it happened; an exit: when it was over, a system call: when it began.
    pub fn at(&self) -> u64 {
        match *self {
            Event::Exit(exit) => exit.at,
            Event::Kick { at }
            | Event::Taken { at, .. }
            | Event::Done { at, .. }
            | Event::Notified { at, .. } => at,
            Event::Call(call) => call.at,
        }
    }

    /// As it is kept.
    pub fn words(&self) -> Words {
        match *self {
            Event::Exit(exit) => exit.words(),
            Event::Kick { at } => [KICK, at, 0, 0, 0, 0, 0, 0],
            Event::Taken { at, head, readable, writable } => {
                [TAKEN | u64::from(head) << 32, at, readable, writable, 0, 0, 0, 0]
            }
            Event::Done { at, head, written } => {
                [DONE | u64::from(head) << 32, at, written, 0, 0, 0, 0, 0]
            }
            Event::Notified { at, interrupt } => {
                [NOTIFIED | u64::from(interrupt) << 8, at, 0, 0, 0, 0, 0, 0]
            }
            Event::Call(call) => {
                let [a, b, c] = call.arguments;
                let first = CALL | u64::from(call.number) << 32;
                [
                    first,
                    call.at,
                    a,
                    b,
                    c,
                    call.process.into(),
                    call.result.cast_unsigned(),
                    call.took,
                ]
            }
        }
    }

    /// What these words say. `None`: nothing that this version knows.
    pub fn from_words(words: &Words) -> Option<Event> {
        let [first, at, a, b, c, d, e, f] = *words;
        let head = u16::try_from(first >> 32);
        Some(match first & 0xFF {
            EXIT => Event::Exit(Exit::from_words(words)?),
            KICK => Event::Kick { at },
            TAKEN => Event::Taken { at, head: head.ok()?, readable: a, writable: b },
            DONE => Event::Done { at, head: head.ok()?, written: a },
            NOTIFIED => Event::Notified { at, interrupt: first >> 8 & 1 != 0 },
            CALL => Event::Call(Call {
                at,
                number: low(first >> 32),
                process: low(d),
                arguments: [a, b, c],
                result: e.cast_signed(),
                took: f,
            }),
            _ => return None,
        })
    }
}

impl Exit {
    /// The words of an exit: the first tells what it was, then come the time, the access, where it was,
    /// and how long guest and VMM took.
    fn words(&self) -> Words {
        let flags = if self.rip.is_some() { RIP_KNOWN } else { 0 };
        let first = EXIT
            | u64::from(self.reason.number()) << 8
            | u64::from(self.size) << 16
            | flags << 24
            | u64::from(self.count) << 32;
        let rip = self.rip.unwrap_or(0);
        [first, self.at, self.address, self.value, rip, self.guest, self.vmm, self.number.into()]
    }

    fn from_words(words: &Words) -> Option<Exit> {
        let [first, at, address, value, rip, guest, vmm, number] = *words;
        let byte = |shift: u32| first.to_le_bytes().get((shift / 8) as usize).copied().unwrap_or(0);
        Some(Exit {
            reason: Reason::from_number(byte(8))?,
            number: low(number),
            at,
            address,
            size: byte(16),
            count: low(first >> 32),
            value,
            rip: (u64::from(byte(24)) & RIP_KNOWN != 0).then_some(rip),
            guest,
            vmm,
        })
    }
}

/// The lower half.
fn low(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exit(reason: Reason, rip: Option<u64>) -> Exit {
        let (at, address, value) = (u64::MAX, 0x3F8, 0x41);
        let (guest, vmm) = (1 << 40, 3);
        Exit { reason, number: 2, at, address, size: 1, count: 7, value, rip, guest, vmm }
    }

    #[test]
    fn what_was_kept_is_what_comes_back() {
        let call =
            Call { at: 1, number: 257, process: 3, arguments: [4, 5, 6], result: -2, took: 9 };
        let events = [
            Event::Exit(exit(Reason::PortOut, Some(0))),
            Event::Exit(exit(Reason::Other, None)),
            Event::Kick { at: 1 },
            Event::Taken { at: 2, head: 0xFFFF, readable: 3, writable: 1 << 33 },
            Event::Done { at: 3, head: 0, written: 512 },
            Event::Notified { at: 4, interrupt: true },
            Event::Notified { at: 5, interrupt: false },
            Event::Call(call),
        ];
        for event in events {
            assert_eq!(Event::from_words(&event.words()), Some(event));
        }
    }

    proptest! {
        #[test]
        fn any_words_are_an_event_or_none(words: [u64; WORDS]) {
            for kind in 0..9 {
                let mut words = words;
                words[0] = words[0] & !0xFF | kind;
                if let Some(event) = Event::from_words(&words) {
                    prop_assert_eq!(Event::from_words(&event.words()), Some(event));
                }
            }
        }
    }
}
