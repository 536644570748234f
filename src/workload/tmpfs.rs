//! A file system in memory for a workload, as docker's `--tmpfs` describes it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::mount::MsFlags;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::volume::place;

/// A file system in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Where: an absolute path without detours.
    pub at: PathBuf,
    /// Flags of mount(2).
    pub flags: u64,
    /// Its options, as tmpfs(5) has them.
    pub options: String,
}

/// What is wrong with a `--tmpfs`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TmpfsError {
    /// Not where something can be.
    #[error(
        "'{0}' is no place for a tmpfs: give an absolute path without '..', other than '/' and what is in \
         /proc, /sys and /dev; --shm-size is for /dev/shm"
    )]
    Place(String),
    /// A word that means nothing.
    #[error(
        "'{0}' is no option of a tmpfs: they are ro, rw, suid, nosuid, dev, nodev, exec, noexec, noatime, \
         size=SIZE, mode=OCTAL, uid=N, gid=N and nr_inodes=N"
    )]
    Option(String),
}

impl FromStr for Tmpfs {
    type Err = TmpfsError;

    /// `PATH[:OPTION,…]`. Without options that say otherwise everybody may write to it, as to /tmp, and it
    /// holds neither programs nor devices: docker's defaults.
    fn from_str(text: &str) -> Result<Self, TmpfsError> {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        let at = place(Path::new(path))
            .filter(|_| !path.contains('\0'))
            .ok_or_else(|| TmpfsError::Place(path.to_owned()))?;
        let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let mut data = vec!["mode=1777".to_owned()];
        for option in options.split(',').filter(|option| !option.is_empty()) {
            if let Some((flag, set)) = flag(option) {
                flags.set(flag, set);
            } else {
                data.push(value(option).ok_or_else(|| TmpfsError::Option(option.to_owned()))?);
            }
        }
        Ok(Tmpfs { at, flags: flags.bits(), options: data.join(",") })
    }
}

/// A word that sets or clears a flag, mount(8).
fn flag(word: &str) -> Option<(MsFlags, bool)> {
    Some(match word {
        "ro" => (MsFlags::MS_RDONLY, true),
        "rw" => (MsFlags::MS_RDONLY, false),
        "nosuid" => (MsFlags::MS_NOSUID, true),
        "suid" => (MsFlags::MS_NOSUID, false),
        "nodev" => (MsFlags::MS_NODEV, true),
        "dev" => (MsFlags::MS_NODEV, false),
        "noexec" => (MsFlags::MS_NOEXEC, true),
        "exec" => (MsFlags::MS_NOEXEC, false),
        "noatime" => (MsFlags::MS_NOATIME, true),
        _ => return None,
    })
}

/// An option with a value, as the kernel has it: the later of two of a name counts.
fn value(option: &str) -> Option<String> {
    let (name, value) = option.split_once('=')?;
    let decimal = || value.parse::<u32>().ok().map(|number| format!("{name}={number}"));
    match name {
        "size" => super::parse_size(value).ok().map(|bytes| format!("size={bytes}")),
        "mode" => {
            let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777)?;
            Some(format!("mode={mode:04o}"))
        }
        "uid" | "gid" | "nr_inodes" => decimal(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_docker_reads() {
        let inert = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let read = |text: &str| text.parse::<Tmpfs>().unwrap();
        let plain = read("/run");
        assert_eq!((plain.at.to_str(), plain.flags), (Some("/run"), inert.bits()));
        assert_eq!(plain.options, "mode=1777");
        let more = read("/a/b/:rw,exec,size=1M,mode=755,uid=7,nr_inodes=9");
        assert_eq!(
            (more.at.to_str(), &*more.options),
            (Some("/a/b"), "mode=1777,size=1048576,mode=0755,uid=7,nr_inodes=9")
        );
        assert_eq!(more.flags, (inert - MsFlags::MS_NOEXEC).bits());
        assert_eq!(read("/a:ro").flags, (inert | MsFlags::MS_RDONLY).bits());
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "a", "/", "/..", "/a/../b", "/proc", "/proc/self", "/sys/x", "/dev/shm"] {
            assert!(matches!(text.parse::<Tmpfs>(), Err(TmpfsError::Place(_))), "{text}");
        }
        for option in ["size", "size=", "size=x", "mode=9", "mode=17777", "uid=-1", "x", "huge=1"] {
            let error = format!("/a:{option}").parse::<Tmpfs>().unwrap_err();
            assert_eq!(error, TmpfsError::Option(option.into()));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "/[a-z/.:=,0-9]{0,24}|.*") {
            let _ = text.parse::<Tmpfs>();
        }
    }
}
