//! Small kernels, good and bad, made for tests: every field of their headers can be set to a lie.
//!
//! Used by the loader's unit tests, the tests of bad input and the fuzzer's seeds; each of them is a
//! crate of its own and uses some.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod bzimage;
pub(crate) mod elf;
pub(crate) mod packed;

pub(crate) use bzimage::BzImage;
pub(crate) use elf::{Elf, ProgramHeader};

/// Bytes that look random and so don't shrink when they are packed; the same on every run.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    (0..length).map(|_| random.next().to_le_bytes()[3]).collect()
}

/// Marsaglia's xorshift64: small, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("it is below a usize")
    }
}
