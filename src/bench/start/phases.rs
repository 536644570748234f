//! Where a start's time goes: what duplex itself says of it (`--timing --json`), in starts of their own, so
//! that those that are timed from outside stay as they are.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{TIMING, bounds, job, unit};
use crate::bench::contender::{Contender, Job};
use crate::bench::ground::Ground;
use crate::bench::observer::{Bounds, observe};
use crate::bench::results::{Phase, Timeline};
use crate::bench::statistics::median;
use crate::trace::boot;

/// So many starts are enough for a median of each phase.
const MOST: u32 = 10;

/// Numbers of starts beyond those of the rounds.
const FIRST_NUMBER: u64 = 1_000_000;

/// Contenders that give an account.
const OWN: [&str; 2] = ["duplex-container", "duplex-vm"];

/// What duplex says.
#[derive(Deserialize)]
struct Account {
    phases: Vec<Reached>,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Reached {
    phase: String,
    ns: u64,
}

#[derive(Deserialize)]
struct Step {
    step: String,
    ns: u64,
}

/// The timelines of duplex's own halves.
pub(super) fn timelines(ground: &mut Ground<'_>) -> Vec<Timeline> {
    let own = |one: &&&dyn Contender| OWN.contains(&one.described().id.as_str());
    let own: Vec<&dyn Contender> = ground.contenders.iter().filter(own).copied().collect();
    own.into_iter().filter_map(|contender| timeline(ground, contender)).collect()
}

fn timeline(ground: &mut Ground<'_>, contender: &dyn Contender) -> Option<Timeline> {
    let job = Job { timing: true, ..job() };
    let bounds = Bounds { errors: TIMING, ..bounds() };
    let mut ends: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    let id = &contender.described().id;
    let of = ground.schedule.rounds.min(MOST);
    for turn in 0..of {
        if ground.stop.is_requested() {
            return None;
        }
        ground.watch.turn(id, turn + 1, of);
        let number = FIRST_NUMBER + u64::from(turn);
        let seen = contender
            .command(&job, number)
            .and_then(|mut command| {
                observe(&mut command, &bounds, ground.stop).map_err(|mishap| mishap.to_string())
            })
            .inspect_err(|reason| log::warn!("{id}: its phases: {reason}"))
            .ok()?;
        contender.clean_up(number);
        for (name, by, ns) in parse(&seen.errors)? {
            // Nanoseconds of a start fit.
            let milliseconds = std::time::Duration::from_nanos(ns).as_secs_f64() * 1000.0;
            ends.entry((name, by)).or_default().push(milliseconds);
        }
    }
    let mut phases: Vec<Phase> =
        ends.into_iter().map(|((name, by), ends)| Phase { name, by, end: median(&ends) }).collect();
    phases.sort_by(|one, other| one.end.total_cmp(&other.end));
    Some(Timeline { contender: id.clone(), unit: unit(ground.place), phases })
}

/// The account on standard error: the last line that is one. Name, who went through it, and when it ended.
fn parse(errors: &[u8]) -> Option<Vec<(String, String, u64)>> {
    let text = String::from_utf8_lossy(errors);
    let account: Account = text.lines().rev().find_map(|line| serde_json::from_str(line).ok())?;
    let phases = account.phases.into_iter().map(|reached| {
        let phase = boot::Phase::ALL.into_iter().find(|phase| {
            serde_json::to_value(phase).is_ok_and(|name| name == reached.phase.as_str())
        });
        let name = phase.map_or(reached.phase, |phase| phase.describe().to_owned());
        (name, who(phase).to_owned(), reached.ns)
    });
    let steps = account.steps.into_iter().map(|step| (step.step, "PID 1".to_owned(), step.ns));
    Some(phases.chain(steps).collect())
}

/// Who goes through a phase.
fn who(phase: Option<boot::Phase>) -> &'static str {
    match phase {
        Some(boot::Phase::FirstSerialByte | boot::Phase::UserSpace) => "guest",
        _ => "duplex",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_among_messages() {
        let text = "duplex: something\n{\"phases\":[{\"phase\":\"first_run\",\"ns\":5},\
                    {\"phase\":\"user_space\",\"ns\":9}],\"steps\":[{\"step\":\"mount /proc\",\"ns\":7}]}\n";
        let expected = [
            ("first KVM_RUN", "duplex", 5),
            ("user space reached", "guest", 9),
            ("mount /proc", "PID 1", 7),
        ];
        let expected = expected.map(|(name, by, ns)| (name.to_owned(), by.to_owned(), ns));
        assert_eq!(parse(text.as_bytes()).unwrap(), expected);
        assert!(parse(b"nothing").is_none());
    }
}
