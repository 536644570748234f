//! An interactive shell in the guest, through a pseudo-terminal.

use crate::guest::{Boot, in_emulation};
use crate::kernels::Kernel;

#[test]
fn a_shell_edits_lines_and_passes_ctrl_c_to_the_guest() {
    let boot = Boot::new(Kernel::TunedElf).word("duplex.then=shell");
    in_emulation(&boot, || {
        let mut terminal = boot.at_terminal();
        terminal.wait_for("# ");
        // Two backspaces and a cursor key: the guest's own line editing.
        terminal.type_in(b"echo abXX\x7f\x7fc\x1b[D-d\r");
        terminal.wait_for("\nab-dc");
        terminal.wait_for("# ");
        // The foreground process says itself that it runs: the shell would lose a Ctrl-C that
        // comes before its child has the terminal. The quotes keep what is typed apart from what
        // is printed.
        terminal.type_in(b"sh -c 'echo run\"\"ning; exec sleep 1000'\r");
        terminal.wait_for("running");
        terminal.type_in(b"\x03");
        terminal.wait_for("# ");
        terminal.type_in(b"echo status $?\r");
        terminal.wait_for("status 130");
        terminal.type_in(b"exit\r");
        assert_eq!(terminal.end().code(), Some(0));
        assert!(terminal.is_as_before());
    });
}

#[test]
fn what_is_pasted_comes_back_byte_for_byte() {
    let boot = Boot::new(Kernel::TunedElf).word("duplex.then=echo").word("duplex.bytes=65536");
    in_emulation(&boot, || {
        let mut terminal = boot.at_terminal();
        terminal.wait_for("duplex guest: ready\r\n");
        // Every byte value but the escape key.
        let pasted: Vec<u8> = (0..65536_u32)
            .map(|n| u8::try_from((n * 7 + n / 251) % 256).unwrap())
            .map(|byte| if byte == 1 { b'!' } else { byte })
            .collect();
        terminal.paste(&pasted);
        let echoed = terminal.read_exactly(pasted.len());
        let differ = pasted.iter().zip(&echoed).position(|(a, b)| a != b);
        assert_eq!(differ, None, "the first difference");
        terminal.wait_for("echoed 65536 bytes");
        assert_eq!(terminal.end().code(), Some(0));
        assert!(terminal.is_as_before());
    });
}

#[test]
fn ctrl_a_x_leaves_a_guest_in_the_testbed_too() {
    let boot = Boot::new(Kernel::TunedElf).word("duplex.then=hang");
    in_emulation(&boot, || {
        let mut terminal = boot.at_terminal();
        terminal.wait_for("duplex guest: hang");
        terminal.type_in(b"\x01x");
        assert_eq!(terminal.end().code(), Some(0));
        assert!(terminal.is_as_before());
    });
}
