//! What a container's PID 1 mounts, and its way from the host's root into the image.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, fchdir, pivot_root};

use crate::failure::{Failure, Step as _};
use crate::isolate::{self, Attributes};

/// What is open of the host. Opened as who this process was outside: the container's root may not enter it.
/// Links of an image lead here as long as it exists, through /proc/self/fd and, once the image is
/// [entered](Self::enter), /proc/self/cwd.
pub(super) struct Host {
    root: File,
    /// An empty directory.
    room: File,
}

impl Host {
    pub(super) fn open(room: &Path) -> Result<Self, Failure> {
        let root = File::open("/").step("open the root")?;
        let room = File::open(room).step("open an empty directory")?;
        Ok(Self { root, room })
    }

    /// Makes the image the root. The working directory is the host's root from now on.
    pub(super) fn enter(&self, image: &OwnedFd) -> io::Result<()> {
        isolate::attach_over(image, self.room.as_fd())?;
        fchdir(image)?;
        // The old root comes to lie over the new one, and is where this process stays for now.
        pivot_root(".", ".")?;
        Ok(fchdir(&self.root)?)
    }

    pub(super) fn show_device(&self, name: &str) -> io::Result<()> {
        let target = format!("/dev/{name}");
        File::create_new(&target)?;
        let tree = isolate::clone_tree(Some(self.root.as_fd()), &Path::new("dev").join(name))?;
        isolate::attach(tree, Path::new(&target))
    }

    pub(super) fn show_sysfs(&self) -> io::Result<()> {
        make_mount_point("/sys")?;
        let tree = isolate::clone_tree(Some(self.root.as_fd()), Path::new("sys"))?;
        let attributes = Attributes { read_only: true, no_suid: true, no_devices: true };
        isolate::restrict(&tree, attributes)?;
        isolate::attach(tree, Path::new("/sys"))
    }

    /// Unmounts its tree, and closes what is open of it: the caller's standard streams too, any of which
    /// may be a directory.
    pub(super) fn leave(self) -> io::Result<()> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        fchdir(&self.root)?;
        umount2(".", MntFlags::MNT_DETACH)?;
        Ok(chdir("/")?)
    }
}

pub(super) fn separate() -> nix::Result<()> {
    let flags = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
}

/// Makes a directory for a file system of the kernel. A link of the image would have it elsewhere.
pub(super) fn make_mount_point(path: &str) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_directory = fs::symlink_metadata(path)?.is_dir();
            is_directory.then_some(()).ok_or_else(|| {
                io::Error::other("the image has a link or a file there; take an image without it")
            })
        }
        other => other,
    }
}

/// Files by an empty device, directories by an empty file system.
pub(super) fn mask(path: &str) -> io::Result<()> {
    match fs::metadata(path) {
        // Not every kernel has everything.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => {
            let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            isolate::tmpfs_with(Path::new(path), flags, "size=0,mode=0555")
        }
        Ok(_) => isolate::bind(Path::new("/dev/null"), Path::new(path)),
    }
}

/// Whatever is mounted below it stays as it is.
pub(super) fn make_read_only(path: &str) -> io::Result<()> {
    let path = Path::new(path);
    let tree = match isolate::clone_tree(None, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    isolate::make_read_only(&tree)?;
    isolate::attach(tree, path)
}

pub(super) fn remount_read_only(path: &str) -> io::Result<()> {
    // What can be written to alone, /proc/sysrq-trigger for one, can't be opened otherwise.
    let root = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    isolate::make_read_only(&root)
}
