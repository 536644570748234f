//! Kernels that end too soon, as an interrupted download does.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use super::harness::{Case, Workbench};
use super::samples::packed::FORMATS;
use super::samples::{BzImage, Elf, noise};

/// How much of a file's start is tried, in bytes.
const TRIED: usize = 64 << 10;
const STEP: usize = 4 << 10;
/// A body that is longer than what is tried, and stays so when it is packed.
const BODY: usize = 80 << 10;

pub(crate) fn cases(bench: &Workbench) -> Vec<Case> {
    let elf = Elf::kernel(noise(BODY)).build();
    let mut kernels = vec![
        ("elf".to_owned(), elf.clone()),
        ("pvh".to_owned(), Elf::pvh(noise(BODY)).build()),
        ("bzimage".to_owned(), BzImage::kernel(noise(BODY)).build()),
    ];
    kernels.extend(FORMATS.map(|(format, pack)| (format.to_owned(), pack(&elf))));
    kernels.extend(debian_kernels());
    kernels
        .iter()
        .flat_map(|(name, kernel)| {
            (0..TRIED).step_by(STEP).map(move |length| {
                bench.kernel(&format!("{name}-cut-off-at-{length:#x}"), &kernel[..length])
            })
        })
        .collect()
}

/// The start of every Debian kernel that the guest image cache has.
fn debian_kernels() -> Vec<(String, Vec<u8>)> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home);
    let entries = cache.and_then(|cache| cache.join("duplex").read_dir().ok());
    let directories = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    let debian = directories.filter(|path| path.to_string_lossy().contains("/debian-"));
    debian
        .flat_map(|directory| ["bzImage", "vmlinux"].map(|file| directory.join(file)))
        .filter_map(|path| {
            let mut start = Vec::new();
            File::open(&path).ok()?.take(TRIED as u64).read_to_end(&mut start).ok()?;
            let version = path.parent()?.file_name()?.to_string_lossy().into_owned();
            Some((format!("{version}/{}", path.file_name()?.to_string_lossy()), start))
        })
        .collect()
}
