use super::*;
use crate::bench::report::sample;

fn claim<'a>(claims: &'a [Claim], words: &str) -> &'a Claim {
    claims.iter().find(|claim| claim.claim.contains(words)).unwrap()
}

#[test]
fn a_factor_counts_from_the_nearer_end() {
    let range = (10.0, 100.0);
    assert_eq!(off(2.0, range), 5.0);
    assert_eq!(off(10.0, range), 1.0);
    assert_eq!(off(50.0, range), 1.0);
    assert_eq!(off(250.0, range), 2.5);
    assert_eq!(off(0.0, range), 1.0);
}

#[test]
fn the_slowest_container_judges_the_claim() {
    let results = sample::results();
    let claims = of(&results);
    let found = claim(&claims, "container starts");
    let podman =
        results.tables[0].series.iter().find(|series| series.contender == "podman").unwrap();
    let slowest = podman.summary.as_ref().unwrap().median.value;
    assert_eq!(found.factor, Some(1000.0 / slowest));
    assert!(
        found.measured.contains("from duplex-container 6.")
            && found.measured.contains("to podman 9")
    );
    assert!(found.measured.contains("n 30"), "{}", found.measured);
    assert!(
        found.why.contains("The longest phase of duplex-container: first byte"),
        "{}",
        found.why
    );
    assert_eq!(found.tables, ["start.host.warm"]);
}

#[test]
fn an_emulated_machine_tells_only_what_is_faster_than_the_claim() {
    let mut results = sample::results();
    let vm = |results: &Results| of(results).swap_remove(1);
    let found = vm(&results);
    // 30 s against the 5 s of the slowest.
    assert!(
        found.factor.unwrap() > 5.0 && found.why.starts_with("Even on an emulated machine"),
        "{found:?}"
    );
    let table = results.tables.iter_mut().find(|table| table.id == "start.testbed.warm").unwrap();
    for series in &mut table.series {
        let median = &mut series.summary.as_mut().unwrap().median;
        (median.value, median.low, median.high) = (31e3, 30e3, 32e3);
    }
    let found = vm(&results);
    assert!(found.factor.is_none() && found.why.contains("says nothing"), "{found:?}");
    assert!(
        found.measured.contains("31.0 s (95 %: 30.0 to 32.0)"),
        "it is told all the same: {}",
        found.measured
    );
}

#[test]
fn what_the_processor_loses_is_told_by_a_real_one_alone() {
    let mut results = sample::results();
    let cpu = |results: &Results| of(results).swap_remove(4);
    assert_eq!(cpu(&results).factor, None);
    assert!(cpu(&results).why.contains("did not measure it"), "{:?}", cpu(&results));
    let table = results.tables.iter_mut().find(|table| table.case == Case::Cpu).unwrap();
    let mut series = table.series.iter().find(|series| series.ratio.is_some()).unwrap().clone();
    series.contender = "duplex-vm".into();
    let median = Interval { value: 0.99, low: 0.985, high: 0.995 };
    series.ratio.as_mut().unwrap().median = median;
    table.series.push(series);
    let found = cpu(&results);
    assert!((found.factor.unwrap() - 5.0).abs() < 1e-9, "{found:?}");
    assert!(
        found.measured.contains("duplex-vm, integer: 1.00 % (95 %: 0.500 to 1.50), n 30"),
        "{}",
        found.measured
    );
    // No loss beyond noise: at least by what it may be at most.
    let table = results.tables.iter_mut().find(|table| table.case == Case::Cpu).unwrap();
    let median = &mut table.series.last_mut().unwrap().ratio.as_mut().unwrap().median;
    (median.value, median.low, median.high) = (1.001, 0.998, 1.004);
    assert!((cpu(&results).factor.unwrap() - 25.0).abs() < 1e-6);
    let table = results.tables.iter_mut().find(|table| table.case == Case::Cpu).unwrap();
    table.place = Place::Testbed;
    let found = cpu(&results);
    assert!(found.factor.is_none() && found.measured.contains("emulated"), "{found:?}");
}

#[test]
fn isolation_is_told_by_whose_kernel_it_is() {
    let mut results = sample::results();
    let isolation = |results: &Results| of(results).swap_remove(5);
    let found = isolation(&results);
    assert_eq!(found.factor, Some(1.0));
    assert!(
        found.measured.contains("duplex-container 6.1.0: the same; duplex-vm 6.12.0: another"),
        "{found:?}"
    );
    assert!(
        found.why.contains("process 46 from a plain process")
            && found.why.contains("duplex-container 19")
    );
    results.tables.retain(|table| table.case != Case::Isolation);
    assert_eq!(isolation(&results).factor, None);
}

#[test]
fn what_was_not_measured_is_not_judged() {
    let mut results = sample::results();
    results.tables.clear();
    for claim in of(&results) {
        assert_eq!((claim.factor, claim.measured.as_str()), (None, "Nothing."));
        assert!(claim.why.contains("duplex bench "), "{}", claim.why);
    }
    results.contenders.clear();
    assert!(of(&results)[0].why.contains("No contender of this run"));
}
