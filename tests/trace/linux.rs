//! A whole boot of Debian's kernel in the testbed: what the trace has is what KVM's tracepoints have.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use duplex::guest_images::{Cache, Series, debian_kernel, demo_initramfs};
use serde_json::Value;

use crate::common::process::output;
use crate::common::{DUPLEX, has_testbed, image, say, testbed, text};
use crate::golden::printed;
use crate::viewer;

/// QEMU's emulation of AMD-V can lose a guest (docs/testbed.md, "Known faults").
const ATTEMPTS: usize = 3;

/// Boots with KVM's tracepoints counting what threads called vcpu… do; prints how often each was hit.
const SCRIPT: &str = r#"
mountpoint -q /sys/kernel/tracing || mount -t tracefs none /sys/kernel/tracing
cd /sys/kernel/tracing/events/kvm || exit 1
for point in kvm_userspace_exit kvm_exit; do
    echo 'hist:keys=common_type if comm ~ "vcpu*"' >$point/trigger || exit 1
done
"$DUPLEX" boot --testbed never --kernel "$KERNEL" --initrd "$INITRD" --cpus 2 --trace "$TRACE" \
    --cmdline 'console=ttyS0 quiet panic=-1' --rng --disk "$DISK" </dev/null >&2 || exit 1
for point in kvm_userspace_exit kvm_exit; do
    echo $point $(sed -n 's/ *Hits: //p' $point/hist)
    echo '!hist:keys=common_type' >$point/trigger
done
"#;

/// The tracepoints count all guests of the testbed: there is one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What KVM's tracepoints have counted: exits to user space, and all.
struct Hits(u64, u64);

fn boot(trace: &Path, disk: &Path) -> Result<Hits, String> {
    let cache = Cache::open().unwrap();
    let kernel = debian_kernel(&cache, Series::V6_1).unwrap();
    let initrd = demo_initramfs(&cache, &kernel).unwrap();
    let mut command = testbed::duplex(testbed::shared());
    command
        .args(["testbed", "run", "--write", text(trace), "--", "sh", "-c", SCRIPT])
        .env("KERNEL", kernel.elf)
        .env("INITRD", initrd)
        .env("TRACE", trace)
        .env("DISK", disk)
        .env("DUPLEX", DUPLEX);
    let output = output(&mut command);
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let hits = |point: &str| {
        let mut lines = stdout.lines().filter_map(|line| line.strip_prefix(point));
        lines.next().and_then(|rest| rest.trim().parse().ok())
    };
    match (output.status.success(), hits("kvm_userspace_exit"), hits("kvm_exit")) {
        (true, Some(user), Some(all)) => Ok(Hits(user, all)),
        _ => Err(format!("{}: {stdout}{stderr}", output.status)),
    }
}

#[test]
fn a_trace_has_as_many_exits_as_kvms_tracepoint() {
    if !has_testbed() {
        return;
    }
    let _alone = alone();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (trace, disk) = (directory.path().join("boot.trace"), directory.path().join("disk"));
    std::fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let mut attempts = (1..=ATTEMPTS).filter_map(|attempt| {
        let hits = boot(&trace, &disk);
        hits.inspect_err(|why| say(&format!("RETRIED: a traced boot, attempt {attempt}: {why}")))
            .ok()
    });
    let Hits(to_user_space, all) = attempts.next().expect("a boot that was traced");
    let shown = printed(&["trace", "show", text(&trace), "--json"]);
    let shown: Value = serde_json::from_slice(&shown).unwrap();

    // Every exit to user space is there, and none that was not.
    let sum = |name: &str| -> u64 {
        let vcpus = shown["vcpus"].as_array().unwrap();
        vcpus.iter().map(|vcpu| vcpu[name].as_u64().unwrap()).sum()
    };
    assert_eq!(sum("count"), to_user_space);
    assert_eq!((&shown["dropped"], &shown["whole"]), (&0.into(), &true.into()));

    // KVM's own statistics, which a trace has, are what its other tracepoint counts: the difference is
    // what KVM has dealt with itself.
    let vcpus = shown["vcpus"].as_array().unwrap();
    let counted: u64 = vcpus.iter().map(|vcpu| vcpu["kvm"]["exits"].as_u64().unwrap()).sum();
    assert!(counted.abs_diff(all) <= all / 100, "statistics {counted}, tracepoint {all}");
    assert!(counted > to_user_space, "{counted} and {to_user_space}");

    // Spans add up to the whole, on each vCPU, within 1 %.
    let wall = shown["wall_ns"].as_u64().unwrap();
    for vcpu in vcpus {
        let number = |name: &str| vcpu[name].as_u64().unwrap();
        let spans = number("guest_before_ns") + number("vmm_ns");
        let whole = number("first_ns") + spans + (wall - number("last_ns"));
        assert!(whole.abs_diff(wall) <= wall / 100, "{whole} of {wall}: {vcpu}");
    }

    // Devices by name, the kernel's own way of printing among them; and the boot by its phases.
    let named = |device: &str| {
        let all = shown["registers"].as_array().unwrap();
        all.iter().any(|register| register["device"] == device)
    };
    for device in ["serial", "real-time clock", "ACPI power", "virtio-rng", "virtio-blk"] {
        assert!(named(device), "{device}: {}", shown["registers"]);
    }
    let phases = shown["phases"].as_array().unwrap();
    assert!(phases.iter().any(|phase| phase["phase"] == "user_space"), "{phases:?}");

    // What it is exported as says the same in the viewer.
    if viewer::has_viewer() {
        let slowest = &shown["slowest_access"];
        let name = format!(
            "{}: {} ({})",
            slowest["device"].as_str().unwrap(),
            slowest["register"].as_str().unwrap(),
            slowest["access"].as_str().unwrap()
        );
        let expected = (name, slowest["vmm_ns"].as_u64().unwrap());
        assert_eq!(viewer::slowest(&trace, "perfetto"), expected);
    }
}

#[test]
fn a_boot_and_a_run_in_the_testbed_write_their_traces_here() {
    if !has_testbed() {
        return;
    }
    let _alone = alone();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let trace = directory.path().join("boot.trace");
    let kernel = directory.path().join("kernel");
    let code = crate::common::tiny_kernel::POWER_OFF;
    std::fs::write(&kernel, crate::common::tiny_kernel::elf(code)).unwrap();
    let mut command = testbed::duplex(testbed::shared());
    command.args(["boot", "--testbed", "always", "--kernel", text(&kernel), "--trace"]);
    let booted = output(command.arg(&trace));
    assert!(booted.status.success(), "{}", String::from_utf8_lossy(&booted.stderr));
    let shown = printed(&["trace", "show", text(&trace), "--json"]);
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!(shown["registers"][0]["register"], "PM1 control", "{shown}");

    // A command in a VM: the VMM is a process of its own there, and its events reach the file, too.
    let trace = directory.path().join("run.trace");
    let mut attempts = (1..=ATTEMPTS).filter_map(|attempt| {
        let mut command = testbed::duplex(testbed::shared());
        command.args(["run", "--testbed", "always", "--trace-samples", "100", "--trace"]);
        let ran = output(command.arg(&trace).arg(image::busybox()).args(["echo", "hello"]));
        let stderr = String::from_utf8_lossy(&ran.stderr);
        let fine = ran.status.success() && ran.stdout == b"hello\n";
        fine.then_some(()).or_else(|| {
            say(&format!("RETRIED: a traced run, attempt {attempt}: {stderr}"));
            None
        })
    });
    attempts.next().expect("a run that was traced");
    let shown = printed(&["trace", "show", text(&trace), "--json"]);
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    let reached = |phase: &str| {
        shown["phases"].as_array().unwrap().iter().any(|reached| reached["phase"] == phase)
    };
    assert!(reached("vcpus_ready") && reached("command_started"), "{}", shown["phases"]);
    let queues = shown["queues"].as_array().unwrap();
    let disk = queues.iter().find(|queue| queue["queue"] == "virtio-blk 0, queue 0").unwrap();
    let number = |name: &str| disk[name].as_u64().unwrap();
    assert!(number("requests") > 10 && number("written_bytes") > 10 << 10, "{disk}");
    assert!(number("interrupts") > 0 && number("interrupts") <= number("requests"), "{disk}");
    assert!(number("p50_ns") > 0 && number("p50_ns") <= number("longest_ns"), "{disk}");
    assert_eq!(number("never_given_back"), 0, "{disk}");
    // A hundred a second, of a guest that runs for more than one.
    let samples = shown["samples"].as_array().unwrap();
    let samples: u64 = samples.iter().map(|sample| sample["count"].as_u64().unwrap()).sum();
    assert!(samples > 50, "{samples} samples");
}
