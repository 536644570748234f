//! The testbed's initramfs: this very program as /init, and the kernel modules it loads.

use std::fs;
use std::io;

use object::elf::PT_LOAD;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf::FileHeader64};

use super::error::Error;
use crate::failure::Step;
use crate::guest_images::{DebianKernel, Initramfs};

/// The directory of the modules in the initramfs.
pub(super) const MODULES: &str = "modules";

/// The file that lists them, one a line, in the order in which they are to be loaded.
pub(super) const MODULE_ORDER: &str = "modules/order";

/// What the testbed's kernel needs, each after what it depends on. What is built in has no file
/// and is left out.
const WANTED: [&str; 25] = [
    // The bus of all devices, then the devices: channels, disks, the host's file system.
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "fuse",
    "virtiofs",
    // Writing to memory above a root that is read-only.
    "overlay",
    // What it is all about. kvm_amd fails on a CPU model without SVM, and nested paging is its
    // default.
    "irqbypass",
    "kvm",
    "kvm_amd",
    // Networks for guests and containers.
    "tun",
    "tap",
    "llc",
    "stp",
    "bridge",
    "veth",
    "vhost_iotlb",
    "vhost",
    "vhost_net",
    // A channel into guests.
    "vsock",
    "vmw_vsock_virtio_transport_common",
    "vhost_vsock",
];

/// Puts the archive together.
pub(super) fn build(kernel: &DebianKernel) -> Result<Vec<u8>, Error> {
    let mut archive = Initramfs::with_console()?;
    for directory in ["proc", "sys", "root", MODULES] {
        archive.directory(directory)?;
    }
    let program = fs::read("/proc/self/exe").step("read this program")?;
    let program = without_debug_information(&program).step("understand this program")?;
    archive.file("init", 0o755, &program)?;
    let mut order = String::new();
    for (name, content) in kernel.module_files(&WANTED)? {
        archive.file(&format!("{MODULES}/{name}"), 0o600, &content)?;
        order.push_str(&name);
        order.push('\n');
    }
    archive.file(MODULE_ORDER, 0o600, order.as_bytes())?;
    Ok(archive.finish()?)
}

/// The part of an ELF program that is loaded when it runs. Debug information and section headers
/// lie behind it and can be ten times as large; nobody debugs /init from the inside.
fn without_debug_information(program: &[u8]) -> io::Result<Vec<u8>> {
    let parse = || -> object::Result<Vec<u8>> {
        let header = FileHeader64::<Endianness>::parse(program)?;
        let endian = header.endian()?;
        let ends = header
            .program_headers(endian, program)?
            .iter()
            .filter(|segment| segment.p_type(endian) == PT_LOAD)
            .map(|segment| segment.p_offset(endian).saturating_add(segment.p_filesz(endian)));
        let end = ends.max().and_then(|end| usize::try_from(end).ok()).unwrap_or(program.len());
        let mut loaded = program.get(..end).unwrap_or(program).to_vec();
        // Field positions in Elf64_Ehdr: e_shoff at 40, e_shnum and e_shstrndx at 60 and 62.
        for range in [40..48, 60..64] {
            if let Some(field) = loaded.get_mut(range) {
                field.fill(0);
            }
        }
        Ok(loaded)
    };
    parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn a_program_runs_without_what_is_not_loaded() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("program");
        let whole = fs::read("/bin/true").unwrap();
        fs::write(&path, without_debug_information(&whole).unwrap()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Command::new(&path).status().unwrap().success());
        assert!(without_debug_information(b"no program").is_err());
    }
}
