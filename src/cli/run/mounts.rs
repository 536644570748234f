//! What is mounted in a workload's root beside volumes, and whether that can be written to.

use std::path::Path;

use crate::workload::{Tmpfs, Volume, parse_size};

/// The options, called as docker calls them.
#[derive(clap::Args)]
pub(super) struct MountArgs {
    /// Its root cannot be written to. What is mounted there can: -v, --tmpfs, /dev/shm
    #[arg(long, conflicts_with = "keep")]
    pub(super) read_only: bool,
    /// Mount memory there, for files that are gone with it. Options are those of docker: size=SIZE,
    /// mode=OCTAL, uid=N, gid=N, nr_inodes=N, ro, exec, suid, dev. Can be given again
    #[arg(long, value_name = "PATH[:OPTION,…]")]
    pub(super) tmpfs: Vec<Tmpfs>,
    /// How large /dev/shm may be [default: half of the memory]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) shm_size: Option<u64>,
}

impl MountArgs {
    /// Whether each has a place of its own.
    ///
    /// # Errors
    /// In words for the user.
    pub(super) fn check(&self, volumes: &[Volume]) -> Result<(), String> {
        let places = volumes.iter().map(|volume| volume.guest.as_path());
        let mut places: Vec<&Path> =
            places.chain(self.tmpfs.iter().map(|tmpfs| tmpfs.at.as_path())).collect();
        places.sort_unstable();
        let twice = places.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some(one),
            _ => None,
        });
        twice.map_or(Ok(()), |at| {
            Err(format!("-v and --tmpfs: two are to be at {}: leave one away", at.display()))
        })
    }
}

/// A size that something can have.
fn size(text: &str) -> Result<u64, String> {
    match parse_size(text).map_err(|error| error.to_string())? {
        0 => Err("nothing fits into 0 bytes: give more".into()),
        size => Ok(size),
    }
}
