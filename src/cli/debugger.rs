//! `--gdb`: a guest that GDB can connect to.

use std::error::Error;
use std::path::Path;

use crate::cli::say;
use crate::testbed;
use crate::vm::gdb::listener::{Address, Listener};
use crate::vm::gdb::{Settings, View, symbols};
use crate::vm::machine::Machine;

/// Has the machine stand still until a debugger lets it go on, and says how to connect. With a kernel, its
/// symbols are the debugger's for the asking.
///
/// # Errors
/// Nobody can connect there.
pub(super) fn attach(
    machine: &mut Machine,
    address: &Address,
    kernel: Option<&Path>,
    view: View,
) -> Result<(), Box<dyn Error>> {
    let symbols = kernel.map(symbols::beside).transpose()?.flatten().unwrap_or_default();
    let segments = kernel.map(symbols::segments).unwrap_or_default();
    let listener = Listener::bind(address)
        .map_err(|error| format!("--gdb {address}: {error}; give another"))?;
    machine.debug(Settings { listener, symbols, segments, view })?;
    say(format_args!("waiting for a debugger: gdb -ex 'target remote {address}'"));
    Ok(())
}

/// Whoever debugs a guest in the testbed must be there, too: in one that stays.
///
/// # Errors
/// There is none, with what to do.
pub(super) fn check_testbed(address: &Address) -> Result<(), String> {
    if testbed::stays().map_err(|error| error.to_string())? {
        say(format_args!(
            "connect from the testbed: duplex testbed run -- gdb -ex 'target remote {address}'"
        ));
        return Ok(());
    }
    Err(format!(
        "--gdb {address}: this guest runs in the testbed, and so must GDB: start one that stays with \
         'duplex testbed start', do this again, and then run 'duplex testbed run -- gdb -ex \"target \
         remote {address}\"'"
    ))
}
