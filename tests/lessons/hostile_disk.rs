//! A guest that does the worst it can to a disk, on `/dev/kvm` itself: every attack is answered by an
//! error of the request or by DEVICE_NEEDS_RESET, and after all of them the disk works.

use std::fs::File;
use std::os::unix::fs::FileExt;

use duplex::vm::boot::plan::Entry;
use duplex::vm::devices::virtio::block::Block;
use duplex::vm::devices::virtio::block::backing::Backing;
use duplex::vm::end::End;
use duplex::workload::{Disk, DiskEngine};

use crate::guest_code::guest_code;
use crate::harness::Access::Write;
use crate::harness::Guest;

/// What the guest says of an attack: the device's status, the used index, and the request's status
/// byte, which the guest sets to 0xEE before.
type Outcome = [u8; 3];
const BROKEN: Outcome = [0x4F, 0, 0xEE];
const OK: Outcome = [0x0F, 1, 0];
const IOERR: Outcome = [0x0F, 1, 1];
const UNSUPP: Outcome = [0x0F, 1, 2];

/// The attacks in the guest's order, and what must become of each.
const ATTACKS: [(&str, Outcome); 31] = [
    ("no attack", OK),
    ("a loop of two descriptors", BROKEN),
    ("a descriptor that links to itself", BROKEN),
    ("a link out of the table", BROKEN),
    ("a head out of the table", BROKEN),
    ("an available index that jumps", BROKEN),
    ("an available index that is one too far", BROKEN),
    ("a queue of 0", BROKEN),
    ("a queue of 65535", BROKEN),
    ("a queue larger than the device's", BROKEN),
    ("a descriptor table where no memory is", BROKEN),
    ("a descriptor table in the device's own registers", BROKEN),
    ("a descriptor table whose addresses wrap", BROKEN),
    ("a descriptor table at an odd address", BROKEN),
    ("an available ring across the end of memory", BROKEN),
    ("a used ring across the end of memory", BROKEN),
    ("an indirect table of no bytes", BROKEN),
    ("an indirect table of 17 bytes", BROKEN),
    ("an indirect table of 4 GiB", BROKEN),
    ("an indirect table in an indirect table", BROKEN),
    ("an indirect table and a link", BROKEN),
    ("an indirect table where no memory is", BROKEN),
    ("a buffer where no memory is", IOERR),
    ("a buffer across the end of memory", IOERR),
    ("a chain of more than 4 GiB", BROKEN),
    ("no byte for the answer", BROKEN),
    ("the answer where no memory is", BROKEN),
    ("the header where no memory is", IOERR),
    ("a sector far behind the end", IOERR),
    ("a type that nobody knows", UNSUPP),
    ("a part of a sector", IOERR),
];

// Rings at 1 MiB: descriptors, available (+0x1000), used (+0x2000); an indirect table (+0x3000);
// headers (+0x4000 good, +0x4100 of a far sector, +0x4200 of no type), the status (+0x5000), data
// (+0x6000). Each attack is a record of 88 bytes: queue size, the three rings, the upper half of the
// table's address, available index and head, and four descriptors.
guest_code!(hostile:
    ".code32",
    ".macro attack size=16 table=0x100000 avail=0x101000 used=0x102000 high=0 index=1 head=0",
    ".long \\size, \\table, \\avail, \\used, \\high",
    ".short \\index, \\head",
    ".endm",
    ".macro desc address length flags next=0 high=0",
    ".long \\address, \\high, \\length",
    ".short \\flags, \\next",
    ".endm",
    ".macro good", // header, data to write, status
    "desc 0x104000 16 1 1", "desc 0x106000 512 3 2", "desc 0x105000 1 2", "desc 0 0 0",
    ".endm",
    "mov $0x1F0000, %esp",
    "mov $0xD0000000, %ebx",
    "movl $-1, 0x104108", "movl $-1, 0x10410C", "movl $0xFFFF, 0x104200",
    // Indirect tables that refer to others, for whoever has one there.
    "movl $0x103000, 0x103000", "movl $16, 0x103008", "movl $4, 0x10300C",
    // Configuration space, and all registers that are none, in every width; kicks for nobody.
    "mov $0x100, %edi",
    "1: movl $-1, (%ebx, %edi)", "movw $-1, 1(%ebx, %edi)", "movb $-1, 3(%ebx, %edi)",
    "mov (%ebx, %edi), %eax", "mov 1(%ebx, %edi), %ax", "mov 3(%ebx, %edi), %al",
    "add $52, %edi", "cmp $0xFF0, %edi", "jb 1b",
    "movl $1, 0x50(%ebx)", "movl $0xFFFF, 0x50(%ebx)", "movl $-1, 0x50(%ebx)",
    // Each attack.
    "mov $0x200000 + (3f - guest_hostile), %esi",
    "2: call 5f", "call 7f", "add $88, %esi",
    "cmp $0x200000 + (4f - guest_hostile), %esi", "jb 2b",
    // Resets with a request in hand, and queues taken away.
    "mov $0x200000 + (3f - guest_hostile), %esi",
    "mov $50, %ebp",
    "2: call 5f", "movl $0, 0x70(%ebx)", "call 5f", "movl $0, 0x44(%ebx)", "dec %ebp", "jnz 2b",
    "call 5f", "call 7f",
    "cli", "hlt",

    // Sets the device up as the record at ESI says, and kicks.
    "5: movl $0, 0x70(%ebx)", "movl $1, 0x70(%ebx)", "movl $3, 0x70(%ebx)",
    "movl $1, 0x24(%ebx)", "movl $1, 0x20(%ebx)", // VIRTIO_F_VERSION_1
    "movl $0, 0x24(%ebx)", "movl $1 << 28, 0x20(%ebx)", // VIRTIO_F_INDIRECT_DESC
    "movl $11, 0x70(%ebx)",
    "movl $0, 0x30(%ebx)",
    "mov 0(%esi), %eax", "mov %eax, 0x38(%ebx)",
    "mov 4(%esi), %eax", "mov %eax, 0x80(%ebx)",
    "mov 16(%esi), %eax", "mov %eax, 0x84(%ebx)",
    "mov 8(%esi), %eax", "mov %eax, 0x90(%ebx)",
    "mov 12(%esi), %eax", "mov %eax, 0xA0(%ebx)",
    "mov $64 / 4, %ecx", "xor %edx, %edx",
    "6: mov 24(%esi, %edx, 4), %eax", "mov %eax, 0x100000(, %edx, 4)",
    "inc %edx", "loop 6b",
    "movw $0, 0x101000", "mov 20(%esi), %ax", "mov %ax, 0x101002",
    "mov 22(%esi), %ax", "mov %ax, 0x101004",
    "movl $0, 0x102000", "movb $0xEE, 0x105000",
    "movl $1, 0x44(%ebx)", "movl $15, 0x70(%ebx)", "movl $0, 0x50(%ebx)",
    "ret",

    // Waits until the request is answered or the device needs a reset, and says which.
    "7: cmpw $0, 0x102002", "jne 8f",
    "mov 0x70(%ebx), %eax", "test $0x40, %al", "jz 7b",
    "8: mov 0x70(%ebx), %eax", "out %al, $0x10",
    "mov 0x102002, %al", "out %al, $0x10",
    "mov 0x105000, %al", "out %al, $0x10",
    "ret",

    ".balign 4",
    "3:",
    "attack", "good",
    "attack", "desc 0x104000 16 1 1", "desc 0x106000 512 1 0", "desc 0 0 0", "desc 0 0 0",
    "attack", "desc 0x104000 16 1 0", "desc 0 0 0", "desc 0 0 0", "desc 0 0 0",
    "attack", "desc 0x104000 16 1 9999", "desc 0 0 0", "desc 0 0 0", "desc 0 0 0",
    "attack head=0xFFFF", "good",
    "attack index=0x7FFF", "good",
    "attack index=17", "good",
    "attack size=0", "good",
    "attack size=65535", "good",
    "attack size=32768", "good",
    "attack table=0xFFFFFFF0", "good",
    "attack table=0xD0000000", "good",
    "attack table=0xFFFFFFF0 high=0xFFFFFFFF", "good",
    "attack table=0x100001", "good",
    "attack avail=0x1FFFFFE", "good",
    "attack used=0x1FFFFFC", "good",
    "attack", "desc 0x103000 0 4", "desc 0 0 0", "desc 0 0 0", "desc 0 0 0",
    "attack", "desc 0x103000 17 4", "desc 0 0 0", "desc 0 0 0", "desc 0 0 0",
    "attack", "desc 0x103000 0xFFFFFFF0 4", "desc 0 0 0", "desc 0 0 0", "desc 0 0 0",
    "attack", "desc 0x103000 16 4", "desc 0 0 0", "desc 0 0 0", "desc 0 0 0",
    "attack", "desc 0x103000 16 5 1", "desc 0 0 0", "desc 0 0 0", "desc 0 0 0",
    "attack", "desc 0xF0000000 32 4", "desc 0 0 0", "desc 0 0 0", "desc 0 0 0",
    "attack", "desc 0x104000 16 1 1", "desc 0xF0000000 512 3 2", "desc 0x105000 1 2", "desc 0 0 0",
    "attack", "desc 0x104000 16 1 1", "desc 0x1FFF000 0x2000 3 2", "desc 0x105000 1 2", "desc 0 0 0",
    "attack", "desc 0x104000 16 1 1", "desc 0 0xFFFFFFFF 3 2", "desc 0x105000 1 2", "desc 0 0 0",
    "attack", "desc 0x104000 16 1 1", "desc 0x106000 512 0", "desc 0 0 0", "desc 0 0 0",
    "attack", "desc 0x104000 16 1 1", "desc 0x106000 512 3 2", "desc 0xF0000000 1 2", "desc 0 0 0",
    "attack", "desc 0xF0000000 16 1 1", "desc 0x106000 512 3 2", "desc 0x105000 1 2", "desc 0 0 0",
    "attack", "desc 0x104100 16 1 1", "desc 0x106000 512 3 2", "desc 0x105000 1 2", "desc 0 0 0",
    "attack", "desc 0x104200 16 1 1", "desc 0x106000 512 3 2", "desc 0x105000 1 2", "desc 0 0 0",
    "attack", "desc 0x104000 16 1 1", "desc 0x106000 511 3 2", "desc 0x105000 1 2", "desc 0 0 0",
    "4:",
    ".purgem attack", ".purgem desc", ".purgem good",
);

fn attacked(engine: DiskEngine) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    let content = vec![0x5A; 1 << 20];
    std::fs::write(&path, &content).unwrap();
    let disk = Disk { engine: Some(engine), ..Disk::new(&path) };
    let device = Block::new(&disk, 0, Backing::open(&path, false).unwrap()).unwrap();
    let guest = Guest::new(hostile::code(), Entry::Pvh(0x20_0000)).device(Box::new(device));
    let Some(run) = guest.run() else { return };
    assert!(matches!(run.end, End::Halted), "{:?}", run.end);
    let said: Vec<u8> = run
        .accesses
        .iter()
        .map(|access| match access {
            Write(0, bytes) => bytes[0],
            other => panic!("{other:?}"),
        })
        .collect();
    for ((attack, expected), outcome) in ATTACKS.iter().zip(said.chunks(3)) {
        assert_eq!(outcome, expected, "{attack}, {engine}");
    }
    // One more: a good request after everything.
    assert_eq!((said.len(), &said[said.len() - 3..]), (3 * (ATTACKS.len() + 1), &OK[..]));
    // None of them wrote to the disk.
    let mut now = vec![0; content.len()];
    File::open(&path).unwrap().read_exact_at(&mut now, 0).unwrap();
    assert!(now == content);
}

#[test]
fn a_guest_that_attacks_its_disk_gets_errors_and_harms_nothing() {
    for engine in [DiskEngine::IoUring, DiskEngine::Threads] {
        attacked(engine);
    }
}
