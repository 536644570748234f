//! The person's, or the pipe's, end of the guest's consoles, the serial one and hvc0: where output
//! goes and where input comes from.

mod input;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use thiserror::Error;
use vmm_sys_util::eventfd::EventFd;

use super::control::Control;
use super::devices::virtio::console::port::Port;
use super::machine::SerialLine;
use super::output::Output;
use crate::terminal;
use crate::workload::Serial;
pub use input::{Asked, Input};

/// Why the console cannot be opened.
#[derive(Debug, Error)]
pub enum Error {
    /// `--serial PATH` or `--hvc PATH`.
    #[error("{0} {path}: cannot be opened for writing: {2}", path = .1.display())]
    Open(&'static str, PathBuf, #[source] io::Error),
    /// The same with a FIFO that nobody reads.
    #[error("{0} {path}: it is a FIFO that nobody reads: start the reader first", path = .1.display())]
    NoReader(&'static str, PathBuf),
    /// The terminal refuses raw mode, or there is no file descriptor or thread left.
    #[error("the console cannot be set up: {0}")]
    SetUp(#[source] io::Error),
}

/// The consoles of a guest. One of them can lead to the standard streams.
#[derive(Default)]
pub struct Console {
    serial: Option<Output>,
    hvc: Option<Arc<Port>>,
    input: Option<Input>,
    /// Whose the input is.
    input_is_hvcs: bool,
}

impl Console {
    /// Opens the consoles; a terminal on stdin is in raw mode from here on until this is dropped.
    ///
    /// # Errors
    /// A path cannot be written to, or the terminal not set up.
    pub fn open(serial: &Serial, hvc: &Serial) -> Result<Console, Error> {
        let serial_output = open_output("--serial", serial)?;
        let port = open_output("--hvc", hvc)?.map(Port::new).transpose().map_err(Error::SetUp)?;
        let input = if [serial, hvc].contains(&&Serial::Stdio) {
            duplicate(&io::stdin()).map(Input::new).transpose().map_err(Error::SetUp)?
        } else {
            None
        };
        let input_is_hvcs = *hvc == Serial::Stdio;
        let console =
            Console { serial: serial_output, hvc: port.map(Arc::new), input, input_is_hvcs };
        console.measure_window();
        Ok(console)
    }

    /// Where the serial port's output goes; none without a serial port.
    pub fn serial(&self) -> Option<&Output> {
        self.serial.as_ref()
    }

    /// The host's end of hvc0, if there is one.
    pub fn hvc(&self) -> Option<&Arc<Port>> {
        self.hvc.as_ref()
    }

    /// Says which guest's they are from now on.
    pub fn connect(&self, guest: &Arc<Control>) {
        if let Some(hvc) = &self.hvc {
            hvc.output().throttles(guest.clone());
        }
    }

    /// Where outputs go that must be written before the end.
    pub fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.serial.iter().chain(self.hvc.as_deref().map(Port::output))
    }

    /// Where input comes from; none without stdin.
    pub fn input(&mut self) -> Option<&mut Input> {
        self.input.as_mut()
    }

    /// Where input goes, of a machine with this serial port.
    pub fn line<'a>(&'a self, serial: Option<&'a SerialLine>) -> Option<Line<'a>> {
        Line::new(self.hvc.as_deref().filter(|_| self.input_is_hvcs), serial)
    }

    /// Where input comes from and where it goes.
    pub fn input_and_line<'a>(
        &'a mut self,
        serial: Option<&'a SerialLine>,
    ) -> Option<(&'a mut Input, Line<'a>)> {
        let hvc = self.hvc.as_deref().filter(|_| self.input_is_hvcs);
        Some((self.input.as_mut()?, Line::new(hvc, serial)?))
    }

    /// Tells hvc0 how large the terminal's window is, if it leads to one.
    pub fn measure_window(&self) {
        if let Some(hvc) = self.hvc.as_ref().filter(|_| self.input_is_hvcs) {
            let size = terminal::window_size(io::stdin());
            if let Ok(size) = size.or_else(|_| terminal::window_size(io::stdout())) {
                hvc.set_size(size);
            }
        }
    }
}

/// Where input goes.
#[derive(Clone, Copy)]
pub enum Line<'a> {
    /// To the serial port.
    Serial(&'a SerialLine),
    /// To hvc0.
    Hvc(&'a Port),
}

impl<'a> Line<'a> {
    fn new(hvc: Option<&'a Port>, serial: Option<&'a SerialLine>) -> Option<Line<'a>> {
        hvc.map(Line::Hvc).or(serial.map(Line::Serial))
    }

    /// Readable when the guest may have room for input.
    pub fn room(&self) -> &EventFd {
        match self {
            Line::Serial(serial) => &serial.room,
            Line::Hvc(port) => port.room(),
        }
    }

    /// Gives the guest as much as it has room for; returns how much that was.
    fn give(&self, bytes: &[u8], from_terminal: bool) -> usize {
        match self {
            Line::Serial(serial) => {
                let mut port =
                    serial.port.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let room = port.room(from_terminal).min(bytes.len());
                port.receive(bytes.get(..room).unwrap_or_default())
            }
            Line::Hvc(port) => port.give(bytes),
        }
    }
}

/// Opens where output goes; `None`: there is to be none.
fn open_output(option: &'static str, to: &Serial) -> Result<Option<Output>, Error> {
    let file = match to {
        Serial::Off => return Ok(None),
        Serial::Stdio => match duplicate(&io::stdout()) {
            Some(stdout) => stdout.into(),
            // stdout is closed: the console is there all the same.
            None => OpenOptions::new().write(true).open("/dev/null").map_err(Error::SetUp)?,
        },
        Serial::Path(path) => open_for_output(option, path)?,
    };
    Output::new(file).map(Some).map_err(Error::SetUp)
}

/// A duplicate of a standard stream; `None` where it is closed.
fn duplicate(stream: &impl AsFd) -> Option<OwnedFd> {
    stream.as_fd().try_clone_to_owned().ok()
}

fn open_for_output(option: &'static str, path: &Path) -> Result<File, Error> {
    let failed = |error| Error::Open(option, path.to_owned(), error);
    // Not blocking: a FIFO without a reader would wait for ever here.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ENXIO) => Error::NoReader(option, path.to_owned()),
            _ => failed(error),
        })?;
    if !file.metadata().map_err(failed)?.file_type().is_file() {
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).map_err(|errno| failed(errno.into()))?;
    }
    Ok(file)
}
