//! What VMMs other than `duplex run` boot: the tuned kernel, and the image as an initramfs.
//!
//! `duplex run` gives its guest the image as a disk and speaks with its init over vsock. Others get the same
//! image as an initramfs, whose init is the probe: that needs no device but the serial port, which all of them
//! have, and the probe's output comes over it.

use std::fs;

use super::workshop::{Guest, IMAGE_DIRECTORIES, PROBE, Workshop, write};
use crate::guest_images::{Cache, Initramfs, find_tuned_kernel};

/// The first word that the probe is called with as a guest's init.
const AS_INIT: &str = "as-init";

impl Guest {
    /// Makes the initramfs.
    ///
    /// # Errors
    /// There is no tuned kernel, or a file cannot be written.
    pub fn make(workshop: &Workshop) -> Result<Self, String> {
        let cache = Cache::open().map_err(|error| error.to_string())?;
        let kernel = find_tuned_kernel(&cache)
            .ok_or("there is no tuned kernel: `make tuned-kernel` builds it")?;
        let initramfs = workshop.place.join("initramfs.cpio");
        let archive = archive(workshop).map_err(|error| error.to_string())?;
        write(&initramfs, &archive, 0o644)?;
        Ok(Self { kernel: kernel.elf, initramfs })
    }

    /// The kernel's command line for a job.
    ///
    /// # Errors
    /// The command has a word that cannot be passed on one.
    pub fn cmdline(&self, argv: &[String], settings: &Settings) -> Result<String, String> {
        let odd = |word: &&String| {
            word.is_empty() || word.contains(|c: char| c.is_whitespace() || c == '"')
        };
        if let Some(word) = argv.iter().find(odd) {
            return Err(format!("'{word}' cannot be passed on a kernel's command line"));
        }
        let quiet = if settings.serial_console { "" } else { " quiet" };
        let write = settings.power_off.map_or(String::new(), |port| format!(" --write {port}"));
        let reboot = settings.reboot;
        let command = argv.join(" ");
        Ok(format!(
            "console=ttyS0 panic=-1 reboot={reboot}{quiet} rdinit=/init -- {AS_INIT}{write} {command}"
        ))
    }
}

/// How a machine is to speak and to end.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether the kernel says what it does.
    pub serial_console: bool,
    /// How the kernel resets the machine, as its option `reboot=` has it.
    pub reboot: &'static str,
    /// An I/O port, and what switches the machine off when it is written there: `PORT=BYTE`.
    pub power_off: Option<&'static str>,
}

fn archive(workshop: &Workshop) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut archive = Initramfs::with_console()?;
    for directory in IMAGE_DIRECTORIES.iter().filter(|name| !matches!(**name, "" | "dev")) {
        archive.directory(directory)?;
    }
    let program = fs::read(workshop.in_image(PROBE))?;
    archive.file(PROBE.trim_start_matches('/'), 0o755, &program)?;
    archive.symlink("init", PROBE)?;
    Ok(archive.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_passes_the_job_to_the_probe() {
        let guest = Guest { kernel: "k".into(), initramfs: "i".into() };
        let argv = [PROBE.to_owned(), "cpu".to_owned()];
        let mut settings = Settings { serial_console: false, reboot: "t", power_off: None };
        assert_eq!(
            guest.cmdline(&argv, &settings).unwrap(),
            "console=ttyS0 panic=-1 reboot=t quiet rdinit=/init -- as-init /bin/duplex-probe cpu"
        );
        settings.serial_console = true;
        settings.power_off = Some("1536=52");
        assert_eq!(
            guest.cmdline(&argv, &settings).unwrap(),
            "console=ttyS0 panic=-1 reboot=t rdinit=/init -- as-init --write 1536=52 /bin/duplex-probe cpu"
        );
        assert!(guest.cmdline(&["a b".to_owned()], &settings).is_err());
    }
}
