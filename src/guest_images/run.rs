//! What `duplex run` boots: a kernel that is there already, and this program as its init.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::{Cache, Recipe};
use super::debian::{DebianKernel, Series, debian_kernel};
use super::demo::entry_name;
use super::digest::Digest;
use super::error::Error;
use super::initramfs::Initramfs;
use super::program::own_program;
use super::progress::Progress;
use super::tuned::find_tuned_kernel;

/// What Debian's kernels have as modules and a guest of `duplex run` needs, each after what it depends on.
const MODULES: [&str; 10] = [
    "virtio",
    "virtio_ring",
    "virtio_mmio",
    "virtio_blk",
    "vsock",
    "vmw_vsock_virtio_transport_common",
    "vmw_vsock_virtio_transport",
    "overlay",
    "fuse",
    "virtiofs",
];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The archive's name in its cache entry.
const ARCHIVE: &str = "initramfs.cpio";

/// A kernel with the initramfs that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunKernel {
    pub(crate) elf: PathBuf,
    pub(crate) initramfs: PathBuf,
    /// Whether it is the tuned one.
    pub(crate) tuned: bool,
}

/// The tuned kernel if it has been built, else Debian's: nothing is built here.
pub(crate) fn run_kernel(cache: &Cache) -> Result<RunKernel, Error> {
    if let Some(kernel) = find_tuned_kernel(cache) {
        let initramfs = initramfs(cache, None)?;
        return Ok(RunKernel { elf: kernel.elf, initramfs, tuned: true });
    }
    let kernel = debian_kernel(cache, Series::V6_1)?;
    let initramfs = initramfs(cache, Some(&kernel))?;
    Ok(RunKernel { elf: kernel.elf, initramfs, tuned: false })
}

fn initramfs(cache: &Cache, kernel: Option<&DebianKernel>) -> Result<PathBuf, Error> {
    let kind = if kernel.is_some() { "run-debian" } else { "run-tuned" };
    let release = kernel.map_or(&[][..], |kernel| entry_name(&kernel.elf));
    let digest = Digest::new().part(this_build()?).part(release);
    let recipe = Recipe { kind: kind.to_string(), digest };
    if let Some(entry) = cache.find(recipe.clone()) {
        return Ok(entry.join(ARCHIVE));
    }
    let progress = Progress::new("making the guest's initramfs");
    let entry = cache.entry(recipe, &progress, |dir| {
        let mut archive = Initramfs::with_console()?;
        archive.file("init", 0o755, &own_program()?)?;
        if let Some(kernel) = kernel {
            archive.modules(kernel.module_files(&MODULES)?)?;
        }
        let path = dir.join(ARCHIVE);
        fs::write(&path, archive.finish()?).map_err(Error::file("write", &path))
    })?;
    // That of an earlier build is of no more use, unless somebody goes to and fro between builds.
    cache.keep_only(kind, &entry, DAY);
    Ok(entry.join(ARCHIVE))
}

/// What tells this program from an earlier or later build of it.
fn this_build() -> Result<[u8; 40], Error> {
    let path = Path::new("/proc/self/exe");
    let file = fs::metadata(path).map_err(Error::file("look at", path))?;
    let mut bytes = [0; 40];
    let numbers = [
        file.len(),
        file.dev(),
        file.ino(),
        file.mtime().cast_unsigned(),
        file.mtime_nsec().cast_unsigned(),
    ];
    bytes.copy_from_slice(numbers.map(u64::to_le_bytes).as_flattened());
    Ok(bytes)
}
