//! A guest to run: machine code, and where there is one, its source with the line that each address comes
//! from. It is embedded, or a file: assembly source, an object file of `as`, or bare machine code.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};
use thiserror::Error;

use super::assembler;
use super::guest::Start;
use super::listing::Lines;
use super::object;
use crate::vm::boot::plan::{Piece, Plan};

/// Where the code of each lesson starts, and the highest address that it may reach: behind it lie what a
/// lesson uses as stack and the first page tables.
pub const START: u16 = 0x1000;
const END: usize = 0x6000;
/// The most bytes that a file may have: source with comments is smaller.
const LARGEST_FILE: u64 = 1 << 20;

/// A lesson's guest as it comes with the program.
#[derive(Debug)]
pub struct Embedded {
    /// Its source.
    pub source: &'static str,
    /// What the assembler made of it.
    pub object: &'static [u8],
    /// The lines, see [`Lines`].
    pub lines: &'static [(u32, u32)],
}

/// A guest that can be run.
#[derive(Debug)]
pub struct Program {
    /// Machine code that starts at [`START`].
    pub code: Vec<u8>,
    source: Vec<String>,
    lines: Lines,
}

/// Why a guest cannot be run.
#[derive(Debug, Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{path}: {1}", path = .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It is larger than any lesson.
    #[error("{path}: more than {most} bytes: give the source of a lesson, or what `as` made of it", path = .0.display(), most = LARGEST_FILE)]
    TooLarge(PathBuf),
    /// There is nothing in it.
    #[error("{path}: there is no machine code in it: give the source of a lesson, or what `as` made of it", path = .0.display())]
    Empty(PathBuf),
    /// The code does not fit.
    #[error("{path}: {1} bytes of machine code: a lesson has room for {most}", path = .0.display(), most = END - START as usize)]
    NoRoom(PathBuf, usize),
    /// The assembler does not take it.
    #[error("{path}: {1}", path = .0.display())]
    Assemble(PathBuf, #[source] assembler::Error),
    /// The object file cannot be linked.
    #[error("{path}: {1}", path = .0.display())]
    Link(PathBuf, #[source] object::Error),
}

impl Program {
    /// The guest that comes with a lesson.
    ///
    /// # Errors
    /// None: what is embedded was assembled with the program, and a test links it.
    pub fn embedded(lesson: &Embedded) -> Result<Program, Error> {
        let path = Path::new("the lesson's guest");
        let code = link(path, lesson.object)?;
        Program::new(path, code, lesson.source, lesson.lines.to_vec())
    }

    /// The guest in a file: an ELF object, assembly source if it is text, else bare machine code.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(path: &Path) -> Result<Program, Error> {
        let content = read(path)?;
        if content.starts_with(b"\x7FELF") {
            return Program::new(path, link(path, &content)?, "", Vec::new());
        }
        match String::from_utf8(content) {
            Ok(source) if is_text(&source) => {
                let assembled = assembler::assemble(&source)
                    .map_err(|error| Error::Assemble(path.into(), error))?;
                Program::new(path, link(path, &assembled.object)?, &source, assembled.lines)
            }
            Ok(code) => Program::new(path, code.into_bytes(), "", Vec::new()),
            Err(error) => Program::new(path, error.into_bytes(), "", Vec::new()),
        }
    }

    /// How a machine of `duplex boot` is to start it.
    ///
    /// # Errors
    /// The host has no file descriptor left.
    pub fn plan(&self, start: Start) -> io::Result<Plan> {
        let mut kernel = File::from(memfd_create(c"lesson", MFdFlags::MFD_CLOEXEC)?);
        kernel.write_all(&self.code)?;
        let size = u64::try_from(self.code.len()).unwrap_or(0);
        let failed = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
        Ok(Plan {
            kernel,
            pieces: vec![Piece { gpa: START.into(), offset: 0, size }],
            written: Vec::new(),
            entry: start.entry(),
            setup_header: None,
            initrd: None,
            cmdline: "lesson".parse().map_err(|error| failed(&error))?,
            memory: "32M".parse().map_err(|error| failed(&error))?,
        })
    }

    fn new(path: &Path, code: Vec<u8>, source: &str, lines: Lines) -> Result<Program, Error> {
        match code.len() {
            0 => Err(Error::Empty(path.into())),
            size if size > END - usize::from(START) => Err(Error::NoRoom(path.into(), size)),
            _ => Ok(Program { code, source: source.lines().map(str::to_owned).collect(), lines }),
        }
    }

    /// The source line, counted from 1, that the code at a guest-physical address comes from.
    pub fn line_at(&self, gpa: u64) -> Option<u32> {
        let offset = u32::try_from(gpa.checked_sub(START.into())?).ok()?;
        if usize::try_from(offset).ok()? >= self.code.len() {
            return None;
        }
        let after = self.lines.partition_point(|(start, _)| *start <= offset);
        self.lines.get(after.checked_sub(1)?).map(|(_, line)| *line)
    }

    /// The line whose code comes next behind that of the line at this address.
    pub fn line_after(&self, gpa: u64) -> Option<u32> {
        let offset = u32::try_from(gpa.checked_sub(START.into())?).ok()?;
        let after = self.lines.partition_point(|(start, _)| *start <= offset);
        self.lines.get(after).map(|(_, line)| *line)
    }

    /// A line's instruction or data, without its comment and the spaces around it.
    pub fn text(&self, line: u32) -> &str {
        self.whole(line).split('#').next().unwrap_or_default().trim()
    }

    /// What stands above a line and became no code of its own: comments, labels, directives; top first.
    pub fn above(&self, line: u32) -> Vec<&str> {
        let became_code = |number: u32| self.lines.iter().any(|(_, line)| *line == number);
        let mut lines: Vec<&str> = (1..line)
            .rev()
            .take_while(|number| !became_code(*number))
            .map(|number| self.whole(number))
            .take_while(|text| !text.trim().is_empty())
            .collect();
        lines.reverse();
        lines
    }

    fn whole(&self, line: u32) -> &str {
        let index = usize::try_from(line).ok().and_then(|line| line.checked_sub(1));
        index.and_then(|index| self.source.get(index)).map_or("", String::as_str)
    }
}

fn link(path: &Path, file: &[u8]) -> Result<Vec<u8>, Error> {
    object::link(file, START.into()).map_err(|error| Error::Link(path.into(), error))
}

/// Reads a file, but no more of it than a lesson can have: it may be a device without end.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::Read(path.into(), error);
    let file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is no ordinary file")));
    }
    let mut content = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut content).map_err(failed)?;
    match u64::try_from(content.len()) {
        Ok(0) => Err(Error::Empty(path.into())),
        Ok(size) if size <= LARGEST_FILE => Ok(content),
        _ => Err(Error::TooLarge(path.into())),
    }
}

/// Machine code has bytes that no text has.
fn is_text(content: &str) -> bool {
    !content.contains(|c: char| c.is_control() && !c.is_whitespace())
}
