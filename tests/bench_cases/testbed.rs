//! The VM half of all cases, in the testbed: one round each, by the command line.

use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use duplex::bench::results::{Place, Results, Table};
use duplex::guest_images::{Cache, find_tuned_kernel};

use crate::common::process;
use crate::common::{has_testbed, say, testbed};

/// One of the tests at a time: they would be each other's neighbours.
static TURN: Mutex<()> = Mutex::new(());

/// `duplex bench` with these arguments, of a plain process and a VM; what it found in the testbed.
fn measured(arguments: &[&str]) -> Vec<Table> {
    measured_of(&["process", "duplex-vm"], arguments)
}

/// The same, of these.
fn measured_of(only: &[&str], arguments: &[&str]) -> Vec<Table> {
    let mut command = testbed::duplex(testbed::shared());
    command.arg("bench").args(arguments);
    command.args(["--testbed", "always", "--runs", "1", "--seed", "1", "--json"]);
    command.args(only.iter().flat_map(|id| ["--only", *id])).stdin(Stdio::null());
    let output = process::output(&mut command);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {:?}: {stderr}", output.status);
    let results: Results = serde_json::from_slice(&output.stdout).unwrap();
    assert!(results.complete);
    let tables: Vec<Table> =
        results.tables.into_iter().filter(|table| table.place == Place::Testbed).collect();
    for table in &tables {
        for series in &table.series {
            let (of, metric) = (&series.contender, &series.metric);
            say(&format!("{}: {of} {metric}: {:?}", table.id, series.samples));
        }
        assert!(table.failures.is_empty(), "{}: {:?}", table.id, table.failures);
    }
    tables
}

/// The only sample of a VM's metric.
fn of_vm(table: &Table, metric: &str) -> f64 {
    let is_it = |one: &&duplex::bench::results::Series| {
        one.contender == "duplex-vm" && one.metric == metric
    };
    let series = table.series.iter().find(is_it).unwrap_or_else(|| panic!("no {metric}"));
    series.samples[0].unwrap()
}

#[test]
fn a_vm_takes_part_in_every_case() {
    if !has_testbed() {
        return;
    }
    if find_tuned_kernel(&Cache::open().unwrap()).is_none() {
        say("SKIPPED: there is no tuned kernel (make tuned-kernel)");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let tables = measured(&["cpu"]);
    assert!(of_vm(&tables[0], "integer") > 0.0 && of_vm(&tables[0], "fork_exec") > 0.0);

    let tables = measured(&["memory"]);
    let [idle, kernel, guest] =
        ["idle", "kernel", "guest_touched"].map(|metric| of_vm(&tables[0], metric));
    assert!(guest > 8e6 && guest < idle && kernel > 0.0, "{idle} {kernel} {guest}");

    let tables = measured(&["isolation"]);
    let kernel = tables[0].findings.iter().find(|finding| finding.subject == "kernel").unwrap();
    assert!(kernel.found["duplex-vm"].ends_with("another"), "{kernel:?}");
    assert_eq!(of_vm(&tables[0], "escapes"), 0.0);

    let tables = measured(&["disk"]);
    assert!(of_vm(&tables[0], "volume.random_read") > 0.0);
    assert!(of_vm(&tables[0], "layer.fsync") > 0.0);

    let tables = measured(&["net"]);
    let ids: Vec<_> = tables.iter().map(|table| table.id.as_str()).collect();
    assert_eq!(ids, ["net.testbed.user", "net.testbed.bridge"]);
    assert!(tables.iter().all(|table| of_vm(table, "round_trip") > 0.0));

    let tables = measured(&["density", "--instances", "2"]);
    assert!(of_vm(&tables[0], "starts_per_second_of_2") > 0.0);
}

#[test]
fn a_neighbour_without_limits_is_felt() {
    if !has_testbed() {
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let tables = measured_of(&["duplex-container"], &["lab", "resource-exhaustion"]);
    let [table] = &tables[..] else { panic!("{tables:?}") };
    assert_eq!(table.id, "lab.testbed.resource-exhaustion");
    let ratio = |situation: &str| {
        let is_it = |one: &&duplex::bench::results::Series| {
            one.contender == situation && one.metric == "throughput"
        };
        table.series.iter().find(is_it).unwrap().ratio.unwrap().median.value
    };
    // How much is the machine's affair; that it is felt is not.
    assert!(ratio("without-limits") < 0.9, "{}", ratio("without-limits"));
    assert!(ratio("with-limits") > 0.0);
    assert!(table.findings.iter().all(|finding| finding.found.len() == 3), "{:?}", table.findings);
}
