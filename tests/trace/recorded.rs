//! What is recorded of guests of a few instructions, on `/dev/kvm` itself.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::process::output;
use crate::common::{duplex, has_kvm, text, tiny_kernel};
use crate::golden::printed;

/// Prints "up\n", asks for the line's status, writes where nothing is, and powers off.
fn chatty() -> Vec<u8> {
    let mut code = tiny_kernel::PRINT_AND_LOOP.to_vec();
    code.truncate(code.len() - tiny_kernel::LOOP.len());
    // mov $0x3FD, %dx; in %dx, %al; out %al, $0x80
    code.extend([0x66, 0xBA, 0xFD, 0x03, 0xEC, 0xE6, 0x80]);
    code.extend(tiny_kernel::POWER_OFF);
    code
}

/// Boots it with a trace; returns the trace.
fn boot(directory: &Path, code: &[u8], options: &[&str]) -> PathBuf {
    let (kernel, trace) = (directory.join("kernel"), directory.join("boot.trace"));
    std::fs::write(&kernel, tiny_kernel::elf(code)).unwrap();
    let arguments = ["boot", "--testbed", "never", "--kernel", text(&kernel), "--trace"];
    let mut command = duplex(&arguments);
    let output = output(command.arg(&trace).args(options));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    trace
}

fn shown(trace: &Path) -> Value {
    serde_json::from_slice(&printed(&["trace", "show", text(trace), "--json"])).unwrap()
}

fn register<'a>(shown: &'a Value, device: &str, register: &str) -> &'a Value {
    let all = shown["registers"].as_array().unwrap();
    let found = all.iter().find(|r| r["device"] == device && r["register"] == register);
    found.unwrap_or_else(|| panic!("{device}: {register} in {shown}"))
}

#[test]
fn every_exit_is_there_by_name_and_spans_add_up() {
    if !has_kvm() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = boot(directory.path(), &chatty(), &["--serial", "off", "--hvc", "off"]);
    let without = shown(&trace);
    let read =
        without["exits"].as_array().unwrap().iter().find(|exit| exit["reason"] == "port read");
    assert_eq!(read.unwrap()["count"], 1, "the line's status: {without}");
    let trace = boot(directory.path(), &chatty(), &[]);
    let shown = shown(&trace);
    assert_eq!(register(&shown, "serial", "transmit")["count"], 3);
    assert_eq!(register(&shown, "serial", "line status")["access"], "read");
    assert_eq!(register(&shown, "ACPI power", "PM1 control")["count"], 1);
    assert_eq!(register(&shown, "no device: port 0x80", "")["count"], 1);
    assert_eq!((&shown["dropped"], &shown["whole"]), (&0.into(), &true.into()));
    // As many as KVM itself has counted to leave the guest: it deals with none of these alone.
    let vcpu = &shown["vcpus"][0];
    assert_eq!(vcpu["count"], 6);
    if let Some(exits) = vcpu["kvm"]["exits"].as_u64() {
        assert!(exits >= 6, "{vcpu}");
    }
    // Where it was: the instruction, or the one behind it.
    let addresses = shown["functions"].as_array().unwrap();
    for address in addresses {
        let address = address["function"].as_str().unwrap().trim_start_matches("0x");
        let address = u64::from_str_radix(address, 16).unwrap();
        assert!((0x10_0000..0x10_0030).contains(&address), "{shown}");
    }
    // From the process' start to its end nothing is missing: within 1 %.
    let number = |name: &str| vcpu[name].as_u64().unwrap();
    let wall = shown["wall_ns"].as_u64().unwrap();
    let after = wall - number("last_ns");
    let sum = number("first_ns") + number("guest_before_ns") + number("vmm_ns") + after;
    assert!(sum.abs_diff(wall) <= wall / 100, "{sum} of {wall}");
    let phases = shown["phases"].as_array().unwrap();
    let took: u64 = phases.iter().map(|phase| phase["took_ns"].as_u64().unwrap()).sum();
    assert!(took.abs_diff(wall) <= wall / 100, "{took} of {wall}");
}

#[test]
fn a_trace_is_its_owners_and_is_begun_anew() {
    if !has_kvm() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let trace = boot(directory.path(), &chatty(), &[]);
    let mode = std::fs::metadata(&trace).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut longer = std::fs::read(&trace).unwrap();
    longer.resize(1 << 20, 0);
    std::fs::write(&trace, longer).unwrap();
    boot(directory.path(), &chatty(), &[]);
    assert_eq!(shown(&trace)["vcpus"][0]["count"], 6);
}

#[test]
fn a_loop_of_exits_loses_nothing_that_is_not_counted() {
    if !has_kvm() {
        return;
    }
    // mov $30000, %ecx; out %al, $0x80; loop; then power off: about a second.
    const TIMES: u32 = 30_000;
    let mut code = vec![0xB9];
    code.extend(TIMES.to_le_bytes());
    code.extend([0xE6, 0x80, 0xE2, 0xFC]);
    code.extend(tiny_kernel::POWER_OFF);
    let directory = tempfile::tempdir().unwrap();
    let trace = boot(directory.path(), &code, &[]);
    let shown = shown(&trace);
    let kept = shown["vcpus"][0]["count"].as_u64().unwrap();
    let interrupted = shown["exits"]
        .as_array()
        .unwrap()
        .iter()
        .find(|exit| exit["reason"] == "interrupted by the VMM");
    let interrupted = interrupted.map_or(0, |exit| exit["count"].as_u64().unwrap());
    let dropped = shown["dropped"].as_u64().unwrap();
    assert_eq!(kept - interrupted + dropped, u64::from(TIMES) + 1, "{dropped} dropped");
    assert_eq!(dropped, 0, "a ring of 16384 that is written out at each half");
    let suggestions = shown["suggestions"].as_array().unwrap();
    assert!(
        suggestions[0]["text"].as_str().unwrap().starts_with("30,000 exits ("),
        "{suggestions:?}"
    );
}
