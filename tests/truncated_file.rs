//! The kernel's or the initrd's file is cut off while the guest runs: duplex ends with an error that
//! says so, and does not crash. The guest's memory is that file, until the guest writes to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

mod common;
#[path = "lessons/guest_code.rs"]
mod guest_code;
#[path = "samples/mod.rs"]
mod samples;

use common::process::Process;
use common::{duplex, has_kvm};
use guest_code::guest_code;
use samples::elf::START;
use samples::{BzImage, Elf};

const FAILED: i32 = 125;
const SIZE: usize = 8 << 20;

/// 64-bit code, entered with the zero page in RSI: writes 'R' to COM1, then reads a word of every
/// page of a range of `SIZE` bytes, again and again. `from` loads the range's start into RBX.
fn reader(from: &[u8]) -> Vec<u8> {
    let mut code = from.to_vec();
    code.extend([0x66, 0xBA, 0xF8, 0x03]); // mov dx, 0x3f8
    code.extend([0xB0, b'R']); // mov al, 'R'
    code.push(0xEE); // out dx, al
    code.extend([0x31, 0xC9]); // again: xor ecx, ecx
    code.extend([0x8B, 0x04, 0x0B]); // page: mov eax, [rbx + rcx]
    code.extend([0x81, 0xC1, 0x00, 0x10, 0x00, 0x00]); // add ecx, 0x1000
    code.extend([0x81, 0xF9]); // cmp ecx, SIZE - 0x1000
    code.extend(u32::try_from(SIZE - 0x1000).unwrap().to_le_bytes());
    code.extend([0x72, 0xEF]); // jb page
    code.extend([0xEB, 0xEB]); // jmp again
    code
}

/// Reads its own pages, from the second on: the code itself stays.
fn kernel_that_reads_itself() -> Vec<u8> {
    let second_page = u32::try_from(START + 0x1000).unwrap();
    let load = [&[0xBB], second_page.to_le_bytes().as_slice()].concat(); // mov ebx, address
    let mut body = reader(&load);
    body.resize(SIZE + 0x1000, 0x5A);
    Elf::kernel(body).build()
}

/// Writes 'R' to COM1 and jumps to where it is.
fn kernel_that_only_runs() -> Vec<u8> {
    let mut body = vec![0x66, 0xBA, 0xF8, 0x03, 0xB0, b'R', 0xEE, 0xEB, 0xFE];
    // A whole page, so that it is mapped and not copied.
    body.resize(0x1000, 0x90);
    Elf::kernel(body).build()
}

/// Reads the initrd, whose address stands in the zero page at 0x218 (ramdisk_image).
fn kernel_that_reads_its_initrd() -> Vec<u8> {
    let code = reader(&[0x8B, 0x9E, 0x18, 0x02, 0x00, 0x00]); // mov ebx, [rsi + 0x218]
    let mut body = vec![0x90; 0x200];
    body.extend(code);
    BzImage::kernel(body).build()
}

#[test]
fn a_kernel_file_cut_off_while_the_guest_runs_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = write(&directory, "vmlinux", &kernel_that_reads_itself());
    cut_off_while_running(&["--kernel".as_ref(), kernel.as_ref()], &kernel);
}

#[test]
fn code_that_is_cut_off_while_it_runs_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = write(&directory, "vmlinux", &kernel_that_only_runs());
    cut_off_while_running(&["--kernel".as_ref(), kernel.as_ref()], &kernel);
}

/// The entropy device's rings, in the initrd's second to fourth page.
fn kernel_with_rings_in_its_initrd() -> Vec<u8> {
    let mut body = vec![0x90; 0x200];
    body.extend(rings::code());
    BzImage::kernel(body).build()
}

// Sets the device up, writes 'R' to COM1 and rings its bell for ever.
guest_code!(rings:
    ".code64",
    "mov 0x218(%rsi), %edi", // ramdisk_image
    "mov $0xD0000000, %ebx",
    "movl $1, 0x70(%rbx)", // Status: ACKNOWLEDGE
    "movl $3, 0x70(%rbx)", // DRIVER
    "movl $1, 0x24(%rbx)", // DriverFeaturesSel
    "movl $1, 0x20(%rbx)", // DriverFeatures: VIRTIO_F_VERSION_1
    "movl $11, 0x70(%rbx)", // FEATURES_OK
    "movl $0, 0x30(%rbx)", // QueueSel
    "movl $16, 0x38(%rbx)", // QueueNum
    "lea 0x1000(%rdi), %eax",
    "mov %eax, 0x80(%rbx)", // QueueDescLow
    "lea 0x2000(%rdi), %eax",
    "mov %eax, 0x90(%rbx)", // QueueDriverLow
    "lea 0x3000(%rdi), %eax",
    "mov %eax, 0xA0(%rbx)", // QueueDeviceLow
    "movl $1, 0x44(%rbx)", // QueueReady
    "movl $15, 0x70(%rbx)", // DRIVER_OK
    "mov $0x3F8, %dx",
    "mov $0x52, %al",
    "out %al, %dx",
    "1: movl $0, 0x50(%rbx)", // QueueNotify
    "jmp 1b",
);

#[test]
fn rings_in_an_initrd_that_is_cut_off_are_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = write(&directory, "bzImage", &kernel_with_rings_in_its_initrd());
    let initrd = write(&directory, "initrd", &vec![0; SIZE]);
    let args = ["--kernel".as_ref(), kernel.as_ref(), "--initrd".as_ref(), initrd.as_ref()];
    let said = cut_off_while_running(&[&args, &["--rng".as_ref()][..]].concat(), &initrd);
    if let Some(said) = said {
        assert!(said.contains("a virtio device could not reach the guest's memory"), "{said}");
    }
}

#[test]
fn an_initrd_cut_off_while_the_guest_runs_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = write(&directory, "bzImage", &kernel_that_reads_its_initrd());
    let initrd = write(&directory, "initrd", &vec![0x5A; SIZE]);
    let args = ["--kernel".as_ref(), kernel.as_ref(), "--initrd".as_ref(), initrd.as_ref()];
    cut_off_while_running(&args, &initrd);
}

fn write(directory: &tempfile::TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// Returns what was said; nothing where there is no KVM.
fn cut_off_while_running(args: &[&Path], file: &Path) -> Option<String> {
    if !has_kvm() {
        return None;
    }
    let mut command = duplex(&["boot", "--testbed", "never"]);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(&mut command);
    assert_eq!(process.stdout.read_exactly(1), b"R");
    File::options().write(true).open(file).unwrap().set_len(4096).unwrap();
    let output = process.output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(FAILED), "{} {said}", output.status);
    assert!(said.contains("a file that backs it (kernel or initrd) was cut off"), "{said}");
    Some(said.into_owned())
}
