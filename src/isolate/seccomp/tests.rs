use std::process::Command;

use super::super::capabilities::Capability;
use super::super::in_child::{in_child, killed_in_child, skipped};
use super::assembler::{Assembler, Comparison};
use super::table::{Condition, Decision, NAMES};
use super::*;

mod interpreter;

use interpreter::run;

/// Error numbers that the kernel has not.
const REFUSED: u16 = 3001;
const UNKNOWN: u16 = 3002;
/// What a call gets that would have been made.
const MADE: u16 = 3003;
/// A status by which our own end is known.
const END: u32 = 0x77;

fn number(name: &str) -> u32 {
    let call = NAMES.iter().find(|(_, known)| *known == name);
    u32::from(call.unwrap_or_else(|| panic!("no call {name}")).0)
}

fn filter(granted: Capabilities) -> Filter {
    Filter::answering(granted, Answers { refused: REFUSED, unknown: UNKNOWN })
}

/// A filter that keeps every call from being made, but for what installing another one and the end
/// take. Of two filters that both answer with an error, the kernel takes the newer one's.
fn nothing_is_made() -> Filter {
    let mut program = Assembler::default();
    let made = program.answer(libc::SECCOMP_RET_ERRNO | u32::from(MADE));
    let allow = program.answer(libc::SECCOMP_RET_ALLOW);
    let mut next = made;
    for (name, first) in [
        ("exit_group", END),
        ("prctl", libc::PR_SET_NO_NEW_PRIVS.cast_unsigned()),
        ("seccomp", libc::SECCOMP_SET_MODE_FILTER),
    ] {
        let check = program.branch(Comparison::Equal, first, allow, made);
        let check = program.load(16, check);
        let this = program.branch(Comparison::Equal, number(name), check, next);
        next = program.load(0, this);
    }
    Filter { program: program.finish() }
}

/// The error numbers that these calls fail with behind the filter, in the kernel.
fn answers(granted: Capabilities, calls: &[(u32, [u64; 6])]) -> Vec<u16> {
    let size = std::num::NonZeroUsize::new(calls.len() * 4).unwrap();
    // SAFETY: a new mapping, which both processes see.
    let shared = unsafe {
        use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        mmap_anonymous(None, size, access, MapFlags::MAP_SHARED).unwrap()
    };
    // SAFETY: the mapping is that large, lives as long as this process, and starts as zeros.
    let found =
        unsafe { std::slice::from_raw_parts_mut(shared.cast::<i32>().as_ptr(), calls.len()) };
    let killed = killed_in_child(|| {
        nothing_is_made().install().unwrap();
        filter(granted).install().unwrap();
        for (found, (number, arguments)) in found.iter_mut().zip(calls) {
            let [a, b, c, d, e, f] = *arguments;
            // SAFETY: no call is made.
            let result = unsafe { libc::syscall((*number).into(), a, b, c, d, e, f) };
            *found = if result == -1 { Errno::last_raw() } else { -1 };
        }
        // SAFETY: ends this process.
        unsafe { libc::syscall(libc::SYS_exit_group, END) };
    });
    assert_eq!(killed, None);
    found.iter().map(|&errno| u16::try_from(errno).unwrap()).collect()
}

fn answer(granted: Capabilities, name: &str, arguments: [u64; 6]) -> u16 {
    let expected = answers(granted, &[(number(name), arguments)])[0];
    let filter = filter(granted);
    let value = run(&filter.program, number(name), arguments).answer;
    let known = if value == libc::SECCOMP_RET_ALLOW { u32::from(MADE) } else { value & 0xffff };
    assert_eq!(known, u32::from(expected), "the interpreter of the tests is wrong about {name}");
    expected
}

fn met(condition: &Condition, arguments: [u64; 6]) -> bool {
    let low = |argument: u8| (arguments[usize::from(argument)] & 0xffff_ffff) as u32;
    match *condition {
        Condition::OneOf(argument, values) => values.contains(&low(argument)),
        Condition::NoneOf(argument, values) => !values.contains(&low(argument)),
        Condition::Lacks(argument, bits) => low(argument) & bits == 0,
    }
}

fn expected(verdicts: &Verdicts, number: u32, arguments: [u64; 6]) -> u16 {
    match verdicts.by_number.get(number as usize).unwrap_or(&Verdict::Unlisted) {
        Verdict::Allowed => MADE,
        Verdict::Refused => REFUSED,
        Verdict::Unknown | Verdict::Unlisted => UNKNOWN,
        Verdict::Conditional => {
            let mut conditions = verdicts.conditions_on(number);
            if conditions.any(|one| met(&one, arguments)) { MADE } else { REFUSED }
        }
    }
}

/// Every call, in the kernel: the filter does what the list says, with few capabilities or many.
#[test]
fn call_by_call() {
    // Newer kernels take these past all filters, and they end a program that no probe is in.
    let exempt = [335, 336];
    let every_number = || (0..=600).chain([1 << 16, (1 << 30) - 1, u32::MAX - 1]);
    for granted in [Capabilities::NONE, Capabilities::DEFAULT, Capabilities::all()] {
        let verdicts = Verdicts::of(granted);
        for arguments in [[0; 6], [u64::MAX; 6]] {
            let calls: Vec<_> = every_number()
                .filter(|number| !exempt.contains(number))
                .map(|number| (number, arguments))
                .collect();
            for ((number, _), found) in calls.iter().zip(answers(granted, &calls)) {
                let expected = expected(&verdicts, *number, arguments);
                assert_eq!(found, expected, "{number} {arguments:?} {granted}");
            }
        }
    }
}

#[test]
fn socket_families() {
    let granted = Capabilities::DEFAULT;
    for family in [0, 1, 2, 10, 16, 17, 37, 39, 41, 45, 255, u64::MAX] {
        assert_eq!(answer(granted, "socket", [family, 1, 0, 0, 0, 0]), MADE, "{family}");
    }
    // The kernel does not look at the high half.
    for family in [38, 40, 38 | 1 << 32, 40 | 7 << 61] {
        assert_eq!(answer(granted, "socket", [family, 1, 0, 0, 0, 0]), REFUSED, "{family}");
        assert_eq!(answer(Capabilities::all(), "socket", [family, 1, 0, 0, 0, 0]), REFUSED);
    }
}

#[test]
fn personalities() {
    for (personality, answer_to_it) in [
        (0x0, MADE),
        (0x8, MADE),
        (0x2_0000, MADE),
        (0x2_0008, MADE),
        (0xffff_ffff, MADE),
        // ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC, MMAP_PAGE_ZERO, and neighbours.
        (0x004_0000, REFUSED),
        (0x040_0000, REFUSED),
        (0x010_0000, REFUSED),
        (0x1, REFUSED),
        (0x9, REFUSED),
        (0xffff_fffe, REFUSED),
    ] {
        let found = answer(Capabilities::DEFAULT, "personality", [personality, 0, 0, 0, 0, 0]);
        assert_eq!(found, answer_to_it, "{personality:#x}");
    }
}

#[test]
fn namespaces() {
    let admin = Capabilities::DEFAULT | Capability::SYS_ADMIN.into();
    let flags = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_SETTLS;
    for name in ["clone", "unshare"] {
        for flag in flags {
            for bits in [flag, flag | thread].map(|bits| u64::from(bits.cast_unsigned())) {
                let arguments = [bits, 0, 0, 0, 0, 0];
                assert_eq!(answer(Capabilities::DEFAULT, name, arguments), REFUSED, "{bits:#x}");
                assert_eq!(answer(admin, name, arguments), MADE, "{bits:#x}");
            }
        }
        for bits in [0, libc::SIGCHLD, thread, libc::CLONE_FS | libc::CLONE_FILES] {
            let arguments = [u64::from(bits.cast_unsigned()), 0, 0, 0, 0, 0];
            assert_eq!(answer(Capabilities::DEFAULT, name, arguments), MADE, "{bits:#x}");
        }
    }
    // CLONE_NEWTIME, which is part of the signal's number in clone.
    let time = [0x80, 0, 0, 0, 0, 0];
    assert_eq!(answer(Capabilities::DEFAULT, "unshare", time), REFUSED);
    assert_eq!(answer(Capabilities::DEFAULT, "clone", time), MADE);
    assert_eq!(answer(Capabilities::DEFAULT, "clone3", [0; 6]), UNKNOWN);
    assert_eq!(answer(admin, "clone3", [0; 6]), MADE);
    assert_eq!(answer(Capabilities::DEFAULT, "setns", [0; 6]), REFUSED);
}

/// Each call that goes with a capability, without and with that capability alone.
#[test]
fn calls_that_go_with_capabilities() {
    let mut seen = 0;
    for group in GROUPS {
        let Decision::AllowWith(capability) = group.decision else { continue };
        for call in group.calls {
            let name = NAMES.iter().find(|(number, _)| number == call).unwrap().1;
            let without = answer(Capabilities::NONE, name, [u64::MAX; 6]);
            assert_ne!(without, MADE, "{name} without {capability}");
            let with = answer(capability.into(), name, [u64::MAX; 6]);
            assert_eq!(with, MADE, "{name} with {capability}");
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} calls: is this test blind?");
}

#[test]
fn what_docker_refuses_stays_refused_whatever_is_granted() {
    for name in [
        "kexec_load",
        "kexec_file_load",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "userfaultfd",
        "add_key",
        "request_key",
        "keyctl",
        "swapon",
        "swapoff",
        "pivot_root",
        "move_pages",
        "migrate_pages",
        "uselib",
        "nfsservctl",
    ] {
        assert_eq!(answer(Capabilities::all(), name, [0; 6]), REFUSED, "{name}");
    }
}

#[test]
fn x32_calls_are_unknown() {
    for call in [0, 1, 39, 512, 547] {
        let x32 = call | 0x4000_0000;
        assert_eq!(answers(Capabilities::all(), &[(x32, [0; 6])]), [UNKNOWN], "{call}");
    }
}

#[test]
fn a_32_bit_call_kills() {
    let killed = killed_in_child(|| {
        Filter::new(Capabilities::all()).install().unwrap();
        // SAFETY: getpid by its 32-bit number, which touches no memory.
        unsafe { std::arch::asm!("int 0x80", inout("eax") 20 => _) };
    });
    // A kernel without 32-bit calls takes it for an illegal access.
    assert!(
        matches!(
            killed,
            Some(nix::sys::signal::Signal::SIGSYS | nix::sys::signal::Signal::SIGSEGV)
        ),
        "{killed:?}"
    );
}

#[test]
fn programs_work_behind_it_and_their_refused_calls_fail() {
    let text = in_child(|| {
        Filter::new(Capabilities::DEFAULT).install()?;
        // The C library asks for clone3 first.
        let sum = std::thread::spawn(|| 20 + 22).join().unwrap();
        let script = "for word in b a; do echo $word; done | sort | tr '\\n' ' '; grep Seccomp: /proc/self/status";
        let output = Command::new("/bin/sh").args(["-c", script]).output();
        let output = String::from_utf8(output.map_err(|_| Errno::EIO)?.stdout).unwrap();
        // SAFETY: plain system calls that are refused, or of a number that no kernel has.
        let refused = [libc::SYS_keyctl, libc::SYS_clone3, 500].map(|number| unsafe {
            libc::syscall(number, 0, 0, 0);
            Errno::last()
        });
        Ok(format!("{sum} {output} {refused:?}"))
    });
    assert_eq!(text, "42 a b Seccomp:\t2\n [EPERM, ENOSYS, ENOSYS]");
}

/// The interpreter says nothing of the kernel; it says how many steps there are.
#[test]
fn every_decision_takes_few_steps() {
    for granted in [Capabilities::NONE, Capabilities::DEFAULT, Capabilities::all()] {
        let filter = filter(granted);
        let steps = || (0..470).map(|number| run(&filter.program, number, [1; 6]).steps);
        // Two loads, the architecture, bisection, the arguments, the answer.
        let most = steps().max().unwrap();
        assert!(most <= 3 + 9 + 6 + 1, "{most} steps in {filter:?}");
        let mean = steps().sum::<usize>() / 470;
        assert!(mean <= 3 + 5 + 1, "{mean} steps on average in {filter:?}");
    }
}

#[test]
fn long_programs_take_detours() {
    // More spans than a jump reaches over.
    let arguments = [0; 6];
    let conditional = (0..2000).filter(|number| number % 3 == 2);
    let verdicts = Verdicts {
        by_number: (0..2000)
            .map(|number| match number % 3 {
                0 => Verdict::Allowed,
                1 => Verdict::Refused,
                _ => Verdict::Conditional,
            })
            .collect(),
        conditions: conditional.map(|number| (number, Condition::NoneOf(1, &[7, 0, 9]))).collect(),
    };
    let program = filter::compile(&verdicts, Answers { refused: REFUSED, unknown: UNKNOWN });
    assert!(program.len() > 1000, "{} instructions", program.len());
    for number in 0..2100 {
        let value = run(&program, number, arguments).answer;
        let found = if value == libc::SECCOMP_RET_ALLOW { MADE } else { (value & 0xffff) as u16 };
        assert_eq!(found, expected(&verdicts, number, arguments), "{number}");
    }
}

#[test]
fn the_summary_counts() {
    let summary = Summary::new(Capabilities::DEFAULT);
    assert_eq!(summary.conditional, 4);
    assert!(summary.refused_groups.contains(&"Kernel modules"));
    assert!(!summary.refused_groups.contains(&"Another root directory"));
    let text = summary.to_string();
    assert!(text.starts_with(&format!("{} calls allowed, 4 by", summary.allowed)), "{text}");
    assert!(Summary::new(Capabilities::all()).allowed > summary.allowed);
}

mod against_others;
