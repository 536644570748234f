//! Which QEMU emulates the machine.

use crate::guest_images::{self, Cache, Emulator, Progress};
use crate::host::{find_program, version_of};

use super::error::Error;

/// The first version in which the threads of an emulated machine do not spoil each other's translated
/// code: see "Known faults" in docs/testbed.md.
const SOUND: (u32, u32) = (8, 1);

/// The QEMU that is installed; where that is Debian 12's, the one that Debian backports to it.
pub(super) fn find(cache: &Cache, progress: &Progress) -> Result<Emulator, Error> {
    let search = std::env::var_os("PATH");
    let program = find_program("qemu-system-x86_64".as_ref(), search.as_deref())
        .map_err(|_| Error::NoQemu)?;
    let said = version_of(&program, &["--version"]).unwrap_or_default();
    let installed = Emulator { program, firmware: None };
    if !is_debian_12() || version(&said).is_none_or(|version| version >= SOUND) {
        return Ok(installed);
    }
    Ok(guest_images::backported_qemu(cache).unwrap_or_else(|error| {
        progress.step(&format!("{said} will do, and loses a guest now and then: {error}"));
        installed
    }))
}

/// "QEMU emulator version 7.2.22 (Debian …)" is (7, 2).
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.split_once("version ")?.1.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// By os-release(5).
fn is_debian_12() -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line == "VERSION_CODENAME=bookworm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        let said = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)";
        assert_eq!(version(said), Some((7, 2)));
        assert_eq!(version("QEMU emulator version 10.0.2"), Some((10, 0)));
        assert!(version(said).unwrap() < SOUND);
        for said in ["", "QEMU", "version x.y"] {
            assert_eq!(version(said), None);
        }
    }
}
