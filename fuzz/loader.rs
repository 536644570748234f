//! Takes any bytes for a kernel and does with them all that `duplex boot` does before there is a VM:
//! recognise, unpack, check, place, load. Whatever is not refused must end up in the guest's memory
//! as the headers say, beside an initrd and the boot data.
//!
//! One file for the fuzzer's target and for the tests' run over its seeds.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use duplex::vm::boot::kernel::Kernel;
use duplex::vm::boot::load::{self, Loaded};
use duplex::vm::boot::plan::{Entry, Piece, Plan};
use duplex::vm::boot::source::ReadAt;
use duplex::vm::boot::{pvh, registers, zero_page};
use duplex::vm::layout::{self, FIRST_MAPPED, HIGH_RAM, Range};
use duplex::vm::memory;
use nix::sys::memfd::{MFdFlags, memfd_create};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// What compressed bytes may unpack to here: a bound on the time for one input.
const MAX_UNPACKED: u64 = 4 << 20;
const MEMORY: &str = "64M";
/// Not a whole number of pages.
const INITRD: [u8; 5000] = [0xC5; 5000];

/// Loads `bytes`; returns whether they were loaded. To be refused is all right.
///
/// # Panics
/// Something was loaded wrongly.
pub(crate) fn load(bytes: &[u8]) -> bool {
    let Ok(kernel) = Kernel::from_file_within(file(bytes), MAX_UNPACKED) else { return false };
    let initrd = file(&INITRD);
    let path = PathBuf::from(format!("/proc/self/fd/{}", initrd.as_raw_fd()));
    let cmdline = "console=ttyS0".parse().expect("a command line");
    let size = MEMORY.parse().expect("a memory size");
    let Ok(plan) = Plan::new(kernel, Some(&path), cmdline, size, 0) else { return false };
    check_places(&plan);
    let memory = memory::allocate(plan.memory).expect("memory");
    let loaded = load::load(&memory, &plan).expect("the plan holds");
    check_content(&plan, &memory, loaded);
    match plan.entry {
        Entry::Pvh(_) => pvh::write(&memory, &plan).expect("start info"),
        _ => zero_page::write(&memory, &plan).expect("zero page"),
    }
    registers::write_tables(&memory, plan.entry).expect("first tables");
    true
}

fn file(bytes: &[u8]) -> File {
    let mut file = File::from(memfd_create("fuzz", MFdFlags::MFD_CLOEXEC).expect("memfd"));
    file.write_all(bytes).expect("memory for a file");
    file
}

/// Everything lies in RAM, above the boot data, and apart; the entry lies where it can be reached.
fn check_places(plan: &Plan) {
    let ram = layout::ram(plan.memory.bytes());
    let mut places: Vec<Range> = plan
        .pieces
        .iter()
        .map(|piece| Range::sized(piece.gpa, piece.size).expect("no wrap-around"))
        .collect();
    let initrd = plan.initrd.as_ref().expect("an initrd was given").gpa;
    assert_eq!(initrd.start % layout::PAGE, 0);
    places.push(initrd);
    for place in &places {
        assert!(
            place.start >= HIGH_RAM && ram.iter().any(|ram| ram.contains(*place)),
            "{place:x?}"
        );
    }
    places.sort_by_key(|place| place.start);
    for pair in places.windows(2) {
        assert!(!pair[0].overlaps(pair[1]), "{pair:x?}");
    }
    let entry = match plan.entry {
        Entry::Pvh(address) => address.into(),
        Entry::Linux64(address) => address,
        Entry::Real(address) => panic!("a kernel that starts in real mode, at {address:#x}"),
    };
    assert!((HIGH_RAM..FIRST_MAPPED).contains(&entry), "{entry:#x}");
}

/// The guest sees the file's bytes, byte for byte, however they came there.
fn check_content(plan: &Plan, memory: &GuestMemoryMmap, loaded: Loaded) {
    let initrd = plan.initrd.as_ref().expect("an initrd was given").gpa;
    let pieces: u64 = plan.pieces.iter().map(|piece| piece.size).sum();
    assert_eq!(loaded.mapped + loaded.copied, pieces + initrd.size());
    for &Piece { gpa, offset, size } in &plan.pieces {
        let mut expected = vec![0; usize::try_from(size).expect("it fits into memory")];
        plan.kernel.read_exact_at(&mut expected, offset).expect("the file has it");
        assert_eq!(seen(memory, gpa, expected.len()), expected);
    }
    assert_eq!(seen(memory, initrd.start, INITRD.len()), INITRD);
}

fn seen(memory: &GuestMemoryMmap, gpa: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    memory.read_slice(&mut bytes, GuestAddress(gpa)).expect("it is RAM");
    bytes
}
