//! The testbed's emulator, where Debian's own is one that loses guests.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cache::{Cache, Recipe};
use super::digest::Digest;
use super::error::Error;
use super::progress::Progress;
use super::script::{PACKAGES_SH, Script, Source};

const QEMU_SH: Source = ("emulator/qemu.sh", include_str!("../../guest-images/emulator/qemu.sh"));

/// A QEMU for x86-64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// The program.
    pub program: PathBuf,
    /// The directory with its firmware; none where it finds that itself.
    pub firmware: Option<PathBuf>,
}

/// The QEMU that Debian backports to Debian 12: from the cache, else downloaded (12 MB) and unpacked.
pub fn backported_qemu(cache: &Cache) -> Result<Emulator, Error> {
    let recipe = Recipe {
        kind: "qemu".to_string(),
        digest: Digest::new().part(PACKAGES_SH.1).part(QEMU_SH.1),
    };
    let progress = Progress::new("getting QEMU of Debian's backports");
    let entry = cache.entry(recipe, &progress, |dir| {
        let script = Script {
            task: "get QEMU of Debian's backports".to_string(),
            main: QEMU_SH,
            others: &[PACKAGES_SH],
            remedy: "see that this Debian 12 has a network and sources for apt",
        };
        script.fill(dir, &[], cache, &progress)
    })?;
    Ok(Emulator {
        program: entry.join("qemu-system-x86_64"),
        firmware: Some(entry.join("firmware")),
    })
}
