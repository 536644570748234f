//! An instance that does nothing, then has memory, then has given it back: each until it is told to go on.

use std::io;

use crate::json::{self, Object};
use crate::memory::Memory;
use crate::system::Failure;

/// Goes on at each line of input, and ends with the input.
pub(crate) fn hold(mib: u64) -> Result<(), Failure> {
    say("idle", 0)?;
    if !told()? {
        return Ok(());
    }
    let length = usize::try_from(mib << 20)?;
    let memory = Memory::new(length.max(1))?;
    if length > 0 {
        memory.touch(1);
    }
    say("touched", length)?;
    let go_on = told()?;
    drop(memory);
    if go_on {
        say("freed", length)?;
        told()?;
    }
    Ok(())
}

fn say(state: &str, bytes: usize) -> Result<(), Failure> {
    json::say(&Object::new().text("state", state).plain("bytes", bytes).finish())
}

fn told() -> io::Result<bool> {
    Ok(io::stdin().read_line(&mut String::new())? > 0)
}
