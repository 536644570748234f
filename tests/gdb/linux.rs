//! The tuned kernel, in the testbed, from its first instruction to start_kernel.

use duplex::guest_images::{Cache, find_tuned_kernel, hello_initramfs};

use crate::common::process;
use crate::common::{DUPLEX, has_testbed, say, testbed, text};
use crate::has_gdb;
use crate::lessons::assert_in_order;

/// The session: what is waited for is what GDB prints.
const SESSION: &str = "\
set pagination off
set confirm off
target remote /tmp/gdb.sock
info threads
break start_kernel
continue
backtrace
kill
";

#[test]
fn a_kernel_is_stopped_before_its_first_instruction_and_at_start_kernel() {
    if !has_testbed() || !has_gdb() {
        return;
    }
    let cache = Cache::open().unwrap();
    let Some(kernel) = find_tuned_kernel(&cache) else {
        return say("SKIPPED: the tuned kernel is not built (make kernel)");
    };
    let initrd = hello_initramfs(&cache).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let session = directory.path().join("session.gdb");
    std::fs::write(&session, SESSION).unwrap();
    // The guest, and GDB beside it once it listens.
    let script = format!(
        "{DUPLEX} boot --testbed never --kernel {} --initrd {} --cpus 2 --gdb /tmp/gdb.sock \
         --cmdline 'console=ttyS0 panic=-1' </dev/null >/tmp/console 2>&1 & \
         until [ -S /tmp/gdb.sock ]; do sleep 0.1; done; \
         gdb -nx -batch -x {} 2>&1; wait $!; echo \"status $?\"; cat /tmp/console",
        text(&kernel.elf),
        text(&initrd),
        text(&session)
    );
    let state = testbed::state_directory("gdb");
    let mut command = testbed::duplex(&state);
    command.args(["testbed", "run", "--", "sh", "-c", &script]);
    let output = process::output(&mut command);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = [
        // Before its first instruction, with both vCPUs.
        "Thread 1.1",
        "Thread 1.2",
        "hit Breakpoint 1, ",
        "start_kernel ()",
        "#0 ",
        "start_kernel ()",
        "x86_64_start_kernel",
    ];
    assert_in_order(&said, &expected);
}
