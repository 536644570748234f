//! The socket device, as `--vsock` describes it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use thiserror::Error;

/// The guest's address unless another is asked for: the first that is nobody's.
const DEFAULT_CID: u32 = 3;

/// Sockets between guest and host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vsock {
    /// The guest's address.
    pub cid: u32,
    /// The Unix socket that programs on the host connect to; those for the guest's connections are
    /// named after it.
    pub path: PathBuf,
}

/// What is wrong with a `--vsock`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum VsockError {
    /// No path, or something else where it is expected.
    #[error("'{0}' names no socket: give [cid=N,]path=PATH")]
    NoPath(String),
    /// A NUL ends a path.
    #[error("the path has a NUL byte in it: remove it")]
    NulInPath,
    /// Not an address that a guest can have.
    #[error("'{0}' is no address of a guest: give 3 to 4294967294 as the cid")]
    Cid(String),
}

impl TryFrom<OsString> for Vsock {
    type Error = VsockError;

    fn try_from(text: OsString) -> Result<Vsock, VsockError> {
        let text = text.as_bytes();
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (cid, rest) = match text.strip_prefix(b"cid=") {
            None => (DEFAULT_CID, text),
            Some(after) => {
                let digits = after.split(|byte| *byte == b',').next().unwrap_or_default();
                let cid = lossy(digits).parse().ok().filter(|cid| (3..u32::MAX).contains(cid));
                let cid = cid.ok_or_else(|| VsockError::Cid(lossy(digits)))?;
                (cid, after.get(digits.len() + 1..).unwrap_or_default())
            }
        };
        match rest.strip_prefix(b"path=") {
            None | Some([]) => Err(VsockError::NoPath(lossy(text))),
            Some(path) if path.contains(&0) => Err(VsockError::NulInPath),
            Some(path) => Ok(Vsock { cid, path: OsString::from_vec(path.to_vec()).into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vsock, VsockError> {
        OsString::from(text).try_into()
    }

    #[test]
    fn a_socket_has_a_path_and_may_have_an_address() {
        assert_eq!(parse("path=/run/v"), Ok(Vsock { cid: 3, path: "/run/v".into() }));
        assert_eq!(parse("cid=52,path=a,b"), Ok(Vsock { cid: 52, path: "a,b".into() }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for cid in ["", "2", "4294967295", "-1", "x"] {
            assert_eq!(parse(&format!("cid={cid},path=x")), Err(VsockError::Cid(cid.into())));
        }
        for text in ["", "/run/v", "path=", "cid=3", "cid=3,", "path"] {
            assert_eq!(parse(text), Err(VsockError::NoPath(text.into())), "{text}");
        }
        assert_eq!(parse("path=a\0b"), Err(VsockError::NulInPath));
    }
}
