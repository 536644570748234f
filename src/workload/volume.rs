//! A directory of the host in a guest, as `--volume` describes it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// A directory of the host that a guest finds somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The directory, as it was given.
    pub host: PathBuf,
    /// Where the guest finds it: an absolute path without detours.
    pub guest: PathBuf,
    /// Whether the guest may not write to it.
    pub read_only: bool,
}

/// What is wrong with a `--volume`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum VolumeError {
    /// Not two paths.
    #[error("'{0}' names no volume: give HOST:GUEST, or HOST:GUEST:ro")]
    Shape(String),
    /// A word at the end that means nothing.
    #[error("'{0}' is no option of a volume: they are ro and rw")]
    Option(String),
    /// A NUL ends a path.
    #[error("the path has a NUL byte in it: remove it")]
    NulInPath,
    /// Not where something can be in a guest.
    #[error(
        "'{0}' is no place in a guest: give an absolute path without '..', other than '/' and what is in \
         /proc, /sys and /dev"
    )]
    Place(String),
}

impl TryFrom<OsString> for Volume {
    type Error = VolumeError;

    fn try_from(text: OsString) -> Result<Volume, VolumeError> {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let parts: Vec<&[u8]> = text.as_bytes().split(|byte| *byte == b':').collect();
        let (host, guest, read_only) = match parts.as_slice() {
            [host, guest] | [host, guest, b"rw"] => (*host, *guest, false),
            [host, guest, b"ro"] => (*host, *guest, true),
            [_, _, option] => return Err(VolumeError::Option(lossy(option))),
            _ => return Err(VolumeError::Shape(lossy(text.as_bytes()))),
        };
        if host.is_empty() || guest.is_empty() {
            return Err(VolumeError::Shape(lossy(text.as_bytes())));
        }
        if text.as_bytes().contains(&0) {
            return Err(VolumeError::NulInPath);
        }
        let guest =
            place(Path::new(OsStr::from_bytes(guest))).ok_or(VolumeError::Place(lossy(guest)))?;
        Ok(Volume { host: OsString::from_vec(host.to_vec()).into(), guest, read_only })
    }
}

/// Where the kernel's own file systems are: what is there would hide walls, and deceive programs.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The path without what means nothing in it, if a guest can have something there.
pub(super) fn place(path: &Path) -> Option<PathBuf> {
    let detour = path.components().any(|component| component == Component::ParentDir);
    // Components leave out doubled slashes and single dots.
    let place: PathBuf = path.components().collect();
    let kernels = KERNELS.iter().any(|kernels| place.starts_with(kernels));
    (path.is_absolute() && !detour && !kernels && place != Path::new("/")).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Volume, VolumeError> {
        OsString::from(text).try_into()
    }

    #[test]
    fn a_volume_is_two_paths_and_perhaps_a_word() {
        let volume = |host: &str, guest: &str, read_only| {
            Ok(Volume { host: host.into(), guest: guest.into(), read_only })
        };
        assert_eq!(parse("src:/src"), volume("src", "/src", false));
        assert_eq!(parse("/a b:/c:ro"), volume("/a b", "/c", true));
        assert_eq!(parse("..:/c//d/./e/:rw"), volume("..", "/c/d/e", false));
        assert_eq!(parse("/dev:/devices"), volume("/dev", "/devices", false));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for text in ["", "/a", ":/b", "/a:", "/a:/b:ro:x", ":"] {
            assert!(matches!(parse(text), Err(VolumeError::Shape(_))), "{text}");
        }
        let detours = ["/a:b", "/a:/", "/a://.", "/a:/b/../c", "/a:./b"];
        let kernels = ["/a:/proc", "/a://sys/./fs:ro", "/a:/dev/shm"];
        for text in [&detours[..], &kernels].concat() {
            assert!(matches!(parse(text), Err(VolumeError::Place(_))), "{text}");
        }
        assert_eq!(parse("/a:/b:z"), Err(VolumeError::Option("z".into())));
        assert_eq!(parse("/a\0:/b"), Err(VolumeError::NulInPath));
    }
}
