//! What is asked for, by all options of a run together.

use crate::bench::cases::Questions;
use crate::bench::results::Case;
use crate::cli::testbed_mode::TestbedMode;
use crate::random::random_bytes;

/// What is asked for.
pub(super) struct Asked {
    pub(super) cases: Vec<Case>,
    pub(super) questions: Questions,
    pub(super) peers: bool,
    pub(super) only: Vec<String>,
    pub(super) runs: u32,
    pub(super) seed: u64,
    pub(super) testbed: TestbedMode,
    pub(super) count_instructions: bool,
}

/// A seed of its own for this run: short enough to be typed in.
pub(super) fn seed() -> Result<u64, std::io::Error> {
    Ok(u32::from_le_bytes(random_bytes()?).into())
}
