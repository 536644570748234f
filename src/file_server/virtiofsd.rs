//! virtiofsd, the program that serves a directory to a machine.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::isolate::{Process, Program, is_master_of_all_files};

/// An installed virtiofsd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Virtiofsd {
    path: PathBuf,
    dialect: Dialect,
}

/// What a directory is served for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// The testbed's own file system: many small files, read again and again.
    Machine,
    /// A guest's volume: both sides write, and the guest is not trusted.
    Volume,
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
const SOCKET: u8 = 3;

/// A guest has no business with the host's devices: it can make no nodes for them.
const NO_NODES: &str = "-mknod";

/// The dynamic linker's word for a library that comes before all others.
const PRELOAD: &str = "LD_PRELOAD";

/// A library that makes virtiofsd do without O_NOATIME; see its source.
const WITHOUT_NOATIME: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/without_noatime.so"));

impl Virtiofsd {
    /// Whether there is one, without asking it what it can do.
    pub(crate) fn is_installed() -> bool {
        [STANDALONE, OF_QEMU].iter().any(|path| is_executable(Path::new(path)))
    }

    /// Looks for one.
    pub(crate) fn find() -> Option<Self> {
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
    pub(crate) fn serve(
        &self,
        directory: &Path,
        socket: OwnedFd,
        null: OwnedFd,
        log: &OwnedFd,
    ) -> io::Result<Process> {
        let mut descriptors = vec![null, log.try_clone()?, log.try_clone()?, socket];
        let mut environment = Vec::new();
        if !is_master_of_all_files() {
            environment.push((PRELOAD, format!("/proc/self/fd/{}", descriptors.len())));
            descriptors.push(library(MFdFlags::MFD_CLOEXEC)?.into());
        }
        Program::new(&self.path, self.arguments(directory, Use::Machine))?
            .env(environment)?
            .descriptors(descriptors)
            .dies_with_parent()
            .spawn()
    }

    /// Becomes the server of `directory`, a volume, to whoever connects to the socket that this process
    /// has as descriptor 3; returns only if that fails.
    pub(super) fn become_server(&self, directory: &Path) -> io::Error {
        let mut command = Command::new(&self.path);
        command.args(self.arguments(directory, Use::Volume).iter().skip(1)).env_clear();
        // Open until this process is another program.
        let mut preloaded = None;
        if !is_master_of_all_files() {
            match library(MFdFlags::empty()) {
                Ok(library) => {
                    command.env(PRELOAD, format!("/proc/self/fd/{}", library.as_raw_fd()));
                    preloaded = Some(library);
                }
                Err(error) => return error,
            }
        }
        let error = command.exec();
        drop(preloaded);
        error
    }

    /// Whether the testbed would see what has changed on the host only after a second: the
    /// standalone one can't be told to look sooner.
    pub(crate) fn is_slow_to_notice(&self) -> bool {
        matches!(self.dialect, Dialect::Standalone { .. })
    }

    fn arguments(&self, directory: &Path, serves: Use) -> Vec<OsString> {
        let directory = directory.as_os_str();
        let joined = |option: &str| {
            let mut text = OsString::from(option);
            text.push(directory);
            text
        };
        let mut arguments = vec![OsString::from("virtiofsd")];
        let words: &[&str] = match self.dialect {
            // Every open looks at the file anew, so that it shows what the other side wrote and
            // closed before; a name and its attributes are looked up anew after a second.
            Dialect::Qemu if serves == Use::Volume => {
                arguments.extend(["-o".into(), joined("source=")]);
                &["-o", "cache=auto", "-o", "sandbox=chroot", "-o", "log_level=err"]
            }
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
        arguments.extend(match (serves, self.dialect) {
            (Use::Machine, _) => vec![],
            (Use::Volume, Dialect::Qemu) => {
                vec!["-o".into(), format!("modcaps={NO_NODES}").into()]
            }
            (Use::Volume, Dialect::Standalone { .. }) => {
                vec![format!("--modcaps={NO_NODES}").into()]
            }
        });
        // Raising the limit of open files needs a capability that containers lack; the keeper has
        // raised it as far as it may.
        arguments.extend(["--rlimit-nofile=0".into(), format!("--fd={SOCKET}").into()]);
        arguments
    }
}

/// The library, as a file without a name.
fn library(flags: MFdFlags) -> io::Result<File> {
    let mut library = File::from(memfd_create(c"without_noatime.so", flags)?);
    library.write_all(WITHOUT_NOATIME)?;
    Ok(library)
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_both_dialects() {
        let line_for = |dialect, serves| {
            let virtiofsd = Virtiofsd { path: "/x".into(), dialect };
            let words = virtiofsd.arguments(Path::new("/export"), serves);
            words.join(&OsString::from(" ")).into_string().unwrap()
        };
        let line = |dialect| line_for(dialect, Use::Machine);
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
        assert_eq!(
            line_for(Dialect::Qemu, Use::Volume),
            "virtiofsd -o source=/export -o cache=auto -o sandbox=chroot -o log_level=err \
             -o modcaps=-mknod --rlimit-nofile=0 --fd=3"
        );
        let standalone = line_for(Dialect::Standalone { announces: false }, Use::Volume);
        assert!(standalone.ends_with(" --modcaps=-mknod --rlimit-nofile=0 --fd=3"));
    }
}
