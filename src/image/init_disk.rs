//! What `duplex run` boots: a kernel that is there already, and `duplex-init`, or this very program, as
//! its init.
//!
//! On a disk of its own, where the kernel can mount one by itself: of that it reads what is executed,
//! where it would copy an initramfs as a whole, for 40 thousand instructions a page.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disk::{Error, unreadable};
use super::ext4;
use crate::guest_images::{
    Cache, DebianKernel, Digest, Initramfs, Progress, Recipe, Series, debian_kernel,
    find_tuned_kernel, loaded_part, own_program,
};
use crate::init::STAMP;

/// What Debian's kernels have as modules and a guest of `duplex run` needs, each after what it depends on.
const MODULES: [&str; 11] = [
    "virtio_ring",
    "virtio",
    "virtio_mmio",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "vsock",
    "vmw_vsock_virtio_transport_common",
    "vmw_vsock_virtio_transport",
    "overlay",
];

/// What it needs besides for volumes.
const VOLUME_MODULES: [&str; 2] = ["fuse", "virtiofs"];

/// Where init mounts things before it has a root to live in.
const PLACES: [&str; 4] = ["dev", "image", "layer", "root"];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A kernel with what goes with it.
#[derive(Debug, Clone)]
pub(crate) struct RunKernel {
    pub(crate) elf: PathBuf,
    pub(crate) init: Init,
}

/// Where a guest's init is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Init {
    /// On a disk that is the kernel's root.
    Disk(PathBuf),
    /// In an initramfs, with the modules that the kernel needs for disks.
    Initramfs(PathBuf),
}

impl Init {
    /// The file.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Disk(path) | Self::Initramfs(path) => path,
        }
    }
}

/// The tuned kernel if it has been built, else Debian's: nothing is built here.
///
/// `volumes`: whether the guest has file systems of the host's.
pub(crate) fn run_kernel(cache: &Cache, volumes: bool) -> Result<RunKernel, Error> {
    if let Some(kernel) = find_tuned_kernel(cache) {
        return Ok(RunKernel { elf: kernel.elf, init: disk(cache)? });
    }
    let kernel = debian_kernel(cache, Series::V6_1)?;
    let init = initramfs(cache, &kernel, volumes)?;
    Ok(RunKernel { elf: kernel.elf, init })
}

fn disk(cache: &Cache) -> Result<Init, Error> {
    let kind = "init-disk";
    let recipe = Recipe { kind: kind.to_string(), digest: Digest::new().part(this_build()) };
    entry(cache, recipe, "init.ext4", |dir, path| {
        let root = dir.join("root");
        for place in PLACES {
            let place = root.join(place);
            fs::create_dir_all(&place).map_err(unreadable("create", &place))?;
        }
        let init = root.join("init");
        let write = || -> std::io::Result<()> {
            let mut file = File::options().write(true).create_new(true).mode(0o755).open(&init)?;
            let program = init_program().map_err(std::io::Error::other)?;
            std::io::Write::write_all(&mut file, &program)
        };
        write().map_err(unreadable("write", &init))?;
        let file = File::create_new(path).map_err(unreadable("create", path))?;
        ext4::make(&root, &file)?;
        fs::remove_dir_all(&root).map_err(unreadable("remove", &root))
    })
    .map(Init::Disk)
}

fn initramfs(cache: &Cache, kernel: &DebianKernel, volumes: bool) -> Result<Init, Error> {
    let mut modules = MODULES.to_vec();
    let mut kind = "init-debian";
    if volumes {
        modules.extend(VOLUME_MODULES);
        kind = "init-volumes";
    }
    let release = kernel.release.as_bytes();
    let digest = Digest::new().part(this_build()).part(release);
    let recipe = Recipe { kind: kind.to_string(), digest };
    entry(cache, recipe, "initramfs.cpio", |_, path| {
        let mut archive = Initramfs::with_console()?;
        archive.file("init", 0o755, &init_program()?)?;
        archive.modules(kernel.module_files(&modules)?)?;
        fs::write(path, archive.finish()?).map_err(unreadable("write", path))
    })
    .map(Init::Initramfs)
}

/// The file in the entry of this recipe; made if it is not there.
fn entry(
    cache: &Cache,
    recipe: Recipe,
    name: &str,
    make: impl FnOnce(&Path, &Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    if let Some(entry) = cache.find(recipe.clone()) {
        return Ok(entry.join(name));
    }
    let kind = recipe.kind.clone();
    let progress = Progress::new("making the guest's init");
    let entry = cache.entry(recipe, &progress, |dir| make(dir, &dir.join(name)))?;
    // That of an earlier build is of no more use, unless somebody goes to and fro between builds.
    cache.keep_only(&kind, &entry, DAY);
    Ok(entry.join(name))
}

/// `duplex-init` if it lies beside this program and goes with it, else this program, which can do the
/// same and is larger.
fn init_program() -> Result<Vec<u8>, Error> {
    if let Some(path) = beside()
        && let Ok(program) = fs::read(&path)
    {
        let program = loaded_part(&program, &path)?;
        if program.windows(STAMP.len()).any(|bytes| bytes == STAMP.as_bytes()) {
            return Ok(program);
        }
        log::info!("the duplex-init beside this program is of other sources, and not used");
    }
    Ok(own_program()?)
}

/// What the guest's init is called that lies beside duplex.
pub(crate) const INIT_PROGRAM: &str = "duplex-init";

/// Where it would be.
fn beside() -> Option<PathBuf> {
    std::env::current_exe().ok().map(|path| path.with_file_name(INIT_PROGRAM))
}

/// What tells this program, and the `duplex-init` beside it, from an earlier or later build: its sources, and the size
/// of that file.
fn this_build() -> Vec<u8> {
    let init = beside().and_then(|path| fs::metadata(path).ok());
    let size = init.map_or(0, |file| file.len());
    [STAMP.as_bytes(), &size.to_le_bytes()].concat()
}
