//! With real processes on this machine, as busy as it is.

use std::time::Duration;

use duplex::bench::contender::{Contender, Job};
use duplex::bench::observer::{Bounds, observe};
use duplex::bench::results::{Series, Unit};
use duplex::bench::rounds::{Measured, Watch, measure};
use duplex::bench::schedule::Schedule;
use duplex::bench::statistics;
use duplex::bench::stop::Stop;

use crate::known::{Known, difference};

/// What a sleep takes longer than asked, and a process that is woken waits, on a busy machine.
const SLACK_MS: f64 = 10.0;

/// The first bytes of these, round by round.
fn first_bytes(contenders: &[&dyn Contender], rounds: u32) -> Vec<Series> {
    let schedule = Schedule { warm_up: 1, rounds, seed: 1 };
    let bounds = Bounds { time: Duration::from_secs(120), ..Bounds::default() };
    let stop = Stop::default();
    let hooks = (&mut () as &mut dyn Watch, &stop);
    let found = measure(contenders, (schedule, None), Some("a"), hooks, |contender, turn| {
        let mut command = contender.command(&Job::default(), turn.number)?;
        let seen = observe(&mut command, &bounds, &stop).map_err(|mishap| mishap.to_string())?;
        let milliseconds = seen.first_byte.as_secs_f64() * 1000.0;
        Ok(vec![Measured::new("first_byte", Unit::Milliseconds, milliseconds)])
    });
    assert!(found.complete && found.failures.is_empty(), "{:?}", found.failures);
    found.series
}

#[test]
fn a_contender_with_a_known_delay_is_found_that_much_slower() {
    let at_once = Known::new("a", "sleep 0; echo ready");
    let delayed = Known::new("b", "sleep 0.1; echo ready");
    let series = first_bytes(&[&at_once, &delayed], 15);
    let (low, value, high) = difference(&series[1], &series[0]);
    assert!(low - SLACK_MS <= 100.0 && 100.0 <= high + SLACK_MS, "{low} {value} {high}");
}

#[test]
fn two_identical_contenders_are_found_equal() {
    let (one, other) =
        (Known::new("a", "sleep 0.02; echo ready"), Known::new("b", "sleep 0.02; echo ready"));
    let series = first_bytes(&[&one, &other], 25);
    let found = series[1].ratio.unwrap().median;
    // One interval in twenty does not hold what it is for, but none is far from it.
    assert!(found.low <= 1.1 && 0.9 <= found.high, "{found:?}");
}

/// Both get slower with each start, as on a machine that heats up.
#[test]
fn what_slows_both_down_does_not_make_one_look_slower() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("starts");
    let script = format!(
        "echo x >>{0}; set -- $(wc -l <{0}); \
         sleep 0.$(printf %03d $((30 + 2 * $1))); echo ready",
        path.display()
    );
    let (one, other) = (Known::new("a", script.clone()), Known::new("b", script));
    let series = first_bytes(&[&one, &other], 20);
    let samples: Vec<f64> = series[0].samples.iter().flatten().copied().collect();
    let median = |part: &[f64]| {
        let mut sorted = part.to_vec();
        sorted.sort_by(f64::total_cmp);
        statistics::quantile(&sorted, 0.5)
    };
    // From 34 to 114 ms, in steps that another start lies between; one of them may have had to wait.
    assert!(median(&samples[13..]) - median(&samples[..7]) > 40.0, "{samples:?}");
    let found = series[1].ratio.unwrap().median;
    assert!(found.low <= 1.1 && 0.9 <= found.high, "{found:?}");
}
