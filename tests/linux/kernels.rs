//! The kernels that are booted, and how they are made from what the cache has.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use duplex::guest_images::{
    Cache, DebianKernel, Series, TunedKernel, debian_kernel, demo_initramfs, tuned_kernel,
};
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// A kernel in one of its forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    Debian61Elf,
    Debian61BzImage,
    Debian612Elf,
    Debian612BzImage,
    TunedElf,
    TunedElfWithoutPvh,
    TunedBzImage,
}

/// How a kernel file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Xz,
    Zstd,
    Lz4,
    Lz4Legacy,
}

enum Source {
    Debian(DebianKernel),
    Tuned(TunedKernel),
}

impl Kernel {
    fn source(self) -> Source {
        let cache = Cache::open().unwrap();
        match self {
            Kernel::Debian61Elf | Kernel::Debian61BzImage => {
                Source::Debian(debian_kernel(&cache, Series::V6_1).unwrap())
            }
            Kernel::Debian612Elf | Kernel::Debian612BzImage => {
                Source::Debian(debian_kernel(&cache, Series::V6_12).unwrap())
            }
            _ => Source::Tuned(tuned_kernel(&cache).unwrap()),
        }
    }

    /// The kernel file; those that must be made are made in `directory`.
    pub(crate) fn file(self, directory: &Path) -> PathBuf {
        match (self, self.source()) {
            (Kernel::Debian61Elf | Kernel::Debian612Elf, Source::Debian(kernel)) => kernel.elf,
            (_, Source::Debian(kernel)) => kernel.bzimage,
            (Kernel::TunedBzImage, Source::Tuned(kernel)) => kernel.bzimage,
            (Kernel::TunedElfWithoutPvh, Source::Tuned(kernel)) => {
                let path = directory.join("vmlinux-without-pvh");
                fs::write(&path, without_pvh_note(fs::read(kernel.elf).unwrap())).unwrap();
                path
            }
            (_, Source::Tuned(kernel)) => kernel.elf,
        }
    }

    /// The demo guest's initramfs for this kernel.
    pub(crate) fn initramfs(self) -> PathBuf {
        let cache = Cache::open().unwrap();
        match self.source() {
            Source::Debian(kernel) => demo_initramfs(&cache, &kernel).unwrap(),
            Source::Tuned(_) => demo_initramfs(&cache, None).unwrap(),
        }
    }

    /// What `uname -r` must say.
    pub(crate) fn release(self) -> String {
        match self.source() {
            Source::Debian(kernel) => kernel.release,
            Source::Tuned(_) => "6.12.".into(),
        }
    }
}

/// Makes Xen's PHYS32_ENTRY note one that nobody knows.
fn without_pvh_note(mut elf: Vec<u8>) -> Vec<u8> {
    let note = [18, 0, 0, 0, b'X', b'e', b'n', 0];
    let at = elf.windows(note.len()).position(|window| window == note).expect("a PVH note");
    elf[at] = 0xFF;
    elf
}

/// Compresses `path` into `directory`.
pub(crate) fn pack(path: &Path, packing: Packing, directory: &Path) -> PathBuf {
    let bytes = fs::read(path).unwrap();
    let packed = match packing {
        Packing::Gzip => gzip(&bytes),
        Packing::Zstd => compress_to_vec(&*bytes, CompressionLevel::Fastest),
        Packing::Xz => {
            let options = lzma_rust2::XzOptions::with_preset(0);
            let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            writer.write_all(&bytes).unwrap();
            writer.finish().unwrap()
        }
        Packing::Lz4 | Packing::Lz4Legacy => {
            let info =
                lz4_flex::frame::FrameInfo::new().legacy_frame(packing == Packing::Lz4Legacy);
            let mut writer = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            writer.write_all(&bytes).unwrap();
            writer.finish().unwrap()
        }
    };
    let packed_path = directory.join(format!("packed-{packing:?}"));
    fs::write(&packed_path, packed).unwrap();
    packed_path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// Debian's memtest86+, downloaded once for this checkout.
pub(crate) fn memtest() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("memtest86+");
    let image = directory.join("boot/memtest86+x64.bin");
    if !image.exists() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-images/apt/packages.sh");
        let get = format!("set -eu; . '{}'; unpack_package memtest86+ .", script.display());
        fs::create_dir_all(&directory).unwrap();
        let mut sh = Command::new("sh");
        let status = sh.arg("-c").arg(get).current_dir(&directory).status().unwrap();
        assert!(status.success(), "memtest86+ cannot be downloaded");
    }
    image
}
