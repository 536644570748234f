//! What KVM itself counts for a vCPU (Linux, Documentation/virt/kvm/api.rst, 4.133): also the exits that
//! never reach user space.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

use kvm_ioctls::VcpuFd;

mod ioctl {
    use kvm_bindings::KVMIO;
    vmm_sys_util::ioctl_io_nr!(KVM_GET_STATS_FD, KVMIO, 0xCE);
}

/// The header of the file, and the fixed part of each descriptor, in bytes.
const HEADER: usize = 24;
const DESCRIPTOR: usize = 16;
/// More than any kernel has, and no more than is worth reading.
const MOST: usize = 512;
const LONGEST_NAME: usize = 256;

/// The counts, by KVM's own names; those that are zero, and those that are no single number, are left out.
///
/// # Errors
/// The kernel does not tell (before 5.14), or tells what this function does not understand.
pub(super) fn read(vcpu: &VcpuFd) -> io::Result<Vec<(String, u64)>> {
    // SAFETY: the ioctl takes no argument.
    let fd = unsafe { vmm_sys_util::ioctl::ioctl(vcpu, ioctl::KVM_GET_STATS_FD()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    let file = unsafe { File::from_raw_fd(fd.as_raw_fd()) };
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0)?;
    let word = |bytes: &[u8], at: usize| -> usize {
        let word = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<4>());
        word.map_or(0, |bytes| usize::try_from(u32::from_le_bytes(*bytes)).unwrap_or(0))
    };
    let (name_size, count) = (word(&header, 4), word(&header, 8));
    let (descriptors_at, data_at) = (word(&header, 16), word(&header, 20));
    if name_size > LONGEST_NAME || count > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let size = DESCRIPTOR + name_size;
    let mut descriptors = vec![0; size * count];
    file.read_exact_at(&mut descriptors, descriptors_at as u64)?;
    let mut counts = Vec::new();
    for descriptor in descriptors.chunks_exact(size) {
        // How many values: histograms have several.
        let [.., s0, s1] = *descriptor.first_chunk::<8>().unwrap_or(&[0; 8]);
        if u16::from_le_bytes([s0, s1]) != 1 {
            continue;
        }
        let mut value = [0; 8];
        file.read_exact_at(&mut value, (data_at + word(descriptor, 8)) as u64)?;
        let value = u64::from_le_bytes(value);
        let name = descriptor.get(DESCRIPTOR..).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if value > 0 {
            counts.push((String::from_utf8_lossy(name).into_owned(), value));
        }
    }
    Ok(counts)
}
