//! The root file systems of small guests: the demo that says what it sees, and "hello".

use std::fs;
use std::path::{Path, PathBuf};

use super::cache::{Cache, Recipe};
use super::debian::DebianKernel;
use super::digest::Digest;
use super::error::Error;
use super::initramfs::Initramfs;
use super::progress::Progress;
use super::script::{PACKAGES_SH, Script, Source};

const BUSYBOX_SH: Source =
    ("rootfs/busybox.sh", include_str!("../../guest-images/rootfs/busybox.sh"));
const INIT: &str = include_str!("../../guest-images/rootfs/init");
/// Assembled by build.rs.
const MARK: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mark"));
const HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

/// So that a crashing guest can tell, and that one with virtio devices has them; in this order, for
/// some need those before them. What a kernel has built in is left out.
const MODULES: [&str; 15] = [
    "pvpanic",
    "pvpanic_mmio",
    "virtio",
    "virtio_ring",
    "virtio_mmio",
    "virtio_console",
    "virtio_balloon",
    "virtio_blk",
    "virtio_rng",
    "failover",
    "net_failover",
    "virtio_net",
    "vsock",
    "vmw_vsock_virtio_transport_common",
    "vmw_vsock_virtio_transport",
];

/// The archive's name in its cache entry.
const ARCHIVE: &str = "initramfs.cpio";

/// The demo guest's initramfs: busybox and `guest-images/rootfs/init`, which says what it does and how
/// the kernel's command line chooses. With one of Debian's kernels it has the modules by which a
/// crash of that kernel is reported and its disks and networks are found; without (`None`) it is for
/// kernels that need no modules.
pub fn demo_initramfs<'a>(
    cache: &Cache,
    kernel: impl Into<Option<&'a DebianKernel>>,
) -> Result<PathBuf, Error> {
    let kernel = kernel.into();
    let busybox = busybox(cache)?;
    let recipe = Recipe {
        kind: "demo".to_string(),
        digest: Digest::new()
            .part(INIT)
            .part(MARK)
            // Cache entries never change, so their names stand for what is in them.
            .part(entry_name(&busybox))
            .part(kernel.map_or(&[][..], |kernel| entry_name(&kernel.elf))),
    };
    archive(cache, recipe, || {
        let mut initramfs = Initramfs::with_console()?;
        for directory in ["bin", "lib", "lib/modules", "proc", "sys", "tmp"] {
            initramfs.directory(directory)?;
        }
        let program = fs::read(&busybox).map_err(Error::file("read", &busybox))?;
        initramfs.file("bin/busybox", 0o755, &program)?;
        initramfs.symlink("bin/sh", "busybox")?;
        initramfs.file("bin/mark", 0o755, MARK)?;
        if let Some(kernel) = kernel {
            for (name, module) in kernel.module_files(&MODULES)? {
                initramfs.file(&format!("lib/modules/{name}.ko"), 0o644, &module)?;
            }
        }
        initramfs.file("init", 0o755, INIT.as_bytes())?;
        initramfs.finish()
    })
}

/// The smallest guest's initramfs: one static program that writes the mark, says "hello from the
/// guest" and powers off. For any kernel.
pub fn hello_initramfs(cache: &Cache) -> Result<PathBuf, Error> {
    let recipe = Recipe { kind: "hello".to_string(), digest: Digest::new().part(HELLO) };
    archive(cache, recipe, || {
        let mut initramfs = Initramfs::with_console()?;
        initramfs.file("init", 0o755, HELLO)?;
        initramfs.finish()
    })
}

/// The name of the cache entry that the file is in.
fn entry_name(file: &Path) -> &[u8] {
    file.parent().and_then(Path::file_name).unwrap_or_default().as_encoded_bytes()
}

fn archive(
    cache: &Cache,
    recipe: Recipe,
    make: impl FnOnce() -> Result<Vec<u8>, Error>,
) -> Result<PathBuf, Error> {
    let progress = Progress::new("making the guest's root file system");
    let entry = cache.entry(recipe, &progress, |dir| {
        let path = dir.join(ARCHIVE);
        fs::write(&path, make()?).map_err(Error::file("write", &path))
    })?;
    Ok(entry.join(ARCHIVE))
}

/// The static busybox of Debian's package, not installed.
pub fn busybox(cache: &Cache) -> Result<PathBuf, Error> {
    let recipe = Recipe {
        kind: "busybox".to_string(),
        digest: Digest::new().part(PACKAGES_SH.1).part(BUSYBOX_SH.1),
    };
    let progress = Progress::new("getting busybox for the guest");
    let entry = cache.entry(recipe, &progress, |dir| {
        let script = Script {
            task: "get busybox for the guest".to_string(),
            main: BUSYBOX_SH,
            others: &[PACKAGES_SH],
            remedy: "see that this Debian has a network and sources for apt, or name an initramfs of your own with --initrd",
        };
        script.fill(dir, &[], cache, &progress)
    })?;
    Ok(entry.join("busybox"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_programs_are_static_executables_of_this_machine() {
        for program in [MARK, HELLO] {
            // ELF, 64 bits, little-endian; executable at a fixed address; x86-64.
            assert!(program.starts_with(b"\x7fELF\x02\x01"));
            assert_eq!(program[16..20], [2, 0, 0x3e, 0]);
            assert!(program.len() < 1024);
        }
    }

    #[test]
    fn the_hello_initramfs_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open_at(dir.path().join("cache")).unwrap();
        let path = hello_initramfs(&cache).unwrap();
        let archive = fs::read(&path).unwrap();
        assert!(archive.starts_with(b"070701"));
        assert!(archive.windows(HELLO.len()).any(|window| window == HELLO));
        assert_eq!(hello_initramfs(&cache).unwrap(), path);
    }
}
