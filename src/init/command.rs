//! Commands, as init and further sessions start them.

use std::fs;
use std::sync::Arc;

use super::protocol::Start;
use super::users;
use crate::session::guest::{BeforeExec, Command, Unobserved};
use crate::session::protocol::{Invocation, NotStarted};

/// Starts a command as who it is to be, behind what `wall` puts up.
pub(super) fn start_command(
    start: Start,
    wall: Option<Arc<dyn BeforeExec>>,
) -> Result<Command, (NotStarted, String)> {
    let refused = |reason: String| (NotStarted::Surroundings, reason);
    let user = users::find(start.user.as_deref()).map_err(refused)?;
    let mut invocation = start.invocation;
    if !invocation.env.iter().any(|(name, _)| name == "HOME") {
        invocation.env.push(("HOME".into(), user.home.into()));
    }
    enter_working_directory(&invocation).map_err(refused)?;
    Command::start(&invocation, Some(&user.identity), wall, &mut Unobserved)
}

/// Makes it where it is missing, as docker does.
fn enter_working_directory(invocation: &Invocation) -> Result<(), String> {
    let cwd = &invocation.cwd;
    fs::create_dir_all(cwd).and_then(|()| std::env::set_current_dir(cwd)).map_err(|error| {
        format!("the working directory {} can't be entered: {error}; give another", cwd.display())
    })
}
