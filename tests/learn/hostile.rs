//! Files that are no guest, and guests that never end.

use crate::common::has_kvm;
use crate::with_file;

/// A file that is refused, and what is said.
fn refused(content: &[u8]) -> String {
    let (status, stdout, stderr) = with_file("halt", "--run", content);
    assert_eq!((status, stdout.as_str()), (125, ""), "{stderr}");
    assert!(stderr.starts_with("duplex: "), "{stderr}");
    assert!(stderr.lines().count() < 12 && stderr.len() < 2000, "{stderr}");
    stderr
}

#[test]
fn files_that_are_no_guest_are_refused_with_the_reason() {
    let huge = vec![b'#'; 2 << 20];
    let too_long = [0x90; 30_000];
    for (content, reason) in [
        (&b""[..], "no machine code"),
        (&b"# only a comment\n"[..], "no machine code"),
        (&huge, "more than 1048576 bytes"),
        (&too_long, "30000 bytes of machine code: a lesson has room for 20480"),
        (b"movzzz $1, %ax\n", "line 1: Error: no such instruction"),
        (b".data\n.long 1\n.text\nhlt\n", "section .data has content"),
        (b"call nowhere\n", "symbol nowhere is defined nowhere"),
        (b"\x7FELF and no more", "no object file of `as`"),
        (b".rept 100000000\nnop\n.endr\n", "out of memory"),
    ] {
        let said = refused(content);
        assert!(said.contains(reason), "{reason}: {said}");
    }
    let (status, _, stderr) = crate::learn(&["halt", "--run", "/dev/zero"]);
    assert!(status == 125 && stderr.contains("no ordinary file"), "{stderr}");
    let (status, _, stderr) = crate::learn(&["halt", "--run", "/nonexistent"]);
    assert!(status == 125 && stderr.contains("No such file"), "{stderr}");
}

#[test]
fn guests_that_never_end_are_stopped() {
    if !has_kvm() {
        return;
    }
    for (lesson, code, said) in [
        // By the number of instructions, or on a busy host by time.
        ("halt", ".code16\n1: jmp 1b\n", "Stopped "),
        ("port-output", ".code16\n1: out %al, $0x80\njmp 1b\n", "Stopped "),
        ("halt", ".code16\nmov $0xffff, %cx\nrep outsb\nhlt\n", "Stopped "),
        // It runs into whatever is in memory.
        ("halt", ".code16\nnop\n", "Stopped "),
        // It waits for an interrupt that nobody sends.
        ("timer", ".code64\nsti\nhlt\n", "its time was up"),
        ("two-processors", ".code32\nhlt\n", "Halted"),
        ("halt", ".code16\nmov $0x3400, %ax\nmov $0x604, %dx\nout %ax, %dx\nhlt\n", "Powered off"),
    ] {
        let (status, story, stderr) = with_file(lesson, "--run", code.as_bytes());
        assert_eq!(status, 0, "{stderr}");
        assert!(story.replace('\n', " ").contains(said), "{code}: {story}");
        assert!(story.lines().count() < 1000, "{code} has a long story");
    }
}

#[test]
fn random_bytes_as_a_guest_end_in_a_story() {
    if !has_kvm() {
        return;
    }
    // The same each time: a multiplicative generator, and nothing that a text could have.
    let mut state = 12345_u32;
    for lesson in ["halt", "mmio", "page-fault", "virtqueue"] {
        let code: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(2000)
        .collect();
        let (status, story, stderr) = with_file(lesson, "--run", &code);
        assert_eq!(status, 0, "{lesson}: {stderr}");
        assert!(story.contains(" to duplex"), "{lesson}: {story}");
    }
}
