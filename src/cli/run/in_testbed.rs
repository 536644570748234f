//! Runs a guest in the testbed: the same order, carried out on an emulated machine that has hardware
//! virtualization.

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;

use super::order::{Order, VmOrder};
use crate::cli::timing::{self, Unit};
use crate::cli::{say, session};
use crate::instances::{Ended, Instance};
use crate::testbed::{self, Machine, Session};
use crate::vm::devices::virtio::block::backing::Backing;

/// Where instances are in the testbed: a directory that its commands share.
const RUNTIME_DIR: &str = "/dev/shm";

/// A command for the testbed that finds the guests which run there.
pub(in crate::cli) fn session_among_guests(command: Vec<OsString>) -> Result<Session, String> {
    let mut session = session(command)?;
    session.env.retain(|(name, _)| name != "XDG_RUNTIME_DIR");
    session.env.push(("XDG_RUNTIME_DIR".into(), RUNTIME_DIR.into()));
    Ok(session)
}

/// Runs the guest; returns its command's exit status.
pub(super) fn run(order: &VmOrder) -> Result<ExitCode, Box<dyn Error>> {
    if order.subject.detached && !testbed::stays()? {
        return Err(
            "-d: a guest in the testbed ends with the testbed, and none is there to stay: \
                    start one with `duplex testbed start`"
                .into(),
        );
    }
    let instance = Instance::claim(&order.subject.about)?;
    // Nobody is answered here; but whoever connects learns which process this is.
    let _listener = UnixListener::bind(instance.socket())?;
    let mut there = order.clone();
    there.subject.about.testbed = false;
    // It is, here.
    there.subject.leased = None;
    let path = instance.file("order");
    std::fs::write(&path, serde_json::to_vec(&Order::Vm(Box::new(there)))?)?;
    let command = [testbed::PROGRAM.into(), OsString::from("run-order"), path.clone().into()];
    let mut session = session_among_guests(command.into())?;
    session.reads_input = order.subject.input;
    session.inputs =
        vec![path, order.kernel.clone(), order.init.path().to_owned(), order.disk.clone()];
    session.writable.extend(order.layer.clone());
    for volume in &order.volumes {
        let named = if volume.read_only { &mut session.inputs } else { &mut session.writable };
        named.push(volume.host.clone());
    }
    // Open, and so locked, as long as it is in use: locks do not reach from the testbed to this host.
    let _locked = order.layer.as_deref().map(|path| Backing::open(path, false)).transpose()?;
    if order.unit == Unit::Instructions {
        session.machine = Machine::counting();
    }
    match testbed::run(&session) {
        Ok(outcome) => {
            if let Some(counts) = outcome.counts {
                timing::print_counts(&counts, order.json)?;
            }
            instance.conclude(&Ended::now(outcome.status, None, None))?;
            Ok(outcome.status.into())
        }
        Err(error) => {
            say(&error);
            Ok(error.exit_status().into())
        }
    }
}
