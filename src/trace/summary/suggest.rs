//! What would make it faster: each suggestion is worked out from what the trace has, and made only where it
//! is worth something.

use serde::Serialize;

use super::{Register, Summary};
use crate::trace::cost::Cost;
use crate::trace::event::Access;

/// What is below that part of the guest's time, in thousandths, and below that part of all exits, is not
/// worth a suggestion.
const LEAST_TIME: u64 = 10;
const LEAST_EXITS: u64 = 50;
/// Fewer exits than that are not worth it, whatever part they are.
const MANY: u64 = 20;

/// A suggestion.
#[derive(Clone, Debug, Serialize)]
pub struct Suggestion {
    /// How many exits it is about.
    pub exits: u64,
    /// How long they took in the VMM, in nanoseconds.
    pub vmm_ns: u64,
    /// What was found, and what to do.
    pub text: String,
}

/// A kind of access that can be saved.
struct Kind {
    what: &'static str,
    remedy: &'static str,
    is: fn(&Register) -> bool,
}

const KINDS: [Kind; 6] = [
    Kind {
        what: "for serial: transmit, one for each byte of output",
        remedy: "the word 'quiet' on the command line prints less; `--hvc stdio` has an exit for each \
                 buffer instead of each byte; `--serial off` has none",
        is: |register| register.text() == "serial: transmit",
    },
    Kind {
        what: "for serial: line status and the like, with which a driver asks before each byte",
        remedy: "they go with the output: 'quiet', `--hvc stdio` or `--serial off`",
        is: |register| register.device == "serial" && register.register != "transmit",
    },
    Kind {
        what: "for PCI configuration: the guest looks for a bus that is not there",
        remedy: "the word 'pci=off' on the command line saves it",
        is: |register| register.device == "PCI configuration",
    },
    Kind {
        what: "for keyboard controller: the guest looks for a keyboard that is not there",
        remedy: "the words 'i8042.noaux i8042.nokbd' on the command line save it",
        is: |register| register.device == "keyboard controller",
    },
    Kind {
        what: "for the real-time clock",
        remedy: "a guest reads it once to know the time; a kernel without RTC_DRV_CMOS does not look for it again",
        is: |register| register.device == "real-time clock",
    },
    Kind {
        what: "to ports and addresses where no device is",
        remedy: "a kernel that is configured for what the machine has does not look for the rest; \
                 'io_delay=none' saves those to port 0x80",
        is: |register| register.register.is_empty(),
    },
];

/// All that can be said, the weightiest first.
pub(super) fn all(summary: &Summary) -> Vec<Suggestion> {
    let mut found: Vec<Suggestion> =
        KINDS.iter().filter_map(|kind| of_kind(summary, kind)).collect();
    found.extend(of_preparation(summary));
    found.extend(of_waiting(summary));
    found.extend(of_interrupts(summary));
    found.sort_by_key(|suggestion| std::cmp::Reverse(suggestion.vmm_ns));
    found
}

fn of_kind(summary: &Summary, kind: &Kind) -> Option<Suggestion> {
    let (count, vmm) = added(summary, kind.is);
    let (time, exits) = (summary.guest_time(), summary.exits());
    let many = count >= MANY && permille(count, exits) >= LEAST_EXITS;
    let worth = permille(vmm, time) >= LEAST_TIME || many;
    worth.then(|| Suggestion {
        exits: count,
        vmm_ns: vmm,
        text: format!(
            "{} ({} of all) {}: {} in the VMM, {} of the guest's time; {}",
            if count == 1 { "1 exit".to_owned() } else { grouped(count) + " exits" },
            percent(count, exits),
            kind.what,
            duration(vmm),
            percent(vmm, time),
            kind.remedy,
        ),
    })
}

fn added(summary: &Summary, is: impl Fn(&Register) -> bool) -> (u64, u64) {
    let costs = summary.registers.iter().filter(|(register, _)| is(register));
    costs.fold((0, 0), |(count, vmm), (_, cost)| (count + cost.count, vmm.saturating_add(cost.vmm)))
}

/// What came before the guest.
fn of_preparation(summary: &Summary) -> Option<Suggestion> {
    let planned = summary.phases.iter().find(|phase| phase.reached.phase == "planned")?;
    let before = summary.phase("first_run")?;
    if permille(planned.took, summary.last) < 5 * LEAST_TIME
        || planned.took.saturating_mul(2) < before
    {
        return None;
    }
    Some(Suggestion {
        exits: 0,
        vmm_ns: planned.took,
        text: format!(
            "{} of the {} before the first KVM_RUN went into reading kernel and initrd: a compressed \
             kernel is unpacked at each start; its ELF, uncompressed, is mapped as it is",
            duration(planned.took),
            duration(before),
        ),
    })
}

/// A long exit for output: whoever reads it is slow.
fn of_waiting(summary: &Summary) -> Option<Suggestion> {
    let is_output =
        |register: &Register| register.device == "serial" && register.access == Access::Write;
    let costs = summary.registers.iter().filter(|(register, _)| is_output(register));
    let cost: &Cost = costs.map(|(_, cost)| cost).max_by_key(|cost| cost.spread.most())?;
    let longest = cost.spread.most();
    (longest > 10_000_000 && permille(longest, summary.guest_time()) >= LEAST_TIME).then(|| Suggestion {
        exits: 1,
        vmm_ns: longest,
        text: format!(
            "an exit for output took {}: the guest waited until what it had printed was read; read \
             faster, or print into a file (`--serial FILE`)",
            duration(longest),
        ),
    })
}

/// Each interrupt of a virtio device costs two accesses to its registers.
fn of_interrupts(summary: &Summary) -> Option<Suggestion> {
    let (count, vmm) = added(summary, |register| {
        matches!(register.register.as_str(), "InterruptStatus" | "InterruptACK")
    });
    let worth = permille(vmm, summary.guest_time()) >= LEAST_TIME
        || permille(count, summary.exits()) >= 4 * LEAST_EXITS;
    let requests: u64 = summary.queues.values().map(|queue| queue.requests).sum();
    (worth && count > 0).then(|| Suggestion {
        exits: count,
        vmm_ns: vmm,
        text: format!(
            "{} exits ({} of all) acknowledged interrupts of virtio devices, two each, for {} requests: {} \
             in the VMM, {} of the guest's time; larger requests, and more of them in hand at a time, \
             need fewer interrupts",
            grouped(count),
            percent(count, summary.exits()),
            grouped(requests),
            duration(vmm),
            percent(vmm, summary.guest_time()),
        ),
    })
}

fn permille(part: u64, whole: u64) -> u64 {
    let part = u128::from(part) * 1000;
    u64::try_from(part / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}

/// A part of a whole, for people.
pub fn percent(part: u64, whole: u64) -> String {
    let permille = permille(part, whole);
    if permille >= 100 || permille == 0 && part == 0 {
        format!("{} %", permille.saturating_add(5) / 10)
    } else {
        format!("{}.{} %", permille / 10, permille % 10)
    }
}

/// A number with its thousands apart, for people.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds, for people.
pub fn duration(time: u64) -> String {
    let scaled = |unit: u64, name: &str| {
        // Three digits that count.
        let (whole, part) = (time / unit, time % unit);
        match whole {
            0..10 => format!("{whole}.{:02} {name}", part * 100 / unit),
            10..100 => format!("{whole}.{} {name}", part * 10 / unit),
            _ => format!("{whole} {name}"),
        }
    };
    match time {
        0..1_000 => format!("{time} ns"),
        1_000..1_000_000 => scaled(1_000, "µs"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "ms"),
        _ => scaled(1_000_000_000, "s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(grouped(0), "0");
        assert_eq!(percent(u64::MAX, 1), "1844674407370955161 %");
        assert_eq!(grouped(8412), "8,412");
        assert_eq!(grouped(1_234_567), "1,234,567");
        for (time, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_234, "1.23 µs"),
            (45_678_901, "45.6 ms"),
            (123_456_789, "123 ms"),
            (61_000_000_000, "61.0 s"),
        ] {
            assert_eq!(duration(time), text);
        }
        let percents = [(0, 0, "0 %"), (61, 100, "61 %"), (1, 100, "1.0 %"), (1, 10_000, "0.0 %")];
        for (part, whole, text) in percents {
            assert_eq!(percent(part, whole), text);
        }
    }
}
