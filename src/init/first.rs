//! The first session: the command that an instance is for.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::command::start_command;
use super::further::Door;
use super::protocol::{Message, Setting, Start};
use crate::failure::{Failure, Step};
use crate::session::guest::{BeforeExec, Port, Relay, child_signals, lead_session};
use crate::session::protocol::{Ending, NotStarted, ToHost};

/// Serves the session that the host has on this channel, reads and writes on which must not wait:
/// furnishes the surroundings, starts the command behind the wall that comes of that, as all further ones,
/// and stays until it and whatever it has left running has ended. Then `farewell` may add a message to how
/// it ended.
///
/// # Errors
/// The host has gone, or the kernel refuses something. That the command cannot be started is none:
/// the host is told.
pub(crate) fn serve(
    host: File,
    mut door: Door,
    furnish: impl FnOnce(Option<Setting>) -> Result<Arc<dyn BeforeExec>, Failure>,
    farewell: impl FnOnce() -> Result<Option<Message>, Failure>,
) -> Result<(), Failure> {
    let children = child_signals().step("get ready for a child")?;
    let (mut port, mut start) = Port::accept::<Start>(host).step("read what to start")?;
    lead_session().step("lead a session")?;
    let surroundings = furnish(start.setting.take())
        .map(|wall| door.put_behind(wall))
        .map_err(|failure| (NotStarted::Surroundings, failure.to_string()));
    let command = match surroundings.and_then(|()| start_command(*start, door.wall())) {
        Ok(command) => command,
        Err((kind, reason)) => {
            port.send(&ToHost::<Message>::NotStarted { reason, kind }).step("tell the host")?;
            return port.linger().step("tell the host");
        }
    };
    let mut relay = Relay::new(port, command, children, door);
    let ending = relay.run().step("pass data to and fro")?;
    // Whatever the command left running ends here, before what was written is declared safe.
    relay.end_others().step("end the command's children")?;
    let (mut port, _) = relay.into_parts();
    let last = farewell()?;
    tell(&mut port, last, ending).step("tell the host")?;
    port.linger().step("tell the host")
}

fn tell(port: &mut Port, last: Option<Message>, ending: Ending) -> io::Result<()> {
    if let Some(message) = last {
        port.send(&ToHost::Own(message))?;
    }
    port.send(&ToHost::<Message>::Ended(ending))
}
