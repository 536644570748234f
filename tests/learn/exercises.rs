//! Every exercise can be solved, and what does not solve it gets a hint that fits.

use duplex::learn::catalogue::LESSONS;

use crate::common::has_kvm;
use crate::{changed, source, with_file};

/// Text of a lesson's source, and what takes its place.
type Edits = &'static [(&'static str, &'static str)];

/// A lesson, a solution, and attempts with a word of the hint that each gets.
type Case = (&'static str, Edits, &'static [(Edits, &'static str)]);

const CASES: [Case; 12] = [
    (
        "halt",
        &[(
            "mov     $40, %ax\n        inc     %ax\n        inc     %ax",
            "mov $10, %cx\n1: add $10, %ax\nloop 1b",
        )],
        &[
            (&[("$40", "$98")], "no instruction was executed 10 times"),
            (&[("$40", "$9")], "AX = 11"),
        ],
    ),
    (
        "port-output",
        &[(
            "mov     $'H', %al\n        out     %al, %dx\n",
            "mov $text, %si\nmov $6, %cx\nrep outsb\nhlt\ntext: .ascii \"hello\\n\"\n",
        )],
        &[
            (&[], "It says \"Hi\\n\""),
            (&[("$0x3f8", "$0x2f8")], "Nothing came out"),
            (
                &[(
                    "mov     $'H', %al\n        out     %al, %dx\n",
                    "mov $text, %si\nmov $5, %cx\nrep outsb\nhlt\ntext: .ascii \"hello\\n\"\n",
                )],
                "newline",
            ),
        ],
    ),
    (
        "mmio",
        &[("0xd1000000, %ecx", "0xd0000004, %ecx\nmov 0xd0000008, %edx")],
        &[
            (&[], "0xd0000004"),
            (&[("0xd1000000", "0xd0000004")], "0xd0000008"),
            (&[("0xd1000000, %ecx", "0xd0000004, %eax\nmov 0xd0000008, %edx")], "ECX = 0x0"),
        ],
    ),
    (
        "protected-mode",
        &[
            ("gdtr:   .word", ".quad 0x00cf92010000ffff\ngdtr:   .word"),
            ("movl    $0x2222, 0x20000", "mov $0x18, %ax\nmov %ax, %es\nmovl $0x3333, %es:0x8000"),
        ],
        &[
            (&[], "base 0"),
            (
                &[("movl    $0x2222, 0x20000", "mov %ax, %es\nmovl $0x3333, %es:0x8000")],
                "went to 0x8000",
            ),
        ],
    ),
    (
        "long-mode",
        &[
            ("movl    $0x00083, 0x12000 ", "movl $0x83, 0x12000\nmovl $0x83, 0x12008 "),
            ("mov     %rax, 0x14000", "movq $0x77, 0x215000"),
        ],
        &[
            (&[], "leads nowhere"),
            (
                &[("movl    $0x00083, 0x12000 ", "movl $0x83, 0x12000\nmovl $0x83, 0x12008 ")],
                "0x77 is not there",
            ),
        ],
    ),
    (
        "page-fault",
        &[("movl    $0x2a, 0x14000(%rbx)", "movl    0x14000(%rbx), %edi")],
        &[
            (&[], "a write still"),
            (&[("$0x100000000", "$0x10000")], "No page fault at 0x100014000"),
        ],
    ),
    (
        "timer",
        &[
            ("$0x40, 0x320", "$0x20040, 0x320"),
            ("        hlt\n        cli", "        hlt\nsti\nhlt\nsti\nhlt\n        cli"),
        ],
        &[(&[], "One T"), (&[("$0x40, 0x320", "$0x10040, 0x320")], "never came")],
    ),
    (
        "two-processors",
        &[
            (
                ".code16\nsecond: mov     $0x3f8, %dx",
                ".code16\nsecond: mov $0x1000, %ax\nmov %ax, %ds\n1: cmpw $1, 16\njne 1b\nmov     $0x3f8, %dx",
            ),
            (
                "# Wait for a sign from the other one.\nwait:   cmpl    $0x600d, 0x10000\n        jne     wait\n",
                "",
            ),
            (
                "        out     %al, %dx\n        hlt",
                "        out     %al, %dx\nmovw $1, 0x10010\n        hlt",
            ),
        ],
        &[(&[], "It is 21 still"), (&[("0xc4602", "0xc4500")], "never started")],
    ),
    (
        "user-mode",
        &[
            (
                "        xor     %eax, %eax\n        int3",
                "mov $2, %eax\nmov $30, %edi\nmov $12, %esi\nint3\nmov %eax, %edi\nmov $1, %eax\nint3\nxor %eax, %eax\nint3",
            ),
            (
                "jz      end\n",
                "jz      end\ncmp $2, %eax\njne 1f\nlea (%rdi,%rsi), %rax\niretq\n1:\n",
            ),
        ],
        &[
            (&[], "No `int3`"),
            (
                &[(
                    "        xor     %eax, %eax\n        int3",
                    "mov $2, %eax\nmov $30, %edi\nmov $12, %esi\nint3\nxor %eax, %eax\nint3",
                )],
                "does not come back",
            ),
        ],
    ),
    (
        "virtqueue",
        &[
            ("movw    $1, avail", "movw    $2, avail"),
            (".word   0x38; .long 4 ", ".word   0x38; .long 8 "),
            (
                "header: .long",
                ".quad second; .long 16; .word 1, 4\n.quad more; .long 512; .word 3, 5\n.quad status; .long 1; .word 2, 0\nsecond: .long 0, 0; .quad 1\nheader: .long",
            ),
            ("avail:  .word   0, 0, 0, 0, 0, 0 ", "avail:  .word   0, 2, 0, 3, 0, 0, 0, 0, 0, 0 "),
            ("used:   .skip   4 + 4 * 8", "used:   .skip   4 + 8 * 8"),
            ("sector: .skip   512", "sector: .skip   512\nmore: .skip 512"),
        ],
        &[(&[], "did not come back"), (&[("movl    $0, 0x50(%ebx)", "nop")], "never rung")],
    ),
    (
        "triple-fault",
        &[(
            "        ud2\n",
            "lea handler, %ecx\nmov %cx, 0x10000 + 6 * 8\nmovw $0x10, 0x10000 + 6 * 8 + 2\nmovw $0x8e00, 0x10000 + 6 * 8 + 4\nlidt idtr\nud2\nidtr: .word 7 * 8 - 1\n.long 0x10000\nhandler:\n",
        )],
        &[(&[], "triple fault still"), (&[("ud2\n", "nop\n")], "No exception 6")],
    ),
    (
        "cpuid",
        &[
            (
                "        hlt",
                "mov %ecx, %esi\nmov %edx, %edi\nmov %ebx, %eax\nmov $0x3f8, %dx\ncall four\nmov %esi, %eax\ncall four\nmov %edi, %eax\ncall four\nhlt\nfour: mov $4, %ecx\n1: out %al, %dx\nshr $8, %eax\nloop 1b\nret",
            ),
            ("        xor     %eax, %eax", "mov $0x8000, %esp\n        xor     %eax, %eax"),
        ],
        &[
            (&[], "Nothing came out"),
            (
                &[("        hlt", "mov $0x3f8, %dx\nmov %ebx, %eax\nout %al, %dx\nhlt")],
                "only its beginning",
            ),
        ],
    ),
];

#[test]
fn every_exercise_can_be_solved() {
    assert_eq!(CASES.map(|(name, ..)| name), LESSONS.each_ref().map(|lesson| lesson.name));
    if !has_kvm() {
        return;
    }
    for (lesson, solution, attempts) in CASES {
        let solved = changed(lesson, solution);
        let (status, stdout, stderr) = with_file(lesson, "--check", solved.as_bytes());
        assert!(status == 0 && stdout.starts_with("Right. "), "{lesson}: {stderr}\n{solved}");
        for (attempt, hint) in attempts {
            let (status, _, stderr) =
                with_file(lesson, "--check", changed(lesson, attempt).as_bytes());
            assert_eq!(status, 1, "{lesson}: {stderr}");
            assert!(stderr.replace('\n', " ").contains(hint), "{lesson}: {stderr}");
        }
    }
}

#[test]
fn an_object_file_and_bare_machine_code_do_as_well() {
    if !has_kvm() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (input, object) = (directory.path().join("my.s"), directory.path().join("my.o"));
    std::fs::write(&input, source("halt")).unwrap();
    let status = std::process::Command::new("as").arg("-o").arg(&object).arg(&input).status();
    assert!(status.unwrap().success());
    for code in [std::fs::read(&object).unwrap(), vec![0xB8, 42, 0, 0xF4]] {
        let (status, story, _) = with_file("halt", "--run", &code);
        assert_eq!(status, 0);
        assert!(story.contains("ax = 0x2a") && story.contains("EXIT 1: halted"), "{story}");
        // There is no source: its bytes stand for it.
        assert!(story.contains("0x1000: b8"), "{story}");
    }
}
