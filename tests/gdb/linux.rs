//! The tuned kernel, in the testbed, from its first instruction to user space.

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
stepi
stepi
x/i $rip
delete
watch *(unsigned long *) &jiffies_64
continue
backtrace 4
info threads
delete
continue
";

#[test]
fn a_kernel_is_followed_from_its_first_instruction_to_user_space() {
    if !has_testbed() || !has_gdb() {
        return;
    }
    let cache = Cache::open().unwrap();
    let Some(kernel) = find_tuned_kernel(&cache) else {
        return say("SKIPPED: the tuned kernel is not built (make tuned-kernel)");
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
        // Two steps: the first instruction has one byte, so the second begins within the breakpoint.
        "=> ",
        "<start_kernel+8>:",
        "Hardware watchpoint 2: *(unsigned long *) &jiffies_64",
        "Old value = ",
        "New value = ",
        "do_timer ()",
        "Thread 1.2",
        // And on to the end, with what the guest's init says.
        "status 0",
        "hello from the guest",
    ];
    assert_in_order(&said, &expected);
}
