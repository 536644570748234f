//! Debian's kernels for cloud guests, downloaded and unpacked, not installed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::cache::{Cache, Recipe};
use super::digest::Digest;
use super::error::Error;
use super::payload::elf_from_bzimage;
use super::progress::Progress;
use super::script::{PACKAGES_SH, Script, Source};
use crate::compression::Compression;

const DEBIAN_SH: Source = ("kernel/debian.sh", include_str!("../../guest-images/kernel/debian.sh"));

/// Change it when this file makes something else of the same package.
const RECIPE_VERSION: &str = "1";

/// No module is larger.
const MAX_MODULE: u64 = 64 << 20;

/// A kernel series that Debian ships for cloud guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// Linux 6.1, of Debian 12.
    V6_1,
    /// Linux 6.12, of Debian 13, and of Debian 12 as a newer choice.
    V6_12,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        })
    }
}

/// One of Debian's kernels, unpacked in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebianKernel {
    /// What `uname -r` says in it, such as "6.1.0-56-cloud-amd64".
    pub release: String,
    /// The kernel as Debian ships it.
    pub bzimage: PathBuf,
    /// The ELF kernel in it, with a PVH note.
    pub elf: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// The directory that it expects as /lib/modules/RELEASE.
    pub modules: PathBuf,
}

impl DebianKernel {
    /// The modules of these names and nothing but them, unpacked, in the given order; a name that
    /// the kernel has no module for is left out (it may be built in). Module names have underscores
    /// where files may have dashes; either is accepted.
    pub fn module_files(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>, Error> {
        // One line a module: its file's path below the modules directory.
        let order = self.modules.join("modules.order");
        let list = fs::read_to_string(&order).map_err(Error::file("read", &order))?;
        let mut found = Vec::new();
        for name in names {
            let wanted = name.replace('-', "_");
            let Some(line) = list.lines().find(|line| module_name(line) == wanted) else {
                continue;
            };
            found.push((wanted, self.module_file(line)?));
        }
        Ok(found)
    }

    /// Reads the module whose path in `modules.order` is `listed`: there it ends in .ko, on disk an
    /// ending for its compression may follow.
    fn module_file(&self, listed: &str) -> Result<Vec<u8>, Error> {
        let plain = self.modules.join(listed);
        let mut compressed = plain.clone().into_os_string();
        compressed.push(".xz");
        let path = if plain.exists() { plain } else { compressed.into() };
        let bytes = fs::read(&path).map_err(Error::file("read", &path))?;
        let Some(compression) = Compression::recognise(&bytes) else { return Ok(bytes) };
        let mut module = Vec::new();
        match compression.unpack(bytes.as_slice(), &mut module, MAX_MODULE) {
            Ok(()) => Ok(module),
            Err(source) => Err(Error::Module { path, source }),
        }
    }

    fn in_entry(entry: &Path) -> Result<Self, Error> {
        let release = entry.join("release");
        Ok(Self {
            release: fs::read_to_string(&release)
                .map_err(Error::file("read", &release))?
                .trim()
                .to_string(),
            bzimage: entry.join("bzImage"),
            elf: entry.join("vmlinux"),
            config: entry.join("config"),
            modules: entry.join("modules"),
        })
    }
}

/// Debian's cloud kernel of this series: from the cache, else downloaded, which takes as long as 27
/// or 35 MB take.
pub fn debian_kernel(cache: &Cache, series: Series) -> Result<DebianKernel, Error> {
    let recipe = Recipe {
        kind: format!("debian-{series}"),
        digest: Digest::new().part(RECIPE_VERSION).part(PACKAGES_SH.1).part(DEBIAN_SH.1),
    };
    let progress = Progress::new(format!("getting Debian's kernel {series}"));
    let entry = cache.entry(recipe, &progress, |dir| {
        let script = Script {
            task: format!("get Debian's kernel {series}"),
            main: DEBIAN_SH,
            others: &[PACKAGES_SH],
            remedy: "see that this Debian has a network and sources for apt, or name a kernel of your own with --kernel",
        };
        script.fill(dir, &[&series.to_string()], cache, &progress)?;
        progress.step("unpacking the kernel");
        unpack_elf(&dir.join("bzImage"), &dir.join("vmlinux"))
    })?;
    DebianKernel::in_entry(&entry)
}

fn unpack_elf(bzimage: &Path, elf: &Path) -> Result<(), Error> {
    let image = fs::read(bzimage).map_err(Error::file("read", bzimage))?;
    let kernel = elf_from_bzimage(&image)
        .map_err(|source| Error::Payload { path: bzimage.to_path_buf(), source })?;
    fs::write(elf, kernel).map_err(Error::file("write", elf))
}

/// The name of the module in the file `path`: "kernel/drivers/misc/pvpanic/pvpanic-mmio.ko" is
/// "pvpanic_mmio".
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".ko").unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel_with_modules(dir: &Path) -> DebianKernel {
        fs::create_dir(dir.join("modules")).unwrap();
        fs::write(dir.join("release"), "6.1.0-1-cloud-amd64\n").unwrap();
        fs::write(dir.join("modules/modules.order"), "a/plain-one.ko\na/packed.ko\n").unwrap();
        fs::create_dir(dir.join("modules/a")).unwrap();
        fs::write(dir.join("modules/a/plain-one.ko"), "one").unwrap();
        let packed = include_bytes!("testdata/three-lines.xz");
        fs::write(dir.join("modules/a/packed.ko.xz"), packed).unwrap();
        DebianKernel::in_entry(dir).unwrap()
    }

    #[test]
    fn modules_are_found_by_name_and_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = kernel_with_modules(dir.path());
        assert_eq!(kernel.release, "6.1.0-1-cloud-amd64");
        let found = kernel.module_files(&["packed", "built-in", "plain_one"]).unwrap();
        let expected: [(String, Vec<u8>); 2] = [
            ("packed".to_string(), b"duplex\n".repeat(3)),
            ("plain_one".to_string(), b"one".to_vec()),
        ];
        assert_eq!(found, expected);
    }
}
