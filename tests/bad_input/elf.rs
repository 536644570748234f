//! ELF files that are no kernels for this machine, or lie.

use super::harness::{Case, Workbench};
use super::samples::elf::{NOTES, PT_TLS, START, note};
use super::samples::{Elf, ProgramHeader};

const SIZE: u64 = 0x2000;
const PAGE: u64 = 0x1000;
const GIB: u64 = 1 << 30;
const XEN_PHYS32_ENTRY: u32 = 18;

pub(crate) fn cases(bench: &Workbench) -> Vec<Case> {
    [wrong_files(), lying_segments(), lying_entries(), lying_notes()]
        .concat()
        .into_iter()
        .map(|(name, elf)| bench.kernel(&format!("elf-{name}"), elf.build()))
        .collect()
}

type Bad = (&'static str, Elf);

fn good() -> Elf {
    Elf::kernel(vec![0xF4; 0x2000])
}

fn load(paddr: u64) -> ProgramHeader {
    ProgramHeader::load(paddr, SIZE)
}

fn wrong_files() -> Vec<Bad> {
    vec![
        ("arm64", Elf { machine: 183, ..good() }),
        ("riscv", Elf { machine: 243, ..good() }),
        ("sparc", Elf { machine: 43, ..good() }),
        ("32-bit", Elf { class: 1, machine: 3, ..good() }),
        ("big-endian", Elf { data: 2, machine: 21_u16.swap_bytes(), ..good() }),
        ("module", Elf { kind: 1, ..good() }),
        ("core-dump", Elf { kind: 4, ..good() }),
        ("static-program", good().segments(&[load(START), tls()])),
        ("huge-phnum", Elf { phnum: Some(u16::MAX), ..good() }),
        ("phoff-wraps", Elf { phoff: u64::MAX - 16, ..good() }),
        ("phoff-beyond", Elf { phoff: 1 << 40, ..good() }),
        ("phentsize", Elf { phentsize: 32, ..good() }),
        ("no-segments", good().segments(&[])),
    ]
}

fn tls() -> ProgramHeader {
    ProgramHeader { kind: PT_TLS, ..load(START) }
}

fn lying_segments() -> Vec<Bad> {
    let first = load(START);
    let with = |second: ProgramHeader| good().segments(&[first, second]);
    vec![
        ("segments-overlap", with(load(START + PAGE))),
        ("segments-same", with(first)),
        ("segment-wraps", with(load(u64::MAX - PAGE + 1))),
        ("segment-offset-wraps", with(ProgramHeader { offset: u64::MAX - 8, ..load(2 * START) })),
        ("segment-larger-in-file", with(ProgramHeader { memsz: 16, ..load(2 * START) })),
        ("segment-beyond-file", with(ProgramHeader { offset: 0x8000, ..load(2 * START) })),
        ("segment-in-hole", with(load(3 * GIB + GIB / 2))),
        ("segment-into-hole", with(load(3 * GIB - PAGE))),
        ("segment-below-1-mib", with(load(0x7000))),
        ("segment-into-1-mib", with(load((1 << 20) - PAGE))),
        ("segment-beyond-memory", with(load(GIB))),
        ("segment-over-memory-end", with(load((256 << 20) - PAGE))),
        ("segment-huge", with(ProgramHeader { memsz: 1 << 62, ..load(2 * START) })),
    ]
}

fn lying_entries() -> Vec<Bad> {
    vec![
        ("entry-outside", Elf { entry: START + SIZE, ..good() }),
        ("entry-zero", Elf { entry: 0, ..good() }),
        ("entry-virtual", Elf { entry: 0xFFFF_FFFF_8100_0000, ..good() }),
        ("pvh-entry-outside", good().with_notes(pvh_note(&0_u32.to_le_bytes()))),
        ("pvh-entry-above-4-gib", good().with_notes(pvh_note(&(5 * GIB).to_le_bytes()))),
        ("pvh-entry-size", good().with_notes(pvh_note(&[0; 2]))),
    ]
}

fn pvh_note(entry: &[u8]) -> Vec<u8> {
    note(XEN_PHYS32_ENTRY, b"Xen\0", entry)
}

fn lying_notes() -> Vec<Bad> {
    let notes = |header| good().segments(&[load(START), header]);
    let cut_off = ProgramHeader { offset: NOTES + (1 << 30), ..ProgramHeader::notes(64) };
    let wraps = ProgramHeader { offset: u64::MAX - 8, ..ProgramHeader::notes(64) };
    let mut endless = pvh_note(&[0; 4]);
    // The name's size.
    endless[..4].fill(0xFF);
    vec![
        ("notes-huge", notes(ProgramHeader::notes(1 << 40))),
        ("notes-beyond-file", notes(cut_off)),
        ("notes-wrap", notes(wraps)),
        ("notes-endless-name", Elf { entry: 0, ..good().with_notes(endless) }),
    ]
}
