//! `duplex trace show --live`: a look at a trace while it is made, on the whole terminal.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};

use super::screen::{View, picture};
use crate::session::host::Signals;
use crate::terminal::{RawMode, window_size};
use crate::trace::file::read::Reader;
use crate::trace::live::Live;
use crate::trace::symbols::Symbols;

/// How long a moment is: what is shown is of the last one.
const MOMENT: Duration = Duration::from_millis(500);
/// How many bytes tell a trace from another in the same file: enough for what it says of itself first.
const BEGINNING: usize = 64 << 10;
/// A window whose size nobody tells.
const USUAL: (u16, u16) = (24, 80);

// What the terminal is told (ECMA-48; xterm's private modes): another screen without a cursor, and back.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &[u8] = b"\x1b[2J\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME: &[u8] = b"\x1b[H";
const TO_END_OF_LINE: &[u8] = b"\x1b[K";

/// Follows the trace until somebody quits.
pub(super) fn run(
    path: &Path,
    reader: super::FileReader,
    symbols: Option<Symbols>,
) -> Result<ExitCode, Box<dyn Error>> {
    if window_size(io::stdout()).is_err() {
        return Err("--live: standard output is no terminal: leave --live away".into());
    }
    let signals = Signals::take()?;
    let mut screen = Screen::enter()?;
    let file = path.to_string_lossy();
    let mut live = Live::new(symbols);
    let mut moment = Instant::now();
    let (mut length, mut newest) = (MOMENT, Instant::now());
    let mut followed = Followed { path, reader, beginning: Vec::new() };
    // What was made before is taken in at once, and belongs to no moment.
    followed.take(&mut live)?;
    live.next_moment();
    loop {
        let at = live.newest.saturating_add(nanoseconds(newest.elapsed()));
        let now = if live.ended { live.newest } else { at };
        screen.draw(&live, &View { file: &file, moment: nanoseconds(length), now })?;
        let left = MOMENT.saturating_sub(moment.elapsed());
        match screen.wait(&signals, left)? {
            Asked::Nothing => {}
            Asked::Quit => return Ok(ExitCode::SUCCESS),
            Asked::End(signal) => {
                drop(screen);
                return Ok(128_u8.saturating_add(u8::try_from(signal as i32).unwrap_or(0)).into());
            }
        }
        let before = live.events;
        followed.take(&mut live)?;
        if live.events > before {
            newest = Instant::now();
        }
        if moment.elapsed() >= MOMENT {
            length = moment.elapsed();
            moment = Instant::now();
            live.next_moment();
        }
    }
}

/// A trace that is being made.
struct Followed<'a> {
    path: &'a Path,
    reader: super::FileReader,
    /// What it began with when it was read: when it was made is in there.
    beginning: Vec<u8>,
}

impl Followed<'_> {
    /// Takes in what there is.
    fn take(&mut self, live: &mut Live) -> Result<(), Box<dyn Error>> {
        if self.was_begun_anew() {
            if self.path.metadata().is_ok_and(|file| file.len() == 0) {
                // Its first bytes are still to come.
                return Ok(());
            }
            self.reader = Reader::open(self.path).map_err(|error| self.named(&error))?;
            self.beginning.clear();
            live.begin_anew();
        }
        let read = loop {
            match self.reader.next_block() {
                Ok(Some(block)) => live.take(&block),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = read {
            // What is no block may be another trace by now, which is for the next time.
            let another = self.was_begun_anew();
            return if another { Ok(()) } else { Err(self.named(&error).into()) };
        }
        let begun = usize::try_from(self.reader.position()).unwrap_or(usize::MAX).min(BEGINNING);
        if self.beginning.len() < begun {
            self.beginning = self.read_beginning(begun)?;
        }
        Ok(())
    }

    /// Whether another trace is in the file now.
    fn was_begun_anew(&self) -> bool {
        self.read_beginning(self.beginning.len()).is_ok_and(|now| now != self.beginning)
    }

    /// The file's first bytes, so many or as many as there are.
    fn read_beginning(&self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        File::open(self.path)?.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn named(&self, error: &dyn Error) -> String {
        super::named(self.path, error)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What somebody wants.
enum Asked {
    Nothing,
    Quit,
    End(Signal),
}

/// The whole terminal, which is the caller's again when this is dropped.
struct Screen {
    /// Where there is a keyboard.
    keys: Option<RawMode>,
}

impl Screen {
    fn enter() -> io::Result<Screen> {
        let keys = RawMode::enter(io::stdin())?;
        let screen = Screen { keys };
        say(ENTER)?;
        Ok(screen)
    }

    fn draw(&self, live: &Live, view: &View<'_>) -> io::Result<()> {
        let size = window_size(io::stdout()).unwrap_or_default();
        let (rows, columns) =
            if size.rows == 0 || size.columns == 0 { USUAL } else { (size.rows, size.columns) };
        let lines = picture(live, view, rows.into(), columns.into());
        let mut bytes = HOME.to_vec();
        for (number, line) in lines.iter().enumerate() {
            if number > 0 {
                bytes.extend_from_slice(b"\r\n");
            }
            // First: behind a line that fills the window the cursor is still on its last letter.
            bytes.extend_from_slice(TO_END_OF_LINE);
            bytes.extend_from_slice(line.as_bytes());
        }
        say(&bytes)
    }

    /// Waits, for that long at most.
    fn wait(&mut self, signals: &Signals, patience: Duration) -> io::Result<Asked> {
        let stdin = io::stdin();
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if self.keys.as_ref().is_some_and(RawMode::is_active) {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        let patience = u16::try_from(patience.as_millis()).unwrap_or(u16::MAX);
        let _ = poll(&mut fds, PollTimeout::from(patience));
        let key = fds.get(1).and_then(PollFd::any) == Some(true);
        while let Some(arrived) = signals.next()? {
            match arrived.signal {
                Signal::SIGWINCH => {}
                Signal::SIGTSTP => self.stop()?,
                Signal::SIGCONT => self.resume()?,
                other => return Ok(Asked::End(other)),
            }
        }
        if key {
            let mut bytes = [0; 64];
            let count = stdin.lock().read(&mut bytes)?;
            let typed = bytes.get(..count).unwrap_or_default();
            // The end of input; Ctrl-C and Ctrl-D, which mean nothing to a terminal in raw mode.
            if typed.is_empty() || typed.iter().any(|key| matches!(key, b'q' | b'Q' | 3 | 4)) {
                return Ok(Asked::Quit);
            }
            if typed.contains(&0x1A) {
                self.stop()?;
            }
        }
        Ok(Asked::Nothing)
    }

    /// Gives the terminal back and stops, until somebody lets this process go on.
    fn stop(&mut self) -> io::Result<()> {
        say(LEAVE)?;
        if let Some(keys) = &mut self.keys {
            keys.suspend()?;
        }
        raise(Signal::SIGSTOP)?;
        self.resume()
    }

    fn resume(&mut self) -> io::Result<()> {
        if let Some(keys) = &mut self.keys {
            keys.resume()?;
        }
        say(ENTER)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where it has gone there is nothing to give back.
        let _ = say(LEAVE);
    }
}

fn say(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
