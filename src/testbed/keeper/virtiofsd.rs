//! virtiofsd, the program that serves a directory to the emulated machine.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::identity::is_master_of_all_files;
use crate::isolate::{Process, Program};

/// An installed virtiofsd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::testbed) struct Virtiofsd {
    path: PathBuf,
    dialect: Dialect,
}

/// There are two programs of that name, with options of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Dialect {
    /// The one in C that came with QEMU up to 7.2 (Debian 12).
    Qemu,
    /// The one in Rust that followed it (Debian 13).
    Standalone {
        /// Whether it has to be told not to announce mounts.
        announces: bool,
    },
}

/// Where Debian's packages put them; neither is in PATH.
const STANDALONE: &str = "/usr/libexec/virtiofsd";
const OF_QEMU: &str = "/usr/lib/qemu/virtiofsd";

/// Newer ones show the testbed where the host has mounts, unless told not to. overlayfs refuses to
/// build on such a tree (EREMOTE).
const QUIET: &str = "--no-announce-submounts";

/// The descriptor on which it finds its listening socket.
const SOCKET: &str = "3";

/// A library that makes virtiofsd do without O_NOATIME; see its source.
const WITHOUT_NOATIME: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/without_noatime.so"));

impl Virtiofsd {
    /// Looks for one.
    pub(in crate::testbed) fn find() -> Option<Self> {
        if is_executable(Path::new(STANDALONE)) {
            let help = Command::new(STANDALONE).arg("--help").stdin(Stdio::null()).output();
            let help = help.map(|output| output.stdout).unwrap_or_default();
            let announces = String::from_utf8_lossy(&help).contains(QUIET);
            return Some(Self {
                path: STANDALONE.into(),
                dialect: Dialect::Standalone { announces },
            });
        }
        is_executable(Path::new(OF_QEMU))
            .then(|| Self { path: OF_QEMU.into(), dialect: Dialect::Qemu })
    }

    /// Starts serving `directory`, confined to it, to whoever connects to `socket`.
    pub(super) fn serve(
        &self,
        directory: &Path,
        socket: OwnedFd,
        null: OwnedFd,
        log: &OwnedFd,
    ) -> io::Result<Process> {
        let mut descriptors = vec![null, log.try_clone()?, log.try_clone()?, socket];
        let mut environment = Vec::new();
        if !is_master_of_all_files() {
            environment.push(("LD_PRELOAD", format!("/proc/self/fd/{}", descriptors.len())));
            let library = memfd_create(c"without_noatime.so", MFdFlags::MFD_CLOEXEC)?;
            let mut library = File::from(library);
            library.write_all(WITHOUT_NOATIME)?;
            descriptors.push(library.into());
        }
        Program::new(&self.path, self.arguments(directory))?
            .env(environment)?
            .descriptors(descriptors)
            .dies_with_parent()
            .spawn()
    }

    /// Whether the testbed would see what has changed on the host only after a second: the
    /// standalone one can't be told to look sooner.
    pub(super) fn is_slow_to_notice(&self) -> bool {
        matches!(self.dialect, Dialect::Standalone { .. })
    }

    fn arguments(&self, directory: &Path) -> Vec<OsString> {
        let directory = directory.as_os_str();
        let joined = |option: &str| {
            let mut text = OsString::from(option);
            text.push(directory);
            text
        };
        let mut arguments = vec![OsString::from("virtiofsd")];
        let words: &[&str] = match self.dialect {
            // Pages stay cached as long as a file's time and size do not change, which is looked
            // up anew after 50 ms: sooner than a session starts, so that a command always sees
            // what was on the host when it was called. (With cache=auto every open drops the
            // pages, and starting a program takes four times as long.)
            Dialect::Qemu => {
                arguments.extend(["-o".into(), joined("source=")]);
                &[
                    "-o",
                    "cache=always",
                    "-o",
                    "timeout=0.05",
                    "-o",
                    "sandbox=chroot",
                    "-o",
                    "log_level=err",
                ]
            }
            Dialect::Standalone { announces } => {
                arguments.extend(["--shared-dir".into(), directory.to_owned()]);
                arguments.extend(announces.then(|| QUIET.into()));
                &["--cache=auto", "--sandbox=chroot", "--log-level=error"]
            }
        };
        arguments.extend(words.iter().map(OsString::from));
        // Raising the limit of open files needs a capability that containers lack; the keeper has
        // raised it as far as it may.
        arguments.extend(["--rlimit-nofile=0".into(), format!("--fd={SOCKET}").into()]);
        arguments
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_both_dialects() {
        let line = |dialect| {
            let words = Virtiofsd { path: "/x".into(), dialect }.arguments(Path::new("/export"));
            words.join(&OsString::from(" ")).into_string().unwrap()
        };
        assert_eq!(
            line(Dialect::Qemu),
            "virtiofsd -o source=/export -o cache=always -o timeout=0.05 -o sandbox=chroot \
             -o log_level=err \
             --rlimit-nofile=0 --fd=3"
        );
        assert_eq!(
            line(Dialect::Standalone { announces: false }),
            "virtiofsd --shared-dir /export --cache=auto --sandbox=chroot --log-level=error \
             --rlimit-nofile=0 --fd=3"
        );
        assert!(line(Dialect::Standalone { announces: true }).contains(QUIET));
    }
}
