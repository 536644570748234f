//! Runs the program on one bad input and looks at how it refuses.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use tempfile::TempDir;

use crate::common::process::Process;

/// duplex itself failed.
const FAILED: i32 = 125;
/// Longer than any refusal takes, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a refusal may take of address space: a bomb must not go off.
const ADDRESS_SPACE: u64 = 1 << 30;
const NOBODY: u32 = 65534;

/// A bad input.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) args: Vec<OsString>,
    /// What the message must name.
    pub(crate) about: String,
    pub(crate) surroundings: Surroundings,
}

/// What is special about the place that the program runs in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surroundings {
    Ordinary,
    /// As a user without any rights.
    Nobody,
    /// With a directory of the workbench as /dev, as a user without any rights or not.
    Dev {
        directory: &'static str,
        nobody: bool,
    },
}

impl Case {
    /// The program with these arguments of `duplex boot`, which must name `about`.
    pub(crate) fn new<A: AsRef<OsStr>>(
        name: impl Into<String>,
        args: impl IntoIterator<Item = A>,
        about: impl Into<String>,
    ) -> Case {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let surroundings = Surroundings::Ordinary;
        Case { name: name.into(), args, about: about.into(), surroundings }
    }

    /// In these surroundings.
    pub(crate) fn within(self, surroundings: Surroundings) -> Case {
        Case { surroundings, ..self }
    }
}

/// A directory for the files of the cases, reachable for everybody.
pub(crate) struct Workbench {
    directory: TempDir,
    program: PathBuf,
}

impl Workbench {
    pub(crate) fn new() -> Workbench {
        let directory = tempfile::Builder::new().prefix("duplex-bad-input-").tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let program = directory.path().join("duplex");
        // A link where that can be: the program is large.
        let built = Path::new(env!("CARGO_BIN_EXE_duplex"));
        fs::hard_link(built, &program).or_else(|_| fs::copy(built, &program).map(drop)).unwrap();
        Workbench { directory, program }
    }

    /// Where the file `name` is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a file and returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Makes a case of a kernel with this content.
    pub(crate) fn kernel(&self, name: &str, content: impl AsRef<[u8]>) -> Case {
        let path = self.file(name, content);
        Case::new(name, [OsStr::new("--kernel"), path.as_os_str()], path.to_string_lossy())
    }

    /// Runs a case and returns what was said; fails where it was not refused as it should be.
    /// `None` where the surroundings can't be made here.
    pub(crate) fn run(&self, case: &Case) -> Option<Result<String, String>> {
        let mut command = Command::new(&self.program);
        command
            .args(["boot", "--testbed", "never"])
            .args(&case.args)
            .env_clear()
            .env("HOME", self.directory.path())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if !self.surround(&mut command, case.surroundings) {
            return None;
        }
        let output = match Process::start(&mut command).output_within(PATIENCE) {
            Ok(output) => output,
            Err(late) => return Some(Err(late)),
        };
        let [stdout, stderr] =
            [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
        let status = output.status;
        let said = stderr.replace(&*self.directory.path().to_string_lossy(), "DIR");
        let about = case.about.replace(&*self.directory.path().to_string_lossy(), "DIR");
        let wrong = if status.code() != Some(FAILED) {
            Some(format!("ended with {status}"))
        } else if !stdout.is_empty() {
            Some(format!("wrote to stdout: {stdout:?}"))
        } else if !said.contains(&about) {
            Some(format!("does not name {about:?}"))
        } else if said.contains("panicked") {
            Some("panicked".to_owned())
        } else {
            None
        };
        Some(match wrong {
            Some(wrong) => Err(format!("{wrong}\n{said}")),
            None => Ok(said),
        })
    }

    /// Arranges for the surroundings; false where that takes a root that this process is not.
    fn surround(&self, command: &mut Command, surroundings: Surroundings) -> bool {
        let is_root = Uid::effective().is_root();
        let (dev, nobody) = match surroundings {
            Surroundings::Ordinary => (None, false),
            Surroundings::Nobody => (None, true),
            Surroundings::Dev { directory, nobody } => (Some(self.path(directory)), nobody),
        };
        if dev.is_some() && !is_root {
            return false;
        }
        // Who is not root has no more rights on a file of mode 0 than anybody.
        let nobody = nobody && is_root;
        let dev = dev.map(|dev| CString::new(dev.into_os_string().into_encoded_bytes()).unwrap());
        // SAFETY: between fork and exec the closure makes system calls and no allocation.
        unsafe {
            command.pre_exec(move || {
                setrlimit(Resource::RLIMIT_AS, ADDRESS_SPACE, ADDRESS_SPACE)?;
                if let Some(dev) = &dev {
                    replace_dev(dev)?;
                }
                if nobody {
                    setgroups(&[])?;
                    setgid(Gid::from_raw(NOBODY))?;
                    setuid(Uid::from_raw(NOBODY))?;
                }
                Ok(())
            });
        }
        true
    }
}

/// Puts `directory` in the place of /dev, for this process and its children only.
fn replace_dev(directory: &CString) -> io::Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some(directory.as_c_str()), "/dev", NONE, MsFlags::MS_BIND, NONE)?;
    Ok(())
}

/// Makes a file as long as `size` that takes no space.
pub(crate) fn sparse(path: &Path, size: u64) {
    File::create(path).unwrap().set_len(size).unwrap();
}
