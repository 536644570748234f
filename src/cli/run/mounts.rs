//! What is mounted in a workload's root beside volumes, and whether that can be written to.

use std::path::Path;

use crate::workload::{Tmpfs, Volume, parse_size};

/// How many volumes there can be: each takes a virtio device of a guest, of which there are sixteen. A container
/// could have more, but not what runs in both halves.
const MOST_VOLUMES: usize = 8;

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
    /// Whether there are not too many, and each has a place of its own.
    ///
    /// # Errors
    /// In words for the user.
    pub(super) fn check(&self, volumes: &[Volume]) -> Result<(), String> {
        let count = volumes.len();
        if count > MOST_VOLUMES {
            return Err(format!("-v: {count} volumes are too many: there can be {MOST_VOLUMES}"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_place_of_its_own() {
        let volume = |text: &str| std::ffi::OsString::from(text).try_into().unwrap();
        let mounts = |paths: &[&str]| MountArgs {
            read_only: false,
            tmpfs: paths.iter().map(|path| path.parse().unwrap()).collect(),
            shm_size: None,
        };
        assert_eq!(mounts(&["/a", "/a/b"]).check(&[volume("/x:/b")]), Ok(()));
        assert!(mounts(&["/a"]).check(&[volume("/x:/a/")]).unwrap_err().contains("at /a:"));
        assert!(mounts(&["/a", "/a:ro"]).check(&[]).is_err());
        assert!(mounts(&[]).check(&[volume("/x:/a"), volume("/y:/a")]).is_err());
        let many =
            |count| (0..count).map(|number| volume(&format!("/x:/{number}"))).collect::<Vec<_>>();
        assert_eq!(mounts(&[]).check(&many(8)), Ok(()));
        assert!(mounts(&[]).check(&many(9)).unwrap_err().contains("9 volumes are too many"));
        assert_eq!((size("2M"), size("0").is_err()), (Ok(2 << 20), true));
    }
}
