//! A root file system with Debian's programs for testing and measuring devices.

use std::fs;
use std::path::PathBuf;

use super::cache::{Cache, Recipe};
use super::demo::busybox;
use super::digest::Digest;
use super::error::Error;
use super::progress::Progress;
use super::script::{PACKAGES_SH, Script, Source};

const TOOLS_SH: Source = ("rootfs/tools.sh", include_str!("../../guest-images/rootfs/tools.sh"));
const INIT: &str = include_str!("../../guest-images/rootfs/tools-init");

/// An ext4 image, to be read only: fio, iperf3, ethtool, e2fsprogs' mkfs.ext4 and fsck.ext4, and a
/// busybox. Its init runs the shell script that a disk holds, named by `duplex.script=/dev/vdb` on the
/// kernel's command line. From the cache, else made of Debian's packages (43 MB).
pub fn tools_image(cache: &Cache) -> Result<PathBuf, Error> {
    let busybox = busybox(cache)?;
    let recipe = Recipe {
        kind: "tools".to_string(),
        digest: Digest::new().part(PACKAGES_SH.1).part(TOOLS_SH.1).part(INIT),
    };
    let progress = Progress::new("getting fio, iperf3 and others for guests");
    let entry = cache.entry(recipe, &progress, |dir| {
        let init = dir.join("init");
        fs::write(&init, INIT).map_err(Error::file("write", &init))?;
        let script = Script {
            task: "get fio, iperf3 and others for guests".to_string(),
            main: TOOLS_SH,
            others: &[PACKAGES_SH],
            remedy: "see that this Debian has a network and sources for apt",
        };
        let inputs = [&busybox, &init].map(|path| path.display().to_string());
        script.fill(dir, &inputs.each_ref().map(String::as_str), cache, &progress)
    })?;
    Ok(entry.join("tools.ext4"))
}
