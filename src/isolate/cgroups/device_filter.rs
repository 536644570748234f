//! Which device nodes work in a group of version 2: a BPF program that the kernel asks each time one is
//! opened or made, bpf(2) with BPF_PROG_TYPE_CGROUP_DEVICE; Linux, Documentation/bpf/standardization/
//! instruction-set.rst.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;

use super::devices::{DeviceKind, DeviceRule};

/// What the kernel tells about an access: `struct bpf_cgroup_dev_ctx`. The upper half of the first word
/// is the access, the lower one the kind of node.
const ACCESS_AND_KIND: i16 = 0;
const MAJOR: i16 = 4;
const MINOR: i16 = 8;
/// The bits of an access that are no mere making of a node: BPF_DEVCG_ACC_READ and _WRITE.
const OPEN: i32 = 2 | 4;

/// BPF_PROG_LOAD and BPF_PROG_ATTACH.
const LOAD: libc::c_int = 5;
const ATTACH: libc::c_int = 8;
/// BPF_PROG_TYPE_CGROUP_DEVICE.
const PROGRAM_TYPE: u32 = 15;
/// BPF_CGROUP_DEVICE.
const ATTACH_TYPE: u32 = 6;
/// BPF_F_ALLOW_MULTI: programs of groups above and below are asked as well.
const AND_OTHERS: u32 = 2;

/// One instruction, `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
struct Instruction {
    code: u8,
    /// The target in the lower half, the source in the upper one.
    registers: u8,
    offset: i16,
    value: i32,
}

/// The registers: the answer, what is told, and copies of its parts.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Register {
    Answer = 0,
    Told = 1,
    Access = 2,
    Kind = 3,
    Major = 4,
    Minor = 5,
}

use Register::{Access, Answer, Kind, Major, Minor, Told};

impl Instruction {
    /// 32 bits from what is told.
    const LOAD: u8 = 0x61;
    const COPY: u8 = 0xBF;
    const SET: u8 = 0xB7;
    const AND: u8 = 0x57;
    const SHIFT_RIGHT: u8 = 0x77;
    const JUMP_UNLESS_EQUAL: u8 = 0x55;
    const EXIT: u8 = 0x95;

    fn new(code: u8, target: Register, source: Register, offset: i16, value: i32) -> Self {
        Self { code, registers: target as u8 | (source as u8) << 4, offset, value }
    }

    fn load(target: Register, offset: i16) -> Self {
        Self::new(Self::LOAD, target, Told, offset, 0)
    }

    fn copy(target: Register, source: Register) -> Self {
        Self::new(Self::COPY, target, source, 0, 0)
    }

    fn with(code: u8, target: Register, value: i32) -> Self {
        Self::new(code, target, Answer, 0, value)
    }

    fn exit() -> Self {
        Self::with(Self::EXIT, Answer, 0)
    }
}

/// The program for some rules: yes if one of them allows the access.
fn program(rules: &[DeviceRule]) -> io::Result<Vec<Instruction>> {
    let mut program = vec![
        Instruction::load(Access, ACCESS_AND_KIND),
        Instruction::copy(Kind, Access),
        Instruction::with(Instruction::AND, Kind, 0xFFFF),
        Instruction::with(Instruction::SHIFT_RIGHT, Access, 16),
        Instruction::load(Major, MAJOR),
        Instruction::load(Minor, MINOR),
    ];
    for rule in rules {
        program.extend(one(rule)?);
    }
    program.extend([Instruction::with(Instruction::SET, Answer, 0), Instruction::exit()]);
    Ok(program)
}

/// What answers yes if a rule allows the access, and goes on behind itself if not.
fn one(rule: &DeviceRule) -> io::Result<Vec<Instruction>> {
    let kind = match rule.kind {
        DeviceKind::Block => 1,
        DeviceKind::Character => 2,
    };
    let unless =
        |register, value| Instruction::with(Instruction::JUMP_UNLESS_EQUAL, register, value);
    let number = |number: u32| i32::try_from(number).map_err(|_| io::Error::from(Errno::EINVAL));
    let mut part = vec![unless(Kind, kind)];
    if !rule.open {
        part.extend([
            Instruction::copy(Answer, Access),
            Instruction::with(Instruction::AND, Answer, OPEN),
            unless(Answer, 0),
        ]);
    }
    if let Some(major) = rule.major {
        part.push(unless(Major, number(major)?));
    }
    if let Some(minor) = rule.minor {
        part.push(unless(Minor, number(minor)?));
    }
    part.extend([Instruction::with(Instruction::SET, Answer, 1), Instruction::exit()]);
    // From the instruction after each jump to the one after the last.
    let mut left = i16::try_from(part.len()).map_err(|_| Errno::E2BIG)?;
    for instruction in &mut part {
        left -= 1;
        if instruction.code == Instruction::JUMP_UNLESS_EQUAL {
            instruction.offset = left;
        }
    }
    Ok(part)
}

/// Lets only these devices be used in a group, from now until the group is removed.
pub(super) fn restrict(group: &Path, rules: &[DeviceRule]) -> io::Result<()> {
    let group = File::open(group)?;
    let filter = load(&program(rules)?)?;
    let number = |fd: RawFd| u32::try_from(fd).map_err(|_| Errno::EBADF);
    let attributes = Attach {
        target: number(group.as_raw_fd())?,
        program: number(filter.as_raw_fd())?,
        kind: ATTACH_TYPE,
        flags: AND_OTHERS,
    };
    // SAFETY: the struct has the layout that this command reads, is as long as is said, and alive.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_bpf, ATTACH, &raw const attributes, size_of::<Attach>())
    })?;
    Ok(())
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD needs.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    program: u64,
    license: u64,
}

/// The part of `union bpf_attr` that BPF_PROG_ATTACH needs.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = Load {
        kind: PROGRAM_TYPE,
        count: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        program: program.as_ptr().expose_provenance() as u64,
        license: c"Apache-2.0".as_ptr().expose_provenance() as u64,
    };
    // SAFETY: the struct has the layout that this command reads and is as long as is said; the
    // instructions, as many as are said, and the NUL-terminated name of the license are alive.
    let fd = Errno::result(unsafe {
        libc::syscall(libc::SYS_bpf, LOAD, &raw const attributes, size_of::<Load>())
    })?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the kernel would make of a program.
    fn answer(program: &[Instruction], told: [u32; 3]) -> u64 {
        let mut registers = [0_u64; 6];
        let mut at = 0;
        loop {
            let now = program[at];
            let target = usize::from(now.registers & 15);
            let source = usize::from(now.registers >> 4);
            let value = u64::try_from(now.value).unwrap();
            at += 1;
            match now.code {
                Instruction::LOAD => {
                    registers[target] = told[usize::try_from(now.offset / 4).unwrap()].into();
                }
                Instruction::COPY => registers[target] = registers[source],
                Instruction::SET => registers[target] = value,
                Instruction::AND => registers[target] &= value,
                Instruction::SHIFT_RIGHT => registers[target] >>= value,
                Instruction::JUMP_UNLESS_EQUAL if registers[target] != value => {
                    at += usize::try_from(now.offset).unwrap();
                }
                Instruction::JUMP_UNLESS_EQUAL => {}
                Instruction::EXIT => return registers[0],
                other => panic!("{other}"),
            }
        }
    }

    fn allowed(rules: &[DeviceRule], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        answer(&program(rules).unwrap(), [access << 16 | kind, major, minor]) == 1
    }

    const BLOCK: u32 = 1;
    const CHARACTER: u32 = 2;
    const MAKE: u32 = 1;
    const READ: u32 = 2;

    #[test]
    fn the_default_lets_nodes_be_made_and_few_be_opened() {
        let asks =
            |kind, access, major, minor| allowed(&DeviceRule::DEFAULT, kind, access, major, minor);
        assert!(asks(CHARACTER, READ | 4, 1, 3) && asks(CHARACTER, READ, 136, 7));
        assert!(asks(BLOCK, MAKE, 8, 0) && asks(CHARACTER, MAKE, 1, 11));
        assert!(!asks(BLOCK, READ, 8, 0) && !asks(CHARACTER, READ, 1, 11));
        assert!(!asks(CHARACTER, MAKE | READ, 1, 1) && !asks(BLOCK, READ, 1, 3));
        assert!(!allowed(&[], CHARACTER, READ, 1, 3));
    }

    fn rule() -> impl Strategy<Value = DeviceRule> {
        let kinds = prop_oneof![Just(DeviceKind::Block), Just(DeviceKind::Character)];
        let number = || prop::option::of(0_u32..3);
        (kinds, number(), number(), any::<bool>()).prop_map(|(kind, major, minor, open)| {
            DeviceRule { kind, major, minor, open, reason: "" }
        })
    }

    proptest! {
        #[test]
        fn the_program_says_what_the_rules_say(
            rules in prop::collection::vec(rule(), 0..8),
            (kind, access, major, minor) in (1_u32..3, 1_u32..8, 0_u32..3, 0_u32..3),
        ) {
            let expected = rules.iter().any(|rule| {
                (rule.kind == DeviceKind::Block) == (kind == BLOCK)
                    && (rule.open || access == MAKE)
                    && rule.major.is_none_or(|number| number == major)
                    && rule.minor.is_none_or(|number| number == minor)
            });
            prop_assert_eq!(allowed(&rules, kind, access, major, minor), expected);
        }
    }
}
