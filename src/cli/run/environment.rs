//! The command's environment: docker's, not the caller's.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Where programs are, unless said otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One of the `--env`: `NAME=VALUE`, or `NAME` for the caller's own value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Variable {
    name: OsString,
    /// None for the caller's.
    value: Option<OsString>,
}

impl TryFrom<OsString> for Variable {
    type Error = String;

    fn try_from(text: OsString) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let split = bytes.iter().position(|byte| *byte == b'=');
        let (name, value) = match split {
            Some(at) => (&bytes[..at], bytes.get(at + 1..).map(OsStr::from_bytes)),
            None => (bytes, None),
        };
        if name.is_empty() || bytes.contains(&0) {
            let text = text.to_string_lossy();
            return Err(format!("'{text}' names no variable: give NAME=VALUE, or NAME"));
        }
        let name = OsStr::from_bytes(name).to_owned();
        Ok(Self { name, value: value.map(OsStr::to_owned) })
    }
}

impl Variable {
    /// It as an argument that reads back as it, wherever that is read.
    pub(in crate::cli) fn to_argument(&self) -> OsString {
        let mut argument = self.name.clone();
        if let Some(value) = self.value.clone().or_else(|| std::env::var_os(&self.name)) {
            argument.push("=");
            argument.push(value);
        }
        argument
    }
}

/// The whole environment. Like in docker, a `NAME` alone that the caller does not have is left out.
pub(in crate::cli) fn environment(
    variables: &[Variable],
    hostname: &str,
    terminal: bool,
) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> =
        vec![("PATH".into(), PATH.into()), ("HOSTNAME".into(), hostname.into())];
    if terminal {
        all.push(("TERM".into(), "xterm".into()));
    }
    for Variable { name, value } in variables {
        all.retain(|(known, _)| known != name);
        if let Some(value) = value.clone().or_else(|| std::env::var_os(name)) {
            all.push((name.clone(), value));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(text: &str) -> Result<Variable, String> {
        OsString::from(text).try_into()
    }

    #[test]
    fn the_last_one_counts() {
        let given = ["A=1", "PATH=/bin", "A=2=3", "EMPTY=", "DUPLEX_NOT_THERE"];
        let given: Vec<_> = given.iter().map(|text| variable(text).unwrap()).collect();
        let all = environment(&given, "guest", false);
        let expected = [("HOSTNAME", "guest"), ("PATH", "/bin"), ("A", "2=3"), ("EMPTY", "")];
        assert_eq!(all, expected.map(|(name, value)| (name.into(), value.into())));
        assert!(environment(&[], "guest", true).contains(&("TERM".into(), "xterm".into())));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in ["", "=x", "A\0=1"] {
            assert!(variable(text).unwrap_err().contains("names no variable"));
        }
    }
}
