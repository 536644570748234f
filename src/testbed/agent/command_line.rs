//! What the keeper says on the kernel command line.

use std::fs;

use crate::failure::{Failure, Step};

/// Whether the keeper put this word on the kernel command line.
pub(super) fn on_command_line(word: &str) -> Result<bool, Failure> {
    let words = fs::read_to_string("/proc/cmdline").step("read the kernel command line")?;
    Ok(words.split_whitespace().any(|found| found == word))
}
