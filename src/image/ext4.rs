//! A directory as an ext4 file system in a file, made by mke2fs.
//!
//! Names, modes, owners, times (to the second), extended attributes, hard links, holes and device files are those of
//! the directory. Nobody needs privilege for that: mke2fs writes down what stat(2) says.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::wait::WaitStatus;

use crate::failure::{Failure, Step};
use crate::host::find_program;
use crate::isolate::Program;

/// Where the programs of e2fsprogs are; an ordinary user's PATH lacks the latter two.
const SEARCH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// What mke2fs puts into every file system, for fsck.
const LOST_AND_FOUND: &str = "lost+found";

/// Why there is no file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is not installed.
    #[error("a disk image needs {0}, which is missing: apt-get install e2fsprogs")]
    Missing(&'static str),
    /// A program failed.
    #[error("{program} could not make the disk image: {said}")]
    Program {
        /// Which.
        program: &'static str,
        /// In its words.
        said: String,
    },
    /// A step of our own failed.
    #[error(transparent)]
    Step(#[from] Failure),
}

/// Makes a file system with what is in the directory, in an empty file.
///
/// # Errors
/// Saying what could not be done; the file is of no use then.
pub(crate) fn make(directory: &Path, image: &File) -> Result<(), Error> {
    let contents = Contents::of(directory)
        .step_with(|| format!("measure what is in {}", directory.display()))?;
    image.set_len(contents.size()).step("give the image its size")?;
    let inodes = (contents.entries + 64).to_string();
    let options = "-q -F -t ext4 -m 0 -O ^has_journal -I 256 -N".split(' ').chain([&*inodes, "-d"]);
    let last = [directory.as_os_str(), IMAGE.as_ref()];
    run("mke2fs", options.map(OsStr::new).chain(last), "", image)?;
    finish(directory, image)
}

/// Makes an empty file system, in a file that has its size.
///
/// # Errors
/// Saying what could not be done; the file is of no use then.
pub(crate) fn make_empty(image: &File) -> Result<(), Error> {
    // What is not written takes no room: its tables are filled in when they are first used.
    let options = "-q -F -t ext4 -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard";
    let arguments = options.split(' ').map(OsStr::new).chain([IMAGE.as_ref()]);
    run("mke2fs", arguments, "", image).map(drop)
}

/// What mke2fs leaves undone: the attributes of the root, and a directory that nobody asked for.
fn finish(directory: &Path, image: &File) -> Result<(), Error> {
    let root = directory.metadata().step_with(|| format!("look at {}", directory.display()))?;
    let mut requests = format!(
        "sif <2> mode 0{:o}\nsif <2> uid {}\nsif <2> gid {}\nsif <2> mtime {}\n",
        root.mode(),
        root.uid(),
        root.gid(),
        root.mtime()
    );
    if !directory.join(LOST_AND_FOUND).exists() {
        requests.insert_str(0, &format!("rmdir {LOST_AND_FOUND}\n"));
    }
    let said = run("debugfs", ["-w", "-f", "-", IMAGE].iter().map(OsStr::new), &requests, image)?;
    // Its exit status does not tell; it says its name, repeats each request, and complains.
    match said.lines().find(|line| !line.is_empty() && !line.starts_with("debugfs")) {
        None => Ok(()),
        Some(complaint) => Err(Error::Program { program: "debugfs", said: complaint.to_owned() }),
    }
}

/// The image, as the programs find it.
const IMAGE: &str = "/proc/self/fd/3";

/// Runs one of the programs, with the image as its descriptor 3; returns what it said.
fn run<'a>(
    name: &'static str,
    arguments: impl Iterator<Item = &'a OsStr>,
    input: &str,
    image: &File,
) -> Result<String, Error> {
    let program = find_program(name.as_ref(), Some(SEARCH.as_ref()));
    let program = program.map_err(|_| Error::Missing(name))?;
    let (mut reader, writer) = io::pipe().step("make a pipe")?;
    let writer = OwnedFd::from(writer);
    let image = image.as_fd();
    let start = || -> io::Result<_> {
        let (stdin, mut to_stdin) = io::pipe()?;
        // A few short lines: far less than a pipe holds.
        to_stdin.write_all(input.as_bytes())?;
        let streams = vec![stdin.into(), writer.try_clone()?, writer, image.try_clone_to_owned()?];
        let arguments = std::iter::once(name.into()).chain(arguments.map(OsString::from));
        Program::new(program, arguments)?.descriptors(streams).dies_with_parent().spawn()
    };
    let process = start().step_with(|| format!("start {name}"))?;
    let mut said = String::new();
    reader.read_to_string(&mut said).step_with(|| format!("listen to {name}"))?;
    let status = process.wait().step_with(|| format!("wait for {name}"))?;
    if matches!(status, WaitStatus::Exited(_, 0)) {
        return Ok(said);
    }
    Err(Error::Program { program: name, said: said.trim().to_owned() })
}

/// What has to fit.
#[derive(Default)]
struct Contents {
    bytes: u64,
    entries: u64,
}

impl Contents {
    fn of(directory: &Path) -> io::Result<Self> {
        let mut all = Self::default();
        all.add(directory, &mut HashSet::new())?;
        Ok(all)
    }

    fn add(&mut self, directory: &Path, linked: &mut HashSet<(u64, u64)>) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                self.add(&entry.path(), linked)?;
            } else if metadata.nlink() > 1 && !linked.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            self.entries += 1;
            // By its length: how much it takes here says nothing where the file system compresses.
            self.bytes += metadata.len().next_multiple_of(4096);
        }
        Ok(())
    }

    /// With room for the tables, and for a block of extended attributes each. A file system that is
    /// read only needs no more, and what is not written to takes no room here.
    fn size(&self) -> u64 {
        let size = self.bytes + self.bytes / 16 + self.entries * (512 + 4096) + (16 << 20);
        size.next_multiple_of(1 << 20)
    }
}
