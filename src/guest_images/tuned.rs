//! The tuned kernel: Linux 6.12 from Debian's source package, with a configuration that has what
//! guests here use and nothing else, so that it boots with a small part of the instructions.
//!
//! docs/kernel.md says what each group of options bought.

use std::path::{Path, PathBuf};

use super::cache::{Cache, Recipe};
use super::digest::Digest;
use super::error::Error;
use super::progress::Progress;
use super::script::{PACKAGES_SH, Script, Source};

const BUILD_SH: Source = ("kernel/build.sh", include_str!("../../guest-images/kernel/build.sh"));
const FRAGMENT: Source =
    ("kernel/fragment.config", include_str!("../../guest-images/kernel/fragment.config"));

/// The tuned kernel, built and in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunedKernel {
    /// The stripped ELF, with a PVH note.
    pub elf: PathBuf,
    /// The same kernel as bzImage.
    pub bzimage: PathBuf,
    /// Its complete configuration.
    pub config: PathBuf,
}

impl TunedKernel {
    fn in_entry(entry: &Path) -> Self {
        Self {
            elf: entry.join("vmlinux"),
            bzimage: entry.join("bzImage"),
            config: entry.join("config"),
        }
    }
}

/// The tuned kernel if it has been built.
pub fn find_tuned_kernel(cache: &Cache) -> Option<TunedKernel> {
    cache.find(recipe()).map(|entry| TunedKernel::in_entry(&entry))
}

/// The tuned kernel: from the cache, else built, which takes minutes and about 1 GB of disk while it
/// goes on.
pub fn tuned_kernel(cache: &Cache) -> Result<TunedKernel, Error> {
    let progress = Progress::new("building the tuned kernel");
    let entry = cache.entry(recipe(), &progress, |dir| {
        let script = Script {
            task: "build the tuned kernel".to_string(),
            main: BUILD_SH,
            others: &[PACKAGES_SH, FRAGMENT],
            remedy: "see that this Debian has a network, sources for apt and the build tools named above, or name a kernel of your own with --kernel",
        };
        script.fill(dir, &[], cache, &progress)
    })?;
    Ok(TunedKernel::in_entry(&entry))
}

/// Versions of source and compiler are inputs: the script lists them.
fn recipe() -> Recipe {
    Recipe {
        kind: "tuned-6.12".to_string(),
        digest: Digest::new().part(PACKAGES_SH.1).part(BUILD_SH.1).part(FRAGMENT.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Named twice, the last one would win without a word.
    #[test]
    fn the_fragment_names_each_option_once() {
        let mut seen = HashSet::new();
        for line in FRAGMENT.1.lines() {
            let option = match line.strip_prefix("# CONFIG_") {
                Some(off) => off.strip_suffix(" is not set"),
                None => line.strip_prefix("CONFIG_").and_then(|on| on.split('=').next()),
            };
            if let Some(option) = option {
                assert!(seen.insert(option), "{option} is there twice");
            }
        }
        assert!(seen.len() > 100);
    }
}
