//! Real kernels that nobody here wrote, in the testbed or on hardware: each reaches user space,
//! proven by what its init prints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod balloon;
#[path = "../common/mod.rs"]
mod common;
mod console;
mod debian_root;
mod disks;
mod ends;
mod file_systems;
mod fio;
mod guest;
mod kernels;
mod networks;
mod power_cut;
mod run;
mod sockets;
mod tools;

use common::terminal::Terminal;
use common::{soak, testbed};
use guest::{Boot, Initrd, in_emulation};
use kernels::{Kernel, Packing};

/// The kernels, each in every form that a loader tells apart.
const DEBIAN: [Kernel; 4] =
    [Kernel::Debian61Elf, Kernel::Debian61BzImage, Kernel::Debian612Elf, Kernel::Debian612BzImage];
const TUNED: [Kernel; 3] = [Kernel::TunedElf, Kernel::TunedElfWithoutPvh, Kernel::TunedBzImage];

fn reaches_user_space(boot: &Boot) {
    in_emulation(boot, || boot.run().assert_user_space(boot));
}

#[test]
fn debians_kernels_boot_as_bzimage_and_as_elf() {
    for kernel in DEBIAN {
        reaches_user_space(&Boot::new(kernel));
    }
}

#[test]
fn the_tuned_kernel_boots_by_pvh_by_the_64_bit_protocol_and_as_bzimage() {
    for kernel in TUNED {
        reaches_user_space(&Boot::new(kernel));
    }
}

#[test]
fn compressed_kernels_boot() {
    for packing in [Packing::Gzip, Packing::Xz, Packing::Zstd, Packing::Lz4, Packing::Lz4Legacy] {
        reaches_user_space(&Boot::new(Kernel::TunedElf).packed(packing));
    }
    reaches_user_space(&Boot::new(Kernel::TunedBzImage).packed(Packing::Gzip));
}

#[test]
fn every_form_of_initrd_arrives() {
    for initrd in [Initrd::Plain, Initrd::Gzip, Initrd::Zstd] {
        reaches_user_space(&Boot::new(Kernel::TunedElf).initrd(initrd));
        if initrd != Initrd::Plain {
            reaches_user_space(&Boot::new(Kernel::Debian612Elf).initrd(initrd));
        }
    }
}

#[test]
fn all_vcpus_come_online() {
    for cpus in [2, 4, 8] {
        reaches_user_space(&Boot::new(Kernel::TunedElf).cpus(cpus));
        if cpus != 4 || soak() {
            reaches_user_space(&Boot::new(Kernel::Debian612Elf).cpus(cpus));
            reaches_user_space(&Boot::new(Kernel::Debian61Elf).cpus(cpus));
        }
    }
}

#[test]
fn all_memory_arrives() {
    for mib in [64, 512, 3 << 10, 5 << 10] {
        reaches_user_space(&Boot::new(Kernel::TunedElf).memory(mib));
        if mib != 512 || soak() {
            reaches_user_space(&Boot::new(Kernel::Debian61Elf).memory(mib.max(128)));
        }
    }
}

#[test]
fn without_acpi_the_mp_table_brings_up_every_vcpu_of_a_kernel_that_reads_it() {
    for kernel in TUNED {
        reaches_user_space(&Boot::new(kernel).cpus(4).word("acpi=off"));
    }
    // Debian's kernels have no MP table parser: one CPU.
    for kernel in [Kernel::Debian61Elf, Kernel::Debian612Elf] {
        reaches_user_space(&Boot::new(kernel).cpus(4).word("acpi=off").sees_cpus(1));
    }
}

#[test]
fn the_whole_matrix() {
    if !soak() {
        common::say("SKIPPED: the whole matrix is part of make soak");
        return;
    }
    // Each kernel with each number of vCPUs and each size of memory; the initrd's form goes round.
    let mut forms = [Initrd::Plain, Initrd::Gzip, Initrd::Zstd].into_iter().cycle();
    for kernel in DEBIAN.into_iter().chain(TUNED) {
        for cpus in [1, 2, 4, 8] {
            for mib in [128, 512, 3 << 10, 5 << 10] {
                let boot = Boot::new(kernel).cpus(cpus).memory(mib);
                reaches_user_space(&boot.initrd(forms.next().unwrap()));
            }
        }
    }
}

#[test]
fn something_that_is_no_linux_comes_up_on_the_serial_console() {
    in_emulation(&"memtest86+", || {
        let memtest = kernels::memtest();
        let mut command = testbed::duplex(testbed::shared());
        command
            .args(["boot", "--kernel", common::text(&memtest), "--memory", "64M"])
            .args(["--cmdline", "console=ttyS0,115200"]);
        let mut terminal = Terminal::start(&mut command);
        terminal.wait_for("Memtest86+");
        terminal.wait_for("Testing");
        terminal.type_in(b"\x01x");
        assert_eq!(terminal.end().code(), Some(0));
        assert!(terminal.is_as_before());
    });
}
