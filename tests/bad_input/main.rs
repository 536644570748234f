//! Bad input of every kind: each is refused with status 125 and a message of its own, which says
//! what was wrong, why, and what to do; nothing crashes, hangs or writes to stdout.
//!
//! The messages stand in `tests/golden/bad_input.txt`: `UPDATE_GOLDEN=1 cargo test --test
//! bad_input` writes them anew, and the difference shows what a change of wording does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../samples/mod.rs"]
mod samples;

mod bzimage;
mod cut_off;
mod elf;
mod files;
mod golden;
mod harness;
mod kvm_device;
mod options;
mod packed;

use golden::Golden;
use harness::Workbench;

#[test]
fn every_bad_input_has_its_own_clear_message() {
    let bench = Workbench::new();
    let mut cases = files::cases(&bench);
    cases.extend(elf::cases(&bench));
    cases.extend(bzimage::cases(&bench));
    cases.extend(packed::cases(&bench));
    cases.extend(options::cases(&bench));
    cases.extend(kvm_device::cases(&bench));
    let mut golden = Golden::read();
    let mut failures = Vec::new();
    for case in &cases {
        match bench.run(case) {
            Some(Ok(said)) => golden.said(&case.name, &said),
            Some(Err(wrong)) => failures.push(format!("{}: {wrong}", case.name)),
            None => {
                common::say(&format!("SKIPPED: {}: only root can arrange for it", case.name));
                golden.skipped(&case.name);
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    golden.compare();
}

#[test]
fn a_kernel_that_was_cut_off_is_refused_wherever_that_was() {
    let bench = Workbench::new();
    let mut failures = Vec::new();
    for case in cut_off::cases(&bench) {
        match bench.run(&case) {
            Some(Err(wrong)) => failures.push(format!("{}: {wrong}", case.name)),
            Some(Ok(said)) if said.lines().count() != 1 => {
                failures.push(format!("{}: not one line: {said}", case.name));
            }
            _ => {}
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
