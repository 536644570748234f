//! Testbeds that stay: starting, finding and stopping them.

use super::control::Channel;
use super::error::Error;
use super::launch::{Ground, Lifetime, boot, launch, this_build, wait_until_up};
use super::model::{Clock, Machine};
use super::places::{self, Name};
use super::protocol::{Answer, Request, Status};
use crate::guest_images::Progress;
use crate::state::StateDirectory;

/// Starts a testbed that stays until it is stopped, and waits until it is up. Returns `false` when
/// one that is made the same was up already.
pub fn start(machine: &Machine) -> Result<bool, Error> {
    start_in(&StateDirectory::open()?, machine)
}

fn start_in(state: &StateDirectory, machine: &Machine) -> Result<bool, Error> {
    let progress = Progress::new("testbed");
    boot(&progress, || start_once(state, machine, &progress))
}

fn start_once(
    state: &StateDirectory,
    machine: &Machine,
    progress: &Progress,
) -> Result<bool, Error> {
    let instance = loop {
        if let Some(instance) = places::create(state, Name::Lasting(machine.clock))? {
            break instance;
        }
        if let Some(status) = status_of(state, machine.clock)? {
            return found_running(state, machine, &status);
        }
        // It does not answer: it is just ending, or was killed a moment ago.
        wait_for_end(state, machine.clock)?;
    };
    let launched = launch(instance, machine, Lifetime::Lasting, Ground::Export, progress)?;
    progress.step("the machine boots");
    launched.wait_until_up()?;
    Ok(true)
}

/// Waits until the keeper has given up its lock, and removes what it left.
fn wait_for_end(state: &StateDirectory, clock: Clock) -> Result<(), Error> {
    if let Some(lock) = state.lock_of(Name::Lasting(clock).place())? {
        lock.lock().map_err(Error::Connection)?;
    }
    Ok(state.sweep()?)
}

/// Connects to the lasting testbed of this kind. One that another build of duplex left running is
/// replaced by one of this build, for it would run the other build's code; while it is in use, it
/// is left alone, and there is none.
pub(super) fn find_lasting(state: &StateDirectory, clock: Clock) -> Result<Option<Channel>, Error> {
    match status_of(state, clock)? {
        None => Ok(None),
        Some(status) if status.build == this_build()? => places::connect(state, clock),
        Some(status) if status.sessions == 0 => {
            stop_kind(state, clock)?;
            start_in(state, &status.machine)?;
            places::connect(state, clock)
        }
        Some(_) => Ok(None),
    }
}

/// Starts a testbed like [`start`], but one that ends with this process. Calls `up` when commands can
/// run, and returns when the testbed is stopped.
pub fn start_and_stay(machine: &Machine, up: impl FnOnce()) -> Result<(), Error> {
    let state = StateDirectory::open()?;
    let progress = Progress::new("testbed");
    let launched = boot(&progress, || {
        let Some(instance) = places::create(&state, Name::Lasting(machine.clock))? else {
            return Err(Error::AlreadyRunning("one that was started earlier".into()));
        };
        let launched = launch(instance, machine, Lifetime::Ephemeral, Ground::Export, &progress)?;
        progress.step("the machine boots");
        launched.wait_until_up()
    })?;
    drop(progress);
    up();
    launched.wait_until_ended()
}

fn found_running(
    state: &StateDirectory,
    machine: &Machine,
    status: &Status,
) -> Result<bool, Error> {
    if status.machine != *machine {
        let Machine { cpus, memory_mib, .. } = status.machine;
        let made = format!("one with {cpus} CPUs and {memory_mib} MiB of memory");
        return Err(Error::AlreadyRunning(made));
    }
    let Some(channel) = find_lasting(state, machine.clock)? else {
        return Err(Error::AlreadyRunning("one of another build of duplex, in use".into()));
    };
    wait_until_up(&channel)?;
    Ok(false)
}

/// Stops all lasting testbeds of this user, and waits until nothing is left of them. Returns how
/// many there were.
pub fn stop() -> Result<usize, Error> {
    let state = StateDirectory::open()?;
    let mut stopped = 0;
    for clock in [Clock::Wall, Clock::Instructions] {
        stopped += usize::from(stop_kind(&state, clock)?);
    }
    Ok(stopped)
}

fn stop_kind(state: &StateDirectory, clock: Clock) -> Result<bool, Error> {
    let lock = state.lock_of(Name::Lasting(clock).place())?;
    let (Some(lock), Some(channel)) = (lock, places::connect(state, clock)?) else {
        return Ok(false);
    };
    channel.send(&Request::Stop, &[]).map_err(Error::Connection)?;
    // Held by the keeper until it has cleaned up.
    lock.lock().map_err(Error::Connection)?;
    Ok(true)
}

/// Whether there is one that outlives the command that uses it.
pub fn stays() -> Result<bool, Error> {
    Ok(status()?.iter().any(|status| status.machine.clock == Clock::Wall))
}

/// The lasting testbeds of this user.
pub fn status() -> Result<Vec<Status>, Error> {
    let state = StateDirectory::open()?;
    let both = [Clock::Wall, Clock::Instructions];
    both.into_iter().filter_map(|clock| status_of(&state, clock).transpose()).collect()
}

fn status_of(state: &StateDirectory, clock: Clock) -> Result<Option<Status>, Error> {
    let Some(channel) = places::connect(state, clock)? else { return Ok(None) };
    channel.send(&Request::Status, &[]).map_err(Error::Connection)?;
    match channel.receive().map_err(Error::Connection)? {
        Some((Answer::Status(status), _)) => Ok(Some(status)),
        // It is just ending.
        _ => Ok(None),
    }
}
