//! The list of system calls as the build script has left it; see `list.rs`.

use super::super::capabilities::{Capabilities, Capability};

/// System calls with the same decision, by number.
pub(super) struct Group {
    pub(super) decision: Decision,
    pub(super) title: &'static str,
    pub(super) calls: &'static [u16],
    pub(super) conditional: &'static [(u16, Condition)],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Allow,
    AllowWith(Capability),
    Refuse,
    RefuseAsUnknown,
}

/// What the low half of an argument, counted from 0, has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    OneOf(u8, &'static [u32]),
    NoneOf(u8, &'static [u32]),
    Lacks(u8, u32),
}

include!(concat!(env!("OUT_DIR"), "/seccomp_table.rs"));

/// What happens to a call; of two verdicts, the greater counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// No group has it.
    Unlisted,
    Refused,
    Unknown,
    /// Allowed if one of its conditions is met.
    Conditional,
    Allowed,
}

/// The verdicts on all calls.
pub(super) struct Verdicts {
    /// At the index of the call's number.
    pub(super) by_number: Vec<Verdict>,
    pub(super) conditions: Vec<(u16, Condition)>,
}

impl Verdicts {
    /// Those for a command with these capabilities.
    pub(super) fn of(granted: Capabilities) -> Self {
        let mut verdicts = Self { by_number: Vec::with_capacity(512), conditions: Vec::new() };
        for group in GROUPS {
            for &number in group.calls {
                verdicts.add(number, group.decision.verdict(granted, Verdict::Allowed));
            }
            for &(number, condition) in group.conditional {
                verdicts.add(number, group.decision.verdict(granted, Verdict::Conditional));
                if group.decision.allows(granted) {
                    verdicts.conditions.push((number, condition));
                }
            }
        }
        verdicts
    }

    /// The conditions on a call.
    pub(super) fn conditions_on(&self, call: u32) -> impl Iterator<Item = Condition> {
        let on_it = move |(number, _): &&(u16, Condition)| u32::from(*number) == call;
        self.conditions.iter().filter(on_it).map(|&(_, condition)| condition)
    }

    fn add(&mut self, number: u16, verdict: Verdict) {
        let index = usize::from(number);
        if self.by_number.len() <= index {
            self.by_number.resize(index + 1, Verdict::Unlisted);
        }
        if let Some(known) = self.by_number.get_mut(index) {
            *known = verdict.max(*known);
        }
    }
}

impl Decision {
    /// Whether calls of such a group are made.
    pub(super) fn allows(self, granted: Capabilities) -> bool {
        match self {
            Self::Allow => true,
            Self::AllowWith(capability) => granted.contains(capability),
            Self::Refuse | Self::RefuseAsUnknown => false,
        }
    }

    fn verdict(self, granted: Capabilities, allowed: Verdict) -> Verdict {
        match self {
            Self::RefuseAsUnknown => Verdict::Unknown,
            _ if self.allows(granted) => allowed,
            _ => Verdict::Refused,
        }
    }
}
