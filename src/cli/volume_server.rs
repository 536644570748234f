//! The process that becomes the file server of a volume: `duplex run` starts it.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{FAILED, report};
use crate::file_server;

/// What is served, how, and where to the server's eyes.
#[derive(clap::Args)]
pub(super) struct Args {
    access: Access,
    path: PathBuf,
    cover: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Access {
    Ro,
    Rw,
}

/// Becomes the server, or says why not.
pub(super) fn run(args: &Args) -> ExitCode {
    let read_only = args.access == Access::Ro;
    match file_server::confined_server(&args.path, read_only, &args.cover) {
        Ok(never) => match never {},
        Err(failure) => {
            report(format_args!("{failure}\n"));
            FAILED.into()
        }
    }
}
