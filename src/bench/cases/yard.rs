//! A directory for contenders to read and write in, on a disk.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC,
    statfs,
};

use crate::bench::contender::Contender;
use crate::bench::ground::Ground;
use crate::bench::results::Place;
use crate::bench::workshop::DATA;
use crate::host::installed_program;

/// The testbed's scratch disk.
const DISK: &str = "/dev/vda";

/// Those who see the host's own tree.
const IN_HOSTS_ROOT: [&str; 2] = ["process", "unshare"];

/// The directory; what is in it goes with it.
pub(super) struct Yard {
    path: PathBuf,
    mounted: bool,
}

impl Yard {
    /// On the host among the other files of the run; in the testbed, whose files are in memory, on its disk.
    pub(super) fn prepare(ground: &Ground<'_>) -> Result<Self, String> {
        let path = ground.workshop.directory("yard")?;
        let mounted = ground.place != Place::Host;
        if mounted {
            mount_disk(&path)?;
        }
        let data = path.join("data");
        fs::create_dir_all(&data)
            .and_then(|()| fs::set_permissions(&data, Permissions::from_mode(0o777)))
            .map_err(|error| format!("{}: {error}", data.display()))?;
        Ok(Self { path, mounted })
    }

    /// What contenders are shown.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// A file beside it, which is not there yet.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// What a contender finds it by.
    pub(super) fn seen_by(&self, contender: &dyn Contender) -> String {
        let in_hosts_root = IN_HOSTS_ROOT.contains(&contender.described().id.as_str());
        if in_hosts_root { self.data().display().to_string() } else { DATA.to_owned() }
    }

    /// Its kind of file system.
    pub(super) fn file_system(&self) -> &'static str {
        match statfs(&self.path).map(|found| found.filesystem_type()) {
            Ok(EXT4_SUPER_MAGIC) => "ext4",
            Ok(BTRFS_SUPER_MAGIC) => "btrfs",
            Ok(XFS_SUPER_MAGIC) => "XFS",
            Ok(OVERLAYFS_SUPER_MAGIC) => "overlayfs",
            Ok(TMPFS_MAGIC) => "tmpfs: in memory, where nothing is made durable",
            _ => "another kind",
        }
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        if self.mounted {
            let _ = crate::isolate::detach(&self.path);
        } else {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn mount_disk(at: &Path) -> Result<(), String> {
    let program = installed_program("mkfs.ext4").ok_or("there is no mkfs.ext4 (e2fsprogs)")?;
    let made = Command::new(program).args(["-q", "-F", DISK]).stdin(Stdio::null()).output();
    let made = made.map_err(|error| format!("mkfs.ext4: {error}"))?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        return Err(format!("mkfs.ext4 {DISK}: {}: {said}", made.status));
    }
    mount(Some(DISK), at, Some("ext4"), MsFlags::empty(), None::<&str>)
        .map_err(|error| format!("cannot mount {DISK}: {error}"))
}
