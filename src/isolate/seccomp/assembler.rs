//! Classic BPF, written from its end: jumps go forward only, so that by then their targets are known.

/// An instruction that has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// How a jump compares the accumulator with its operand.
#[derive(Clone, Copy)]
pub(super) enum Comparison {
    Equal,
    AtLeast,
    /// They have a bit in common.
    Shares,
}

/// A program in the making, its last instruction first.
#[derive(Default)]
pub(super) struct Assembler {
    reversed: Vec<libc::sock_filter>,
    returns: Vec<(u32, Label)>,
}

/// How far a jump reaches: 255 instructions, less those that its own two detours may take.
const REACH: usize = 253;

impl Assembler {
    /// Ends the program with `value`.
    pub(super) fn answer(&mut self, value: u32) -> Label {
        let known = self.returns.iter().rev().find(|(known, _)| *known == value);
        // Where an earlier one is too far away, another one costs less than a detour.
        if let Some(&(_, label)) = known.filter(|(_, label)| self.distance(*label) < REACH) {
            return label;
        }
        let label = self.write(libc::BPF_RET | libc::BPF_K, value, 0, 0);
        self.returns.push((value, label));
        label
    }

    /// Loads the 32 bits at `offset`, and goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        if self.distance(next) != 0 {
            self.detour(next);
        }
        self.write(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
    }

    /// Goes on at one of two places.
    pub(super) fn branch(&mut self, by: Comparison, operand: u32, yes: Label, no: Label) -> Label {
        let yes = self.near(yes);
        let no = self.near(no);
        let comparison = match by {
            Comparison::Equal => libc::BPF_JEQ,
            Comparison::AtLeast => libc::BPF_JGE,
            Comparison::Shares => libc::BPF_JSET,
        };
        let [yes, no] = [yes, no].map(|label| u8::try_from(self.distance(label)).unwrap_or(0));
        self.write(libc::BPF_JMP | libc::BPF_K | comparison, operand, yes, no)
    }

    /// The program, its first instruction first.
    pub(super) fn finish(mut self) -> Vec<libc::sock_filter> {
        self.reversed.reverse();
        self.reversed
    }

    /// How many instructions lie between the next to be written and `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0 - 1
    }

    /// `label`, or a place within reach that leads there.
    fn near(&mut self, label: Label) -> Label {
        if self.distance(label) <= REACH { label } else { self.detour(label) }
    }

    fn detour(&mut self, label: Label) -> Label {
        // No program can have more instructions than fit.
        let distance = u32::try_from(self.distance(label)).unwrap_or(u32::MAX);
        self.write(libc::BPF_JMP | libc::BPF_JA, distance, 0, 0)
    }

    fn write(&mut self, code: u32, k: u32, jt: u8, jf: u8) -> Label {
        // All codes are a byte.
        let code = u16::try_from(code).unwrap_or(0);
        self.reversed.push(libc::sock_filter { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }
}
