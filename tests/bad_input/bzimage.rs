//! bzImages that are too old, or whose headers lie.

use super::harness::{Case, Workbench};
use super::samples::BzImage;

pub(crate) fn cases(bench: &Workbench) -> Vec<Case> {
    bad()
        .into_iter()
        .map(|(name, kernel)| bench.kernel(&format!("bzimage-{name}"), kernel.build()))
        .chain([no_room_for_a_command_line(bench)])
        .collect()
}

fn good() -> BzImage {
    BzImage::kernel(vec![0xF4; 0x4000])
}

fn bad() -> Vec<(&'static str, BzImage)> {
    vec![
        ("protocol-2.00", BzImage { version: 0x0200, ..good() }),
        ("protocol-2.11", BzImage { version: 0x020B, ..good() }),
        ("32-bit", BzImage { xloadflags: 0, ..good() }),
        ("short-header", BzImage { header_length: 0x10, ..good() }),
        ("empty-header", BzImage { header_length: 0, ..good() }),
        ("no-signature", BzImage { boot_flag: 0, ..good() }),
        ("zimage", BzImage { loadflags: 0, ..good() }),
        ("syssize-beyond-file", BzImage { syssize: Some(0x401), ..good() }),
        ("syssize-huge", BzImage { syssize: Some(u32::MAX), ..good() }),
        ("syssize-0", BzImage { syssize: Some(0), ..good() }),
        ("setup-only", BzImage { body: Vec::new(), ..good() }),
        ("init-size-0", BzImage { init_size: 0, ..good() }),
        ("init-size-huge", BzImage { init_size: u32::MAX, ..good() }),
        ("alignment-0", BzImage { kernel_alignment: 0, ..good() }),
        ("alignment-3", BzImage { kernel_alignment: 0x30_0000, ..good() }),
        ("alignment-1", BzImage { kernel_alignment: 1, ..good() }),
        ("alignment-huge", BzImage { kernel_alignment: 1 << 31, ..unmovable(1 << 40) }),
        ("address-wraps", unmovable(u64::MAX - 0x1000)),
        ("address-0", unmovable(0)),
        ("address-in-hole", unmovable(0xE000_0000)),
        ("address-above-4-gib", unmovable(5 << 30)),
    ]
}

fn unmovable(pref_address: u64) -> BzImage {
    BzImage { relocatable_kernel: 0, pref_address, ..good() }
}

fn no_room_for_a_command_line(bench: &Workbench) -> Case {
    let case = bench.kernel("bzimage-cmdline-0", BzImage { cmdline_size: 0, ..good() }.build());
    Case { about: "command line".to_owned(), ..case }
}
