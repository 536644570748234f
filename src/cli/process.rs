//! How a command is to run, for `run` and `exec` alike: what the OCI runtime specification calls its
//! process. Its environment is docker's, not the caller's.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::session::protocol::{Invocation, StreamKind};
use crate::terminal::WindowSize;
use crate::workload::Process;

/// Where programs are, unless said otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The options.
#[derive(clap::Args)]
pub(super) struct ProcessArgs {
    /// Set an environment variable; NAME alone takes the value that it has here. Can be given again
    #[arg(
        long,
        short,
        value_name = "NAME[=VALUE]",
        value_parser = OsStringValueParser::new().try_map(Variable::try_from)
    )]
    env: Vec<Variable>,
    /// The directory to run it in, made if missing [default: what the image says, else /]
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// The user, and group, to run it as: names that the image knows, or numbers [default: what the
    /// image says, else root]
    #[arg(long, short, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    user: Option<String>,
    /// Pass standard input on
    #[arg(long, short)]
    pub(super) interactive: bool,
    /// Give it a terminal
    #[arg(long, short)]
    pub(super) tty: bool,
}

impl ProcessArgs {
    /// Whether they can be honoured here; why not, in words for the user.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.workdir.as_ref().is_some_and(|directory| !directory.is_absolute()) {
            return Err("--workdir: give an absolute path");
        }
        if self.takes_terminal() && !io::stdin().is_terminal() {
            return Err(
                "-t: standard input is no terminal, so it cannot be made the command's: leave -t \
                 away, or -i",
            );
        }
        Ok(())
    }

    /// Whether the caller's terminal becomes the command's.
    pub(super) fn takes_terminal(&self) -> bool {
        self.tty && self.interactive
    }

    /// Who runs it; none is root.
    pub(super) fn user(&self, image: &Process) -> Option<String> {
        let of_image = || (!image.user.is_empty()).then(|| image.user.clone());
        self.user.clone().or_else(of_image)
    }

    /// What is to be executed on the host of this name, where the image does not say otherwise. The
    /// streams are those of whoever carries it out.
    pub(super) fn invocation(
        &self,
        argv: Vec<OsString>,
        hostname: &str,
        image: &Process,
    ) -> Invocation {
        let of_image = || Path::new("/").join(&image.working_dir);
        Invocation {
            argv,
            env: environment(&self.env, hostname, self.tty, image),
            cwd: self.workdir.clone().unwrap_or_else(of_image),
            streams: [StreamKind::Closed; 3],
            window: WindowSize::default(),
        }
    }

    /// They as arguments that read back as they, wherever that is.
    pub(super) fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        if let Some(directory) = &self.workdir {
            arguments.extend(["--workdir".into(), directory.into()]);
        }
        for variable in &self.env {
            arguments.extend(["--env".into(), variable.to_argument()]);
        }
        if let Some(user) = &self.user {
            arguments.extend(["--user".into(), user.into()]);
        }
        if self.interactive {
            arguments.push("--interactive".into());
        }
        if self.tty {
            arguments.push("--tty".into());
        }
        arguments
    }
}

/// One of the `--env`: `NAME=VALUE`, or `NAME` for the caller's own value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
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
    fn to_argument(&self) -> OsString {
        let mut argument = self.name.clone();
        if let Some(value) = self.value.clone().or_else(|| std::env::var_os(&self.name)) {
            argument.push("=");
            argument.push(value);
        }
        argument
    }
}

/// The whole environment: the usual, what the image says in its place, and what the caller does. Like
/// in docker, a `NAME` alone that the caller does not have is left out.
fn environment(
    variables: &[Variable],
    hostname: &str,
    terminal: bool,
    image: &Process,
) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> =
        vec![("PATH".into(), PATH.into()), ("HOSTNAME".into(), hostname.into())];
    if terminal {
        all.push(("TERM".into(), "xterm".into()));
    }
    for (name, value) in image.variables() {
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
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
        let image = Process { env: vec!["A=0".into(), "IMAGE=1".into()], ..Process::default() };
        let all = environment(&given, "guest", false, &image);
        let expected =
            [("HOSTNAME", "guest"), ("IMAGE", "1"), ("PATH", "/bin"), ("A", "2=3"), ("EMPTY", "")];
        assert_eq!(all, expected.map(|(name, value)| (name.into(), value.into())));
        let all = environment(&[], "guest", true, &Process::default());
        assert!(all.contains(&("TERM".into(), "xterm".into())));
    }

    #[test]
    fn what_the_caller_says_comes_before_what_the_image_says() {
        let image = Process { user: "ann".into(), working_dir: "srv".into(), ..Process::default() };
        let mut args = ProcessArgs {
            env: Vec::new(),
            workdir: None,
            user: None,
            interactive: false,
            tty: false,
        };
        let of = |args: &ProcessArgs, image: &Process| {
            (args.invocation(Vec::new(), "guest", image).cwd, args.user(image))
        };
        assert_eq!(of(&args, &image), ("/srv".into(), Some("ann".into())));
        assert_eq!(of(&args, &Process::default()), ("/".into(), None));
        (args.workdir, args.user) = (Some("/tmp".into()), Some("0".into()));
        assert_eq!(of(&args, &image), ("/tmp".into(), Some("0".into())));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in ["", "=x", "A\0=1"] {
            assert!(variable(text).unwrap_err().contains("names no variable"));
        }
    }
}
