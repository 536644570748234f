//! What all contenders are given: the image, the programs, and a place for their state.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::guest_images::loaded_part;
use crate::image::INIT_PROGRAM;

/// The probe, as the image has it.
pub const PROBE: &str = "/bin/duplex-probe";

/// What the probe prints when it is called without arguments, before it ends. A serial console may end the
/// line in a way of its own.
pub const READY: &[u8] = b"ready";

/// The least program that can be watched: its file in the workshop.
pub(crate) const OBSERVER: &str = "nothing";

/// Where a job's data directory is shown.
pub const DATA: &str = "/data";

/// The image's directories; runtimes mount things on most of them, and cannot make any where the image is
/// read-only.
pub(crate) const IMAGE_DIRECTORIES: [&str; 9] =
    ["", "bin", "etc", "data", "dev", "proc", "sys", "tmp", "run"];

/// Files that runtimes mount things on or read.
const FILES: [(&str, &str); 5] = [
    ("etc/passwd", "root:x:0:0:root:/:/bin/false\n"),
    ("etc/group", "root:x:0:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/hostname", "probe\n"),
    ("etc/resolv.conf", ""),
];

/// The place where a run prepares its contenders; nothing else is there.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Workshop {
    /// The duplex that observes: this program.
    pub own: PathBuf,
    /// The duplex that is measured, a copy: the page cache forgets nothing that a running program has mapped, and of
    /// pages that two have mapped each counts half (PSS).
    pub duplex: PathBuf,
    /// Where contenders put what they need, a directory each.
    pub place: PathBuf,
    /// The root file system that all start the probe on. Not to be changed.
    pub image: PathBuf,
    /// The kernel, an ELF, and the initramfs of the same image, for VMs other than duplex's; `None` where no VM
    /// takes part.
    pub guest: Option<Guest>,
}

/// The least program that can be watched, assembled by build.rs.
const NOTHING: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nothing"));

/// What a VMM boots.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Guest {
    /// An ELF with a PVH note.
    pub kernel: PathBuf,
    /// The image as an initramfs; its `/init` is the probe, which runs a job and powers off.
    pub initramfs: PathBuf,
}

impl Workshop {
    /// Sets it up in an empty directory, with this program and the probe beside it.
    ///
    /// # Errors
    /// Files cannot be written, or there is no probe; says what, and what to do.
    pub fn set_up(place: &Path) -> Result<Self, String> {
        let own = std::env::current_exe();
        let own =
            own.map_err(|error| format!("this program's own file cannot be told: {error}"))?;
        Self::set_up_for(own, place)
    }

    /// The same for another duplex.
    ///
    /// # Errors
    /// As above.
    pub fn set_up_for(own: PathBuf, place: &Path) -> Result<Self, String> {
        let probe = probe_beside(&own)?;
        let image = place.join("image");
        make_image(&image, &probe)?;
        let duplex = copy_program(&own, &place.join("program"))?;
        let workshop = Self { own, duplex, place: place.to_owned(), image, guest: None };
        workshop.place_observer()?;
        Ok(workshop)
    }

    /// Puts the least program that can be watched where it is looked for.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn place_observer(&self) -> Result<(), String> {
        write(&self.place.join(OBSERVER), NOTHING, 0o755)
    }

    /// Where the duplex that is measured lies, with what it needs beside it.
    pub(super) fn program_directory(&self) -> PathBuf {
        self.duplex.with_file_name("")
    }

    /// A directory for a contender's own files: made the first time, private.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn directory(&self, name: impl AsRef<OsStr>) -> Result<PathBuf, String> {
        let path = self.place.join(name.as_ref());
        make_directory(&path, 0o700)?;
        Ok(path)
    }

    /// Where this host finds a file of the image.
    pub fn in_image(&self, path: &str) -> PathBuf {
        self.image.join(path.trim_start_matches('/'))
    }

    /// A name that no other start of this run or another has.
    pub fn name(&self, number: u64) -> String {
        format!("duplex-bench-{}-{number}", std::process::id())
    }
}

/// The image: the probe, and what runtimes mount things on.
fn make_image(image: &Path, probe: &[u8]) -> Result<(), String> {
    for directory in IMAGE_DIRECTORIES {
        make_directory(&image.join(directory), 0o755)?;
    }
    for (path, text) in FILES {
        write(&image.join(path), text.as_bytes(), 0o644)?;
    }
    write(&image.join(PROBE.trim_start_matches('/')), probe, 0o755)
}

/// Copies duplex, and its init if that is beside it, into a new directory.
fn copy_program(own: &Path, directory: &Path) -> Result<PathBuf, String> {
    make_directory(directory, 0o755)?;
    let copy = directory.join("duplex");
    let failed = |path: &Path, error| format!("cannot copy {}: {error}", path.display());
    fs::copy(own, &copy).map_err(|error| failed(own, error))?;
    let init = own.with_file_name(INIT_PROGRAM);
    if init.exists() {
        fs::copy(&init, directory.join(INIT_PROGRAM)).map_err(|error| failed(&init, error))?;
    }
    Ok(copy)
}

/// The probe without what is not loaded when it runs.
fn probe_beside(duplex: &Path) -> Result<Vec<u8>, String> {
    let path = duplex.with_file_name("duplex-probe");
    let program = fs::read(&path).map_err(|error| {
        format!(
            "{}: {error}: install duplex-probe beside duplex (cargo build makes both)",
            path.display()
        )
    })?;
    loaded_part(&program, &path).map_err(|error| error.to_string())
}

fn make_directory(path: &Path, mode: u32) -> Result<(), String> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|error| format!("cannot make the directory {}: {error}", path.display()))
}

/// Writes a file of these permissions.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), String> {
    fs::write(path, content)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
