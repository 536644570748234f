//! Each case, natively and small: two rounds of a plain process and a container.

use std::collections::BTreeMap;

use duplex::bench::cases::{cpu, density, disk, isolation, memory, net};
use duplex::bench::contender::Contender;
use duplex::bench::contenders::{LineUp, Wanted};
use duplex::bench::ground::Ground;
use duplex::bench::labs::Lab;
use duplex::bench::results::{Place, Series, Table};
use duplex::bench::schedule::Schedule;
use duplex::bench::stop::Stop;
use duplex::bench::workshop::Workshop;

use crate::common::{DUPLEX, containers, find_program, say};

/// A case's table, of a plain process and a container.
fn measured(case: impl FnOnce(&mut Ground<'_>) -> Table) -> Option<Table> {
    measured_of("process,duplex-container", case)
}

/// The same, of these.
fn measured_of(only: &str, case: impl FnOnce(&mut Ground<'_>) -> Table) -> Option<Table> {
    if !containers::has_containers() {
        return None;
    }
    let place = tempfile::tempdir().unwrap();
    let workshop = Workshop::set_up_for(DUPLEX.into(), place.path()).unwrap();
    let only = only.split(',').map(String::from).collect();
    let line_up = LineUp::find(&workshop, &Wanted { only, ..Wanted::default() });
    let present: Vec<&dyn Contender> = line_up.present.iter().map(AsRef::as_ref).collect();
    let table = case(&mut Ground {
        workshop: &workshop,
        contenders: &present,
        observer: line_up.observer.as_ref(),
        place: Place::Host,
        schedule: Schedule { warm_up: 0, rounds: 2, seed: 1 },
        budget: None,
        watch: &mut (),
        stop: &Stop::default(),
    });
    for series in &table.series {
        say(&format!("{} {}: {:?}", series.contender, series.metric, series.samples));
    }
    for finding in &table.findings {
        say(&format!("{}: {:#?}", finding.subject, finding.found));
    }
    for curve in &table.curves {
        say(&format!("{curve:?}"));
    }
    assert!(table.failures.is_empty(), "{:?}", table.failures);
    Some(table)
}

/// The medians of one metric, by contender.
fn medians(table: &Table, metric: &str) -> BTreeMap<String, f64> {
    let series = table.series.iter().filter(|series| series.metric == metric);
    series
        .map(|series| {
            assert!(series.samples.iter().all(Option::is_some), "{series:?}");
            (series.contender.clone(), series.summary.as_ref().unwrap().median.value)
        })
        .collect()
}

/// What each round measured of one contender's metric.
fn samples(table: &Table, contender: &str, metric: &str) -> Vec<f64> {
    let is_it = |series: &&Series| series.contender == contender && series.metric == metric;
    let series = table.series.iter().find(is_it).expect("the table has it");
    series.samples.iter().map(|sample| sample.expect("no round failed")).collect()
}

#[test]
fn cpu_has_nine_kinds_of_both() {
    let Some(table) = measured(cpu::run) else { return };
    assert_eq!(table.id, "cpu.host");
    assert_eq!(table.series.len(), 18);
    for metric in ["integer", "fork_exec", "pipe", "contention"] {
        let found = medians(&table, metric);
        assert!(
            found.len() == 2 && found.values().all(|value| *value > 0.0),
            "{metric}: {found:?}"
        );
    }
    assert!(table.series.iter().filter(|series| series.ratio.is_some()).count() == 9);
}

#[test]
fn memory_is_that_of_the_whole_family() {
    let Some(table) = measured(memory::run) else { return };
    let [idle, touched, after] =
        ["idle", "touched", "after_free"].map(|metric| medians(&table, metric));
    for id in ["process", "duplex-container"] {
        // The 64 MiB are there, and go again.
        assert!(touched[id] - idle[id] > f64::from(60 << 20), "{id}: {idle:?} {touched:?}");
        assert!(touched[id] - after[id] > f64::from(50 << 20), "{id}: {touched:?} {after:?}");
    }
    // duplex and PID 1 are there besides the workload.
    assert!(idle["duplex-container"] > idle["process"], "{idle:?}");
    let kernel = medians(&table, "kernel");
    assert!(!kernel.contains_key("process"), "{kernel:?}");
}

#[test]
fn isolation_is_found_from_inside() {
    let Some(table) = measured(isolation::run) else { return };
    let reached = medians(&table, "reachable_calls");
    assert!(reached["duplex-container"] < reached["process"], "{reached:?}");
    let passes = medians(&table, "filter_passes");
    assert!(passes["process"] == 374.0 && passes["duplex-container"] < 374.0, "{passes:?}");
    let seen = medians(&table, "processes");
    // Its PID 1, and perhaps none else.
    assert!(seen["duplex-container"] <= 2.0, "{seen:?}");
    assert_eq!(medians(&table, "escapes"), BTreeMap::from([("duplex-container".into(), 0.0)]));
    let kernel = table.findings.iter().find(|finding| finding.subject == "kernel").unwrap();
    assert!(kernel.found["duplex-container"].ends_with("the same"), "{kernel:?}");
}

#[test]
fn density_grows_to_what_was_asked_for() {
    let Some(table) = measured(|ground| density::run(ground, 5)) else { return };
    assert_eq!(table.curves.len(), 8);
    for curve in &table.curves {
        let sizes: Vec<u32> = curve.points.iter().map(|(size, _)| *size).collect();
        assert_eq!((sizes, curve.end.as_str()), (vec![1, 2, 4, 5], "all that were asked for"));
    }
    let rate = medians(&table, "starts_per_second_of_5");
    assert!(rate.len() == 2 && rate.values().all(|rate| *rate > 0.0), "{rate:?}");
    // One that starts alone is as fast as it is late, in each round.
    for id in ["process", "duplex-container"] {
        let rates = samples(&table, id, "starts_per_second_of_1");
        let latencies = samples(&table, id, "latency_of_1");
        assert_eq!(rates.len(), 2);
        for (rate, latency) in rates.iter().zip(&latencies) {
            let product = rate * latency / 1000.0;
            assert!((product - 1.0).abs() < 1e-9, "{id}: {rate} a second, {latency} ms");
        }
    }
}

#[test]
fn disks_are_reached_by_volumes() {
    let Some(table) = measured(disk::run) else { return };
    for metric in ["volume.sequential_write", "volume.random_read", "volume.fsync"] {
        let found = medians(&table, metric);
        assert!(
            found.len() == 2 && found.values().all(|value| *value > 0.0),
            "{metric}: {found:?}"
        );
    }
    assert_eq!(medians(&table, "layer.fsync").len(), 1);
}

#[test]
fn talk_goes_by_a_users_network() {
    // What pasta needs.
    let routes = std::fs::read_to_string("/proc/net/route").unwrap();
    let default = routes.lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    if !default || !find_program("pasta") {
        return say("SKIPPED: there is no default route, or pasta is not installed");
    }
    let Some(table) = measured(net::by_user) else { return };
    for metric in ["send", "receive", "round_trip"] {
        let found = medians(&table, metric);
        assert!(
            found.len() == 2 && found.values().all(|value| *value > 0.0),
            "{metric}: {found:?}"
        );
    }
}

#[test]
fn a_burst_of_a_lab_is_as_large_as_was_wanted() {
    let lab = |ground: &mut Ground<'_>| Lab::SlowScaling.run(ground, Some(4)).remove(0);
    let Some(table) = measured_of("duplex-container", lab) else { return };
    let [curve] = &table.curves[..] else { panic!("{:?}", table.curves) };
    assert!(curve.points.len() == 4 && curve.points.is_sorted_by(|a, b| a.1 <= b.1), "{curve:?}");
    assert!(table.findings[0].found["duplex-container"].starts_with("4 instances: the first"));
}

#[test]
fn behind_a_containers_kernel_is_nothing() {
    let lab = |ground: &mut Ground<'_>| Lab::SharedKernel.run(ground, None).remove(0);
    let Some(table) = measured(lab) else { return };
    assert_eq!(table.id, "lab.host.shared-kernel");
    let behind = &table.findings[1].found["duplex-container"];
    let expected = ["nothing: that kernel is this machine's", "a filter on system calls", "user"];
    assert!(expected.iter().all(|part| behind.contains(part)), "{behind}");
}
