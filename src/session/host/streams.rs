//! This process's standard streams, read and written without ever waiting for the wrong one.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::PathBuf;

use crate::session::outbox::Outbox;
use crate::session::protocol::{Output, StreamKind};
use crate::standard_streams;
use crate::terminal::{WindowSize, window_size};

/// Standard input, output and error.
pub(crate) struct CallersStreams {
    pub(crate) input: Option<Input>,
    pub(crate) stdout: Option<Sink>,
    pub(crate) stderr: Option<Sink>,
    /// Where a terminal's output goes: the first of the streams that is one.
    pub(crate) terminal: Option<Sink>,
    kinds: [StreamKind; 3],
}

impl CallersStreams {
    /// Duplicates them; the originals stay as they are.
    pub(crate) fn take() -> io::Result<Self> {
        let streams = standard_streams::open();
        let kinds = streams.map(|stream| match stream {
            None => StreamKind::Closed,
            Some(fd) if fd.is_terminal() => StreamKind::Terminal,
            Some(_) => StreamKind::Pipe,
        });
        let sink = |fd: Option<BorrowedFd<'_>>| fd.map(Sink::on).transpose();
        let [input, stdout, stderr] = streams;
        // Outputs first: standard input may be open for reading only.
        let terminal = [stdout, stderr, input].into_iter().flatten().find(|fd| fd.is_terminal());
        Ok(Self {
            input: input.map(Input::on).transpose()?,
            stdout: sink(stdout)?,
            stderr: sink(stderr)?,
            terminal: sink(terminal)?,
            kinds,
        })
    }

    /// The same for a command that gets what was asked for, whatever these are: input or none; a
    /// terminal for all three, or pipes.
    pub(crate) fn take_for(input: bool, terminal: bool) -> io::Result<Self> {
        let mut streams = Self::take()?;
        if !input {
            streams.input = None;
        }
        if terminal {
            // All that comes is the terminal's.
            streams.terminal = streams.stdout.take();
            streams.stderr = None;
        } else {
            streams.terminal = None;
        }
        streams.kinds = [if terminal { StreamKind::Terminal } else { StreamKind::Pipe }; 3];
        Ok(streams)
    }

    /// What each of them is.
    pub(crate) fn kinds(&self) -> [StreamKind; 3] {
        self.kinds
    }

    /// Gives up reading: the command finds its input at the end.
    pub(crate) fn without_input(&mut self) {
        self.input = None;
    }

    /// The size of the terminal's window; zero when there is none.
    pub(crate) fn window(&self) -> WindowSize {
        let output = self.terminal.as_ref().and_then(|sink| window_size(&sink.file).ok());
        let input = || self.input.as_ref().and_then(|input| window_size(&input.file).ok());
        output.or_else(input).unwrap_or_default()
    }

    /// An output, unless it is closed.
    pub(crate) fn output(&mut self, output: Output) -> &mut Option<Sink> {
        match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }

    /// Whether there is an output that does not keep up.
    pub(crate) fn any_full(&self) -> bool {
        self.sinks().any(|sink| sink.outbox.is_full())
    }

    /// Whether everything has been written.
    pub(crate) fn all_written(&self) -> bool {
        self.sinks().all(|sink| sink.outbox.is_empty())
    }

    /// Gives up what has not been written.
    pub(crate) fn discard(&mut self) {
        for sink in [&mut self.stdout, &mut self.stderr, &mut self.terminal] {
            *sink = None;
        }
    }

    fn sinks(&self) -> impl Iterator<Item = &Sink> {
        [&self.stdout, &self.stderr, &self.terminal].into_iter().flatten()
    }
}

/// Standard input.
pub(crate) struct Input {
    file: File,
}

impl Input {
    fn on(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let file = reopened(fd, OpenOptions::new().read(true)).map_or_else(|| duplicate(fd), Ok)?;
        Ok(Self { file })
    }

    /// Reads what is there; `Some(0)` is the end, `None` means that there is nothing now.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.file.read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            },
        }
    }
}

impl AsFd for Input {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// An output and what waits for it.
pub(crate) struct Sink {
    file: File,
    pub(crate) outbox: Outbox,
    nonblocking: bool,
}

impl Sink {
    /// How much a pipe or terminal takes at once when poll(2) says that it takes something.
    const CAREFUL: usize = 512;

    fn on(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let reopened = reopened(fd, OpenOptions::new().write(true));
        let nonblocking = reopened.is_some();
        let file = reopened.map_or_else(|| duplicate(fd), Ok)?;
        Ok(Self { file, outbox: Outbox::default(), nonblocking })
    }

    /// Writes what the output takes now. To be called when poll(2) says that it takes something.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let (limit, once) =
            if self.nonblocking { (usize::MAX, false) } else { (Self::CAREFUL, true) };
        self.outbox.flush(&mut self.file, limit, once).map(drop)
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outbox.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Sink::flush(self)
    }
}

/// Opens a pipe or terminal a second time, so that waiting can be switched off for us without
/// switching it off for everybody who shares the first. Files must not be opened again: theirs is
/// a position and perhaps O_APPEND. Fails for another user's terminal.
fn reopened(fd: BorrowedFd<'_>, options: &mut OpenOptions) -> Option<File> {
    let kind = duplicate(fd).ok()?.metadata().ok()?.file_type();
    let waits = kind.is_fifo() || fd.is_terminal();
    let path = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    waits.then(|| options.custom_flags(flags).open(path).ok()).flatten()
}

fn duplicate(fd: BorrowedFd<'_>) -> io::Result<File> {
    Ok(fd.try_clone_to_owned()?.into())
}
