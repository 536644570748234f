use super::*;
use crate::bench::report::sample;
use crate::bench::results::Fact;

fn compared(after: &Results) -> Comparison {
    compare(&sample::results(), after, 0.02).unwrap()
}

fn judged(found: &Comparison, verdict: Verdict) -> Vec<(&str, &str)> {
    let those = found.changes.iter().filter(|change| change.verdict == verdict);
    those.map(|change| (change.contender.as_str(), change.metric.as_str())).collect()
}

#[test]
fn a_run_is_no_worse_than_itself() {
    let found = compared(&sample::results());
    assert!(found.same_machine && !found.is_worse());
    assert!(found.notes.is_empty() && found.findings.is_empty(), "{found:?}");
    assert_eq!(found.count(Verdict::Better) + found.count(Verdict::TooFewRounds), 0);
    assert!(found.count(Verdict::Same) > 20);
}

#[test]
fn a_slower_machine_makes_nobody_look_slower_that_has_a_ratio() {
    let found = compared(&sample::slower(1.4, &[], 5));
    let by_ratio: Vec<_> = found.changes.iter().filter(|change| change.by == By::Ratio).collect();
    assert!(by_ratio.len() > 10);
    assert!(by_ratio.iter().all(|change| change.verdict == Verdict::Same), "{by_ratio:?}");
}

#[test]
fn one_that_is_slower_is_found_and_no_other() {
    let found = compared(&sample::slower(1.2, &[("duplex-container", 1.3)], 6));
    let worse = judged(&found, Verdict::Worse);
    assert!(worse.contains(&("duplex-container", "first_byte")) && found.is_worse(), "{worse:?}");
    let of_ratio = |change: &&Change| {
        change.by == By::Ratio
            && change.contender == "duplex-container"
            && change.unit != Unit::Count
    };
    for change in found.changes.iter().filter(of_ratio) {
        let times = change.times.unwrap();
        assert!(
            (times.low..=times.high).contains(&1.3) && (1.25..1.35).contains(&times.value),
            "{change:?}"
        );
        // More operations a second are better.
        let better = !change.unit.less_is_better();
        assert_eq!(change.verdict == Verdict::Better, better, "{change:?}");
    }
    assert!(
        found
            .changes
            .iter()
            .filter(|change| change.by == By::Ratio && change.contender != "duplex-container")
            .all(|change| change.verdict == Verdict::Same)
    );
}

#[test]
fn what_is_within_the_tolerance_is_no_change() {
    let one_percent = sample::slower(1.0, &[("podman", 1.3)], 7);
    let strict = compare(&sample::results(), &one_percent, 0.02).unwrap();
    let loose = compare(&sample::results(), &one_percent, 0.5).unwrap();
    assert!(strict.is_worse() && !loose.is_worse());
}

#[test]
fn other_machines_are_compared_by_ratios() {
    let mut other = sample::slower(3.0, &[], 8);
    other.host[0].value = "another".into();
    let found = compared(&other);
    assert!(!found.same_machine && !found.is_worse());
    assert!(found.changes.iter().all(|change| change.by == By::Ratio));
    assert!(found.notes.iter().any(|note| note.starts_with("processor: ")), "{:?}", found.notes);
    // Without a baseline nothing is left.
    for table in &mut other.tables {
        table.series.iter_mut().for_each(|series| series.ratio = None);
    }
    let refused = compare(&sample::results(), &other, 0.02).unwrap_err();
    assert!(refused.contains("different machines"), "{refused}");
}

#[test]
fn instructions_are_the_same_on_every_machine() {
    let counted = |times| {
        let mut results = sample::slower(times, &[], 9);
        results.tables.truncate(1);
        results.tables[0].place = Place::Counting;
        results
    };
    let mut other = counted(1.05);
    other.host[0].value = "another".into();
    let found = compare(&counted(1.0), &other, 0.02).unwrap();
    assert!(found.changes.iter().all(|change| change.by == By::Value));
    // The baseline too: it is not the machine that changed.
    assert!(found.changes.iter().any(|change| change.contender == "process"));
}

#[test]
fn what_failed_is_worse_and_what_is_missing_is_named() {
    let mut after = sample::results();
    // Who fails in every round has no series, and who was not asked for has neither.
    let table = &mut after.tables[0];
    let gone = table.series.remove(1);
    let lost = table.series.remove(1);
    table.failures.push(Fact { name: gone.contender, value: "it ended with status 1".into() });
    after.tables.pop();
    after.complete = false;
    let found = compared(&after);
    assert_eq!(found.failed, ["start.host.warm: first_byte of duplex-container"]);
    assert!(found.is_worse());
    let note =
        format!("start.host.warm: {} of {} is in the first only.", lost.metric, lost.contender);
    assert!(found.notes.contains(&note), "{:?}", found.notes);
    assert!(
        found.notes.contains(&"isolation.host is in the first only.".to_owned()),
        "{:?}",
        found.notes
    );
    assert!(found.notes.contains(&"The second run was interrupted.".to_owned()));
}

#[test]
fn findings_that_changed_are_told() {
    let mut after = sample::results();
    let last = after.tables.last_mut().unwrap();
    last.findings[0].found.insert("duplex-vm".into(), "6.13.0: another".into());
    after.host.push(Fact { name: "new".into(), value: "fact".into() });
    let found = compared(&after);
    assert_eq!(
        found.findings,
        ["isolation.host: kernel of duplex-vm: 6.12.0: another, then 6.13.0: another"]
    );
    assert!(!found.is_worse());
}

#[test]
fn few_rounds_tell_nothing_but_where_the_count_is_exact() {
    let few = |times| {
        let mut results = sample::slower(times, &[], 3);
        for series in results.tables.iter_mut().flat_map(|table| &mut table.series) {
            series.samples.truncate(3);
        }
        results
    };
    let found = compare(&few(1.0), &few(1.0), 0.02).unwrap();
    assert!(
        found
            .changes
            .iter()
            .all(|change| change.verdict == Verdict::TooFewRounds || change.unit == Unit::Count)
    );
    // Two runs of different seeds, whose samples are what they are.
    let mut more = few(1.0);
    let reached = more
        .tables
        .last_mut()
        .unwrap()
        .series
        .iter_mut()
        .find(|one| one.contender == "duplex-container")
        .unwrap();
    reached.samples = vec![Some(46.0)];
    let median = &mut reached.summary.as_mut().unwrap().median;
    (median.value, median.low, median.high) = (46.0, 46.0, 46.0);
    let found = compare(&few(1.0), &more, 0.02).unwrap();
    assert_eq!(judged(&found, Verdict::Worse), [("duplex-container", "reachable_calls")]);
}

/// Two runs of the same thing: how often is a change found where there is none?
#[test]
fn false_alarms_are_as_rare_as_promised() {
    let alarms = (0..20).filter(|day| {
        let [before, after] = [2 * day, 2 * day + 1].map(sample::drawn);
        compare(&before, &after, 0.0).unwrap().is_worse()
    });
    // Half of what is found is worse, the other better: 1 in 40 is expected.
    assert!(alarms.count() <= 2);
}
