//! Instances: what runs in either half, so that other processes find it; and what is left to be told about
//! those that have ended.
//!
//! Each is a place in the [state directory](crate::state), with
//!
//! ```text
//!   lock       held by the process that runs it; then how it has ended: an `Ended`, as JSON
//!   about      what it is: an `About`, and the process that runs it, as JSON
//!   guest      the socket at which further sessions are asked for
//!   outside    its control group, as JSON
//!   paused     is there while it is stopped in the testbed
//!   log        what it has written, where it is detached
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `about` | what an instance is, and how it has ended |
//! | `own` | one of this process: from the claim of its name to its end |
//! | `found` | one of whatever process |
//! | `log` | what a detached one has written |

mod about;
mod found;
mod log;
mod own;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use about::{About, Ended, Half, Status, now};
pub use found::Found;
pub(crate) use log::{Log, LogReader, Record};
pub use own::Instance;
use serde::{Deserialize, Serialize};

use crate::isolate::Identified;
use crate::isolate::cgroups::{self, Group};
use crate::random::random_bytes;
use crate::state::{self, INSTANCE, Leftover, StateDirectory};

const ABOUT: &str = "about";
const SOCKET: &str = "guest";
const OUTSIDE: &str = "outside";
const PAUSED: &str = "paused";

/// What remains of one that has ended, and is not to be forgotten.
const KEPT: [&str; 3] = [ABOUT, log::LOG, log::OLD];

/// How long what a killed instance has left may take to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What others find.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    about: About,
    /// The process that runs it. Means something as long as the lock is held.
    run_by: Identified,
}

/// Why an instance cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Two of one name.
    #[error(
        "there is an instance called {0}: choose another --name, or remove it: duplex rm --force {0}"
    )]
    Taken(String),
    /// None of this name.
    #[error("there is no instance called {0}: `duplex ps --all` lists those that there are")]
    None(String),
    /// It has ended.
    #[error("{0} has ended, with status {1}: start another with `duplex run`")]
    HasEnded(String, u8),
    /// It has not.
    #[error("{0} runs: end it first with `duplex stop {0}`, or give --force")]
    Runs(String),
    /// It would never answer.
    #[error("{0} is paused: let it go on first with `duplex resume {0}`")]
    Paused(String),
    /// It does not answer.
    #[error("{0} cannot be reached: {1}; it may be starting or ending")]
    Unreachable(String, #[source] io::Error),
    /// It has no control group.
    #[error(
        "{0} cannot be paused: it has no control group with a freezer; start it as root, or have a group \
         delegated to you"
    )]
    NoGroup(String),
    /// What is written about it makes no sense.
    #[error("what is written about {0} cannot be read: {1}; remove it: duplex rm {0}")]
    Damaged(String, #[source] io::Error),
    /// Its control group.
    #[error(transparent)]
    Group(#[from] cgroups::Error),
}

/// Opens the state directory, and sees to instances that were killed: what they have left is removed, and
/// one that is to remain has ended with that.
fn open() -> Result<StateDirectory, Error> {
    Ok(StateDirectory::open_clearing(clear)?)
}

/// Whether nothing of it is to remain.
fn clear(left: &Leftover<'_>) -> io::Result<bool> {
    let entry = match state::read_file(&left.path.join(ABOUT)) {
        // It was killed before it was there, or while it was removed.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        other => Some(other.and_then(|bytes| Ok(serde_json::from_slice::<Entry>(&bytes)?))),
    };
    let has_ended = left.lock.as_ref().is_some_and(|lock| ended(lock).is_some());
    if has_ended {
        // What cannot be read is for its user to remove.
        return Ok(entry.is_none_or(|entry| entry.is_ok_and(|entry| !entry.about.remains)));
    }
    // Others wait for this: what takes its time, the next command finds again.
    if let Some(group) = group(left.path, &name_of(left.path))?
        && let Err(error) = group.kill_all().and_then(|()| group.remove_within(PATIENCE))
    {
        ::log::warn!("what {} has left stays for now: {error}", left.path.display());
        return Ok(false);
    }
    let remains = entry.is_some_and(|entry| entry.is_ok_and(|entry| entry.about.remains));
    let Some(lock) = left.lock.as_ref().filter(|_| remains) else { return Ok(true) };
    state::tidy(left.path, &KEPT)?;
    lock.write_all_at(&serde_json::to_vec(&Ended::killed())?, 0)?;
    Ok(false)
}

/// How it has ended, as its lock says.
fn ended(lock: &File) -> Option<Ended> {
    let mut bytes = vec![0; usize::try_from(lock.metadata().ok()?.len()).ok()?];
    lock.read_exact_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// What the instance in this place is called.
fn name_of(place: &Path) -> String {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix(INSTANCE).unwrap_or_default().to_owned()
}

/// The control group of the instance of this name, whose files are in `directory`.
fn group(directory: &Path, name: &str) -> io::Result<Option<Group>> {
    let bytes = match state::read_file(&directory.join(OUTSIDE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    // Cut short by the end of its writer: then there was no group yet.
    let group: Option<Group> = serde_json::from_slice(&bytes).ok();
    Ok(group.filter(|group| {
        let is_its_own = group.is_called_like(name);
        if !is_its_own {
            ::log::warn!("{} names no group of {name}: it is left alone", directory.display());
        }
        is_its_own
    }))
}

/// All, also those that have ended.
///
/// # Errors
/// The state directory's.
pub fn all() -> Result<Vec<Found>, Error> {
    let state = open()?;
    let names = state.names()?;
    let ours = names.iter().filter_map(|name| name.strip_prefix(INSTANCE));
    let found = |name| match Found::look_up(&state, name) {
        // One that cannot be read does not hide the others.
        Err(error) => {
            ::log::warn!("instance {name} is left out: {error}");
            None
        }
        // One that is removed just now is left out.
        Ok(found) => found,
    };
    Ok(ours.filter_map(found).collect())
}

/// The one of this name.
///
/// # Errors
/// There is none.
pub fn find(name: &str) -> Result<Found, Error> {
    Found::look_up(&open()?, name)?.ok_or_else(|| Error::None(name.to_owned()))
}

/// Removes one that has ended, also if its files cannot be read.
///
/// # Errors
/// There is none, or it runs.
pub fn remove(name: &str) -> Result<(), Error> {
    let state = open()?;
    let place = format!("{INSTANCE}{name}");
    if state.discard(&place)? {
        return Ok(());
    }
    Err(match state.find(&place)? {
        Some(_) => Error::Runs(name.to_owned()),
        None => Error::None(name.to_owned()),
    })
}

/// Ends and removes one whose files cannot be read: what is in its control group is killed, and with that the
/// process that runs it has nothing to do.
///
/// # Errors
/// There is none.
pub fn destroy(name: &str) -> Result<(), Error> {
    let state = open()?;
    let place = format!("{INSTANCE}{name}");
    let Some(directory) = state.find(&place)? else { return Err(Error::None(name.to_owned())) };
    let damaged = |error| Error::Damaged(name.to_owned(), error);
    if let Some(group) = group(&through(&directory, ""), name).map_err(damaged)? {
        group.kill_all()?;
    }
    if let Some(lock) = state.lock_of(&place)? {
        lock.lock_shared().map_err(damaged)?;
    }
    state.discard(&place)?;
    Ok(())
}

/// A name for an instance that was given none.
///
/// # Errors
/// The kernel has no random bytes.
pub fn random_name() -> io::Result<String> {
    let bytes: [u8; 6] = random_bytes()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A file in an open directory.
fn through(directory: &File, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()).into()
}
