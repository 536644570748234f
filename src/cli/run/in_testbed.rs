//! Runs a command in the testbed: the same order, carried out on an emulated machine that has hardware
//! virtualization, and a clock that counts instructions.

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use super::order::{Order, VmOrder};
use crate::cli::timing::{self, Unit};
use crate::cli::tracing::TraceOrder;
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

/// Carries it out there; returns its command's exit status.
pub(super) fn run(order: &Order) -> Result<ExitCode, Box<dyn Error>> {
    let subject = order.subject();
    if subject.detached && !testbed::stays()? {
        return Err(
            "-d: a guest in the testbed ends with the testbed, and none is there to stay: \
                    start one with `duplex testbed start`"
                .into(),
        );
    }
    let instance = Instance::claim(&subject.about)?;
    let path = instance.file("order");
    std::fs::write(&path, serde_json::to_vec(&there(order))?)?;
    let command = [testbed::PROGRAM.into(), OsString::from("run-order"), path.clone().into()];
    let mut session = session_among_guests(command.into())?;
    session.reads_input = subject.input;
    session.inputs.push(path);
    // Open, and so locked, as long as they are in use: locks do not reach from the testbed to this host.
    let _trace = order.trace().map(TraceOrder::hold).transpose()?;
    session.writable.extend(order.trace().map(|trace| trace.path.clone()));
    let mut _locked = None;
    let json = match order {
        Order::Vm(order) => {
            name_files(order, &mut session);
            _locked = order.layer.as_deref().map(|path| Backing::open(path, false)).transpose()?;
            order.json
        }
        Order::Container(order) => {
            session.inputs.extend(order.plan.disk().map(ToOwned::to_owned));
            order.timing.is_some_and(|timing| timing.json)
        }
    };
    if order.unit() == Unit::Instructions {
        session.machine = Machine::counting();
    }
    match testbed::run(&session) {
        Ok(outcome) => {
            if let Some(counts) = outcome.counts {
                timing::print_counts(&counts, json)?;
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

/// The order as it is there, where it is to be carried out.
fn there(order: &Order) -> Order {
    let mut there = order.clone();
    let subject = there.subject_mut();
    subject.about.testbed = false;
    // It is, here.
    subject.leased = None;
    there
}

fn name_files(order: &VmOrder, session: &mut Session) {
    let files = [&order.kernel, order.init.path(), &order.disk].map(|path| path.to_path_buf());
    session.inputs.extend(files);
    session.writable.extend(order.layer.clone());
    for volume in &order.volumes {
        let named = if volume.read_only { &mut session.inputs } else { &mut session.writable };
        named.push(volume.host.clone());
    }
}
