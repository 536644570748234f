//! `duplex inspect`: all that is known about an instance.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::ps::word;
use super::{FAILED, say};
use crate::instances::{self, About, Found, Status};
use crate::isolate::cgroups::{Group, Usage};

/// Print all that is known about instances, as JSON
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex inspect web
  duplex inspect web | jq '.[0].usage.memory.peak'")]
pub(super) struct Args {
    /// Which, by name
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Serialize)]
struct Inspection {
    #[serde(flatten)]
    about: About,
    status: &'static str,
    exit_status: Option<u8>,
    /// What was to be said about its end.
    reason: Option<String>,
    /// In seconds since 1970.
    ended: Option<u64>,
    /// The process that runs it.
    pid: Option<i32>,
    /// Its control group's directories.
    control_groups: Vec<PathBuf>,
    /// What it uses, or has used.
    usage: Option<Usage>,
}

/// Prints it.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut status = ExitCode::SUCCESS;
    let mut all = Vec::new();
    for name in &args.names {
        match instances::find(name).and_then(inspect) {
            Ok(inspection) => all.push(inspection),
            Err(error) => {
                say(error);
                status = FAILED.into();
            }
        }
    }
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &all)?;
    writeln!(out)?;
    Ok(status)
}

fn inspect(found: Found) -> Result<Inspection, instances::Error> {
    let status = found.status()?;
    let (word, exit_status) = word(&status);
    let (reason, ended, usage) = match &status {
        Status::Ended(ended) => (ended.reason.clone(), Some(ended.at), ended.usage.clone()),
        _ => (None, None, found.group().map(Group::usage)),
    };
    let members = found.group().map(Group::members).unwrap_or_default();
    Ok(Inspection {
        status: word,
        exit_status,
        reason,
        ended,
        // It may end just now.
        pid: found.pid().ok().map(nix::unistd::Pid::as_raw),
        control_groups: members.iter().map(|member| member.path.clone()).collect(),
        usage,
        about: found.about,
    })
}
