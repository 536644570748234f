//! How fast a file can be read and written: in order, anywhere, and so that it lasts.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::json::{self, Object};
use crate::memory::Memory;
use crate::system::{Failure, Random, ms, quantile, rate, timed};

/// What is read or written at a time, in order.
const LARGE: usize = 256 << 10;
/// The same, anywhere.
const SMALL: usize = 4096;

/// The file: removed at the end, also when something fails.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes a file of so many MiB in the directory, and does so many operations anywhere in it.
pub(crate) fn measure(directory: &Path, mib: u64, operations: u64) -> Result<(), Failure> {
    let mib = mib.max(1);
    let scratch = Scratch(directory.join(format!("duplex-probe-{}", std::process::id())));
    let mut buffer = Memory::new(LARGE)?;
    // Not zeroes: what stores them may store nothing.
    let mut random = Random::new();
    buffer
        .bytes()
        .chunks_mut(8)
        .for_each(|word| word.copy_from_slice(&random.next().to_ne_bytes()));
    let at = |error: io::Error| format!("{}: {error}", scratch.0.display());
    let (file, direct) = create(&scratch.0).map_err(at)?;
    let size = mib << 20;

    let write = timed(|| {
        for offset in (0..size).step_by(LARGE) {
            file.write_all_at(buffer.bytes(), offset)?;
        }
        file.sync_data()
    })
    .map_err(at)?;
    forget(&file);
    let read = timed(|| {
        for offset in (0..size).step_by(LARGE) {
            file.read_exact_at(buffer.bytes(), offset)?;
        }
        Ok(())
    })
    .map_err(at)?;
    forget(&file);
    let block = &mut buffer.bytes()[..SMALL];
    let mut somewhere = || random.next() % (size / SMALL as u64) * SMALL as u64;
    let random_read =
        timed(|| (0..operations).try_for_each(|_| file.read_exact_at(block, somewhere())))
            .map_err(at)?;
    let random_write = timed(|| {
        (0..operations).try_for_each(|_| file.write_all_at(block, somewhere()))?;
        file.sync_data()
    })
    .map_err(at)?;
    let mut syncs = Vec::new();
    for _ in 0..operations.div_ceil(8) {
        file.write_all_at(block, somewhere()).map_err(at)?;
        syncs.push(timed(|| file.sync_all()).map_err(at)?);
    }
    syncs.sort_unstable();

    let line = Object::new()
        .plain("direct", direct)
        .number("sequential_write", rate(size, write))
        .number("sequential_read", rate(size, read))
        .number("random_read", rate(operations, random_read))
        .number("random_write", rate(operations, random_write))
        .number("fsync", ms(quantile(&syncs, 500)))
        .number("fsync_p99", ms(quantile(&syncs, 990)));
    json::say(&line.finish())
}

/// A new file, past the page cache where that is possible; whether it is.
fn create(path: &Path) -> io::Result<(File, bool)> {
    // One of that name may be there: a probe that was killed has left it, and in a new PID namespace numbers begin
    // anew. It is never opened: where others may write to the directory too, it might lead elsewhere.
    let _ = fs::remove_file(path);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    match options.clone().custom_flags(libc::O_DIRECT).open(path) {
        Ok(file) => Ok((file, true)),
        // The name may be made by then all the same.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let _ = fs::remove_file(path);
            Ok((options.open(path)?, false))
        }
        Err(error) => Err(error),
    }
}

/// What is in the page cache is of no interest. It is dropped, as far as the kernel follows this advice.
fn forget(file: &File) {
    // SAFETY: advice about a file that is open.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

/// A file that is written and made durable again and again: a neighbour's work.
pub(crate) struct Churn {
    file: File,
    buffer: Memory,
    _scratch: Scratch,
}

impl Churn {
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        let scratch = Scratch(directory.join(format!("duplex-noise-{}", std::process::id())));
        let (file, _) = create(&scratch.0)?;
        let mut buffer = Memory::new(LARGE)?;
        buffer.bytes().fill(1);
        Ok(Self { file, buffer, _scratch: scratch })
    }

    /// So many MiB of it, until the time is over.
    pub(crate) fn go_on(&mut self, mib: u64, until: Instant) -> io::Result<()> {
        while Instant::now() < until {
            for offset in (0..mib << 20).step_by(LARGE) {
                self.file.write_all_at(self.buffer.bytes(), offset)?;
                if Instant::now() >= until {
                    break;
                }
            }
            self.file.sync_data()?;
        }
        Ok(())
    }
}

/// A file that a victim writes a page to.
pub(crate) struct Ledger {
    file: File,
    page: Memory,
    at: u64,
    _scratch: Scratch,
}

impl Ledger {
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        let scratch = Scratch(directory.join(format!("duplex-victim-{}", std::process::id())));
        let (file, _) = create(&scratch.0)?;
        Ok(Self { file, page: Memory::new(SMALL)?, at: 0, _scratch: scratch })
    }

    /// A page more, durable.
    pub(crate) fn enter(&mut self) -> io::Result<Duration> {
        timed(|| {
            self.file.write_all_at(self.page.bytes(), self.at % (64 * SMALL as u64))?;
            self.at += SMALL as u64;
            self.file.sync_data()
        })
    }
}
