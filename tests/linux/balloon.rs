//! The balloon on real kernels: `examples/balloon.rs` in the testbed sees the host's memory shrink and grow.

use crate::common::{process, soak, testbed, text};
use crate::guest::{example, in_emulation};
use crate::kernels::Kernel;

fn check(kernel: Kernel) {
    let directory = tempfile::tempdir().unwrap();
    let (program, initrd) = (example("balloon"), kernel.initramfs());
    let kernel = kernel.file(directory.path());
    let script = format!("{} {} {}", text(&program), text(&kernel), text(&initrd));
    let output = process::output(&mut testbed::in_testbed(&script));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("balloon: ") && stdout.contains("reports: "), "{stdout}");
}

#[test]
fn memory_that_a_guest_gives_up_is_the_hosts_until_it_wants_it_back() {
    let debian = if soak() { &[Kernel::Debian61Elf, Kernel::Debian612Elf][..] } else { &[] };
    for kernel in [Kernel::TunedElf].iter().chain(debian) {
        in_emulation(kernel, || check(*kernel));
    }
}
