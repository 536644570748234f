//! How real kernels end, and what status that gives.

use crate::common::process::output;
use crate::common::testbed;
use crate::guest::{Boot, Booted, in_emulation};
use crate::kernels::Kernel;

fn boot(kernel: Kernel, words: &[&str]) -> Boot {
    words.iter().fold(Boot::new(kernel), |boot, word| boot.word(word))
}

#[test]
fn power_off_halt_and_reboot_end_with_0() {
    for words in [
        &["duplex.then=poweroff"][..],
        &["duplex.then=halt"],
        &["duplex.then=reboot"],
        &["duplex.then=reboot", "reboot=k"],
        &["duplex.then=reboot", "reboot=p"],
        &["duplex.then=reboot", "reboot=t"],
        // Power-off without ACPI is a halt.
        &["acpi=off", "duplex.then=poweroff"],
    ] {
        in_emulation(&words, || {
            let run = boot(Kernel::Debian61Elf, words).run();
            assert_eq!(run.0.status.code(), Some(0), "{words:?}: {}", run.stderr());
            run.said("kernel ");
        });
    }
}

#[test]
fn a_panic_that_the_guest_reports_ends_with_125() {
    in_emulation(&"a panic", || {
        let run = boot(Kernel::Debian61Elf, &["duplex.then=panic", "panic=0"]).run();
        assert_eq!(run.0.status.code(), Some(125));
        assert!(run.stderr().contains("the guest kernel panicked"), "{}", run.stderr());
    });
}

#[test]
fn a_reboot_restarts_where_that_is_asked_for() {
    let boot = boot(Kernel::TunedElf, &["duplex.then=reboot"]).option("--on-reboot=restart");
    in_emulation(&boot, || {
        let mut terminal = boot.at_terminal();
        for _ in 0..3 {
            terminal.wait_for("duplex guest: reboot");
        }
        terminal.type_in(b"\x01x");
        assert_eq!(terminal.end().code(), Some(0));
    });
}

#[test]
fn the_demo_guest_needs_no_arguments() {
    in_emulation(&"the demo guest", || {
        let mut command = testbed::duplex(testbed::shared());
        let run = Booted(output(command.args(["boot", "--cpus", "2", "--timing"])));
        assert_eq!(run.0.status.code(), Some(0), "{}", run.stderr());
        assert_eq!(run.said("cpus "), "2");
        let stderr = run.stderr();
        for phase in ["process started", "first KVM_RUN", "first serial byte", "user space reached"]
        {
            assert!(stderr.contains(phase), "{stderr}");
        }
    });
}

#[test]
fn timing_as_json_names_every_phase_in_order() {
    let boot = Boot::new(Kernel::TunedElf).option("--timing").option("--json");
    in_emulation(&boot, || {
        let stderr = boot.run().stderr();
        let line = stderr.lines().find(|line| line.starts_with('{')).expect("a line of JSON");
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let phases = json["phases"].as_array().unwrap();
        assert_eq!(phases.len(), 10, "{json}");
        assert!(phases.iter().all(|phase| phase["ns"].as_u64().unwrap() > 0), "{json}");
        assert!(json["bytes_mapped"].as_u64().unwrap() > 10 << 20, "{json}");
        assert!(json["exits"]["port_out"].as_u64().unwrap() > 0, "{json}");
    });
}
