//! The registers as GDB has them, 64-bit or 32-bit: core, x87, the bases of FS and GS, and control registers.

use kvm_bindings::{kvm_fpu, kvm_regs, kvm_sregs};

/// What of a vCPU is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registers {
    /// Shown as a processor of 32 bits, for guests that start as one: GDB then reads their code so.
    pub narrow: bool,
    /// General registers.
    pub general: kvm_regs,
    /// Segments and control registers.
    pub system: kvm_sregs,
    /// The x87 unit.
    pub fpu: kvm_fpu,
}

/// How many bytes a register of the x87 stack has.
const X87: usize = 10;

impl Registers {
    fn segments(&self) -> [u16; 6] {
        let system = &self.system;
        [&system.cs, &system.ss, &system.ds, &system.es, &system.fs, &system.gs]
            .map(|segment| segment.selector)
    }

    fn control(&self) -> [u64; 5] {
        let system = &self.system;
        [system.cr0, system.cr2, system.cr3, system.cr4, system.efer]
    }

    /// The tag word, 2 bits a register, out of KVM's with 1 bit each.
    fn tags(&self) -> u32 {
        (0..8).map(|n| if self.fpu.ftwx >> n & 1 == 1 { 0 } else { 3_u32 << (2 * n) }).sum()
    }

    fn control_of_x87(&self) -> [u32; 8] {
        let fpu = &self.fpu;
        // The lower halves; nobody looks at the upper ones of these addresses.
        let low = |address: u64| u32::try_from(address & 0xFFFF_FFFF).unwrap_or(0);
        let (code, data) = (low(fpu.last_ip), low(fpu.last_dp));
        let (fcw, fsw, opcode) = (fpu.fcw.into(), fpu.fsw.into(), fpu.last_opcode.into());
        [fcw, fsw, self.tags(), 0, code, 0, data, opcode]
    }

    /// The general registers in GDB's order for 64 bits, RIP last.
    fn wide_general(regs: &mut kvm_regs) -> [&mut u64; 17] {
        [
            &mut regs.rax,
            &mut regs.rbx,
            &mut regs.rcx,
            &mut regs.rdx,
            &mut regs.rsi,
            &mut regs.rdi,
            &mut regs.rbp,
            &mut regs.rsp,
            &mut regs.r8,
            &mut regs.r9,
            &mut regs.r10,
            &mut regs.r11,
            &mut regs.r12,
            &mut regs.r13,
            &mut regs.r14,
            &mut regs.r15,
            &mut regs.rip,
        ]
    }

    /// The same for 32 bits.
    fn narrow_general(regs: &mut kvm_regs) -> [&mut u64; 9] {
        [
            &mut regs.rax,
            &mut regs.rcx,
            &mut regs.rdx,
            &mut regs.rbx,
            &mut regs.rsp,
            &mut regs.rbp,
            &mut regs.rsi,
            &mut regs.rdi,
            &mut regs.rip,
        ]
    }

    /// All of them, in the order of the target's description.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut general = self.general;
        // GDB knows no segments: what it breaks at and reads are linear addresses.
        general.rip = general.rip.wrapping_add(self.system.cs.base);
        if self.narrow {
            for register in Self::narrow_general(&mut general) {
                bytes.extend(&register.to_le_bytes()[..4]);
            }
        } else {
            for register in Self::wide_general(&mut general) {
                bytes.extend(register.to_le_bytes());
            }
        }
        bytes.extend(&self.general.rflags.to_le_bytes()[..4]);
        for selector in self.segments() {
            bytes.extend(u32::from(selector).to_le_bytes());
        }
        for register in &self.fpu.fpr {
            bytes.extend(&register[..X87]);
        }
        for register in self.control_of_x87() {
            bytes.extend(register.to_le_bytes());
        }
        if !self.narrow {
            bytes.extend(self.system.fs.base.to_le_bytes());
            bytes.extend(self.system.gs.base.to_le_bytes());
        }
        for register in self.control() {
            bytes.extend(register.to_le_bytes());
        }
        bytes
    }

    /// Takes the general registers and the flags; `None` where the others are not what they were, or there are
    /// too few.
    pub fn changed_by(&self, bytes: &[u8]) -> Option<Registers> {
        let mut new = self.clone();
        let size = if self.narrow { 4 } else { 8 };
        let word =
            |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |word, b| word << 8 | u64::from(*b));
        let mut rest = bytes;
        // What GDB sees of RIP counts from CS's base.
        new.general.rip = new.general.rip.wrapping_add(self.system.cs.base);
        let mut take = |register: &mut u64, size: usize| {
            let (value, after) = rest.split_at_checked(size)?;
            // Of what is not shown nothing changes.
            let shown = u64::MAX >> (64 - 8 * size);
            (*register, rest) = (*register & !shown | word(value), after);
            Some(())
        };
        if self.narrow {
            for register in Self::narrow_general(&mut new.general) {
                take(register, size)?;
            }
        } else {
            for register in Self::wide_general(&mut new.general) {
                take(register, size)?;
            }
        }
        take(&mut new.general.rflags, 4)?;
        new.general.rip = new.general.rip.wrapping_sub(self.system.cs.base);
        (new.bytes() == bytes).then_some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(narrow: bool) -> Registers {
        let mut registers = Registers { narrow, ..Default::default() };
        registers.general.rax = 0x1122_3344;
        registers.general.rip = 0x1000;
        registers.general.rflags = 2;
        registers.system.cs.selector = 0x10;
        registers.system.cr3 = 0x9000;
        registers
    }

    #[test]
    fn a_changed_general_register_is_taken_and_another_is_refused() {
        for (narrow, place) in [(false, 16 * 8), (true, 8 * 4)] {
            let registers = sample(narrow);
            let mut bytes = registers.bytes();
            bytes[place] = 0x34;
            assert_eq!(registers.changed_by(&bytes).unwrap().general.rip, 0x1034);
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            assert_eq!(registers.changed_by(&bytes), None);
        }
    }

    #[test]
    fn the_sizes_are_those_of_the_descriptions() {
        // Core (without x87: 17 or 9 words, flags, 6 segments), x87, bases, control registers.
        assert_eq!(sample(false).bytes().len(), 17 * 8 + 7 * 4 + 8 * 10 + 8 * 4 + 2 * 8 + 5 * 8);
        assert_eq!(sample(true).bytes().len(), 9 * 4 + 7 * 4 + 8 * 10 + 8 * 4 + 5 * 8);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes: Vec<u8>, narrow: bool) {
            let _ = sample(narrow).changed_by(&bytes);
        }
    }
}
