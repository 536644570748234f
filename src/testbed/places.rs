//! Where a user's testbeds are: places of the [state directory](crate::state) called "normal",
//! "counting", or "once-…" for a single command, each with a socket `control` on which its keeper
//! answers.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::control::{Channel, listen_for_messages};
use super::error::Error;
use super::model::Clock;
use crate::random::random_bytes;
use crate::state::{Place, StateDirectory};

/// The control socket's name.
const CONTROL: &str = "control";

/// What a testbed is found under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// Started to stay: one of each kind.
    Lasting(Clock),
    /// For a single command.
    Once,
}

impl Name {
    /// The place's name, but for what makes those for a single command different from each other.
    pub(super) fn place(self) -> &'static str {
        match self {
            Self::Lasting(Clock::Wall) => "normal",
            Self::Lasting(Clock::Instructions) => "counting",
            Self::Once => "once",
        }
    }
}

/// Connects to the lasting testbed of this kind, if there is one.
pub(super) fn connect(state: &StateDirectory, clock: Clock) -> Result<Option<Channel>, Error> {
    let Some(place) = state.find(Name::Lasting(clock).place())? else { return Ok(None) };
    // A keeper on its way out answers no more; it removes its directory itself.
    Ok(Channel::connect(place.as_fd(), CONTROL).ok())
}

/// Makes the place for a new testbed; `None` when one of that name is there already.
pub(super) fn create(state: &StateDirectory, name: Name) -> Result<Option<Instance>, Error> {
    let mut place = name.place().to_owned();
    if name == Name::Once {
        let random = random_bytes().map_err(Error::Connection)?;
        place = format!("{place}-{:016x}", u64::from_le_bytes(random));
    }
    let made = state.create(&place, |place| {
        place.make_work()?;
        listen_for_messages(place.directory.as_fd(), CONTROL)
    })?;
    Ok(made.map(|(place, listener)| Instance { place, listener }))
}

/// The place of one testbed that is about to start.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) place: Place,
    /// Answered by the keeper.
    pub(super) listener: OwnedFd,
}

impl Instance {
    /// Connects to the keeper; possible before it is there to answer.
    pub(super) fn connect(&self) -> io::Result<Channel> {
        Channel::connect(self.place.directory.as_fd(), CONTROL)
    }

    /// Removes the place: no keeper came to live in it, or it has ended.
    pub(super) fn remove(&self) {
        self.place.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_testbed_is_found_as_long_as_its_keeper_listens() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::at(place.path());
        let live = create(&state, Name::Lasting(Clock::Wall)).unwrap().unwrap();
        drop(create(&state, Name::Lasting(Clock::Instructions)).unwrap().unwrap());
        state.sweep().unwrap();
        assert!(connect(&state, Clock::Wall).unwrap().is_some());
        assert!(connect(&state, Clock::Instructions).unwrap().is_none());
        live.remove();
    }
}
