//! Where a report goes.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::bench::report::{self, terminal, terminal::Look};
use crate::bench::results::Results;
use crate::failure::Failure;

/// The directory of `--out`.
pub(super) struct Directory(PathBuf);

impl Directory {
    /// Makes it, or takes one that is empty: before anything is measured, so that no run is in vain.
    pub(super) fn make(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| format!("--out {}: {error}", path.display());
        match fs::create_dir(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let mut entries = fs::read_dir(path).map_err(failed)?;
                if entries.next().is_some() {
                    let path = path.display();
                    return Err(format!(
                        "--out {path}: it is not empty: name another directory, or empty it"
                    ));
                }
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(Self(path.to_owned()))
    }

    /// Writes the report into it.
    pub(super) fn write(&self, results: &Results) -> Result<(), Failure> {
        report::write(results, &self.0)
    }
}

/// Prints the summary.
pub(super) fn show(results: &Results) -> io::Result<()> {
    write!(io::stdout().lock(), "{}", terminal::summary(results, Look::of_stdout()))
}

/// Prints the document.
pub(super) fn print(results: &Results) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, results)?;
    writeln!(out)?;
    Ok(())
}
