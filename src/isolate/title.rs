//! What others see a process called.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sys::prctl;

/// The fields of /proc/PID/stat, counted from 1, with the first byte of the arguments and the one after
/// the last, proc_pid_stat(5).
const ARG_START: usize = 48;
const ARG_END: usize = 49;

/// Overwrites the arguments that this process was started with, which every process that sees it may
/// read, by `name`; and its name of up to 15 bytes.
///
/// # Safety
/// Nothing may go on to use the arguments, and no other thread may run.
pub(crate) unsafe fn rename(name: &std::ffi::CStr) -> io::Result<()> {
    prctl::set_name(name)?;
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (start, end) = arguments(&stat).ok_or(Errno::EINVAL)?;
    let bytes = name.to_bytes().iter().copied().chain(std::iter::repeat(0));
    for (address, byte) in (start..end).zip(bytes) {
        let place = std::ptr::with_exposed_provenance_mut::<u8>(address);
        // SAFETY: the kernel says that the arguments are here, on the first stack, which stays
        // writable; nobody else uses them.
        unsafe { place.write_volatile(byte) };
    }
    Ok(())
}

fn arguments(stat: &str) -> Option<(usize, usize)> {
    // The second field may have anything in it, and ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(") ")?;
    let field = |number: usize| rest.split(' ').nth(number - 3)?.trim().parse().ok();
    Some((field(ARG_START)?, field(ARG_END)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_where_the_kernel_says() {
        let fields: Vec<String> = (3..=52).map(|number| (number * 10).to_string()).collect();
        let stat = format!("1 (odd) name ) {}\n", fields.join(" "));
        assert_eq!(arguments(&stat), Some((480, 490)));
        assert_eq!(arguments("1 (short) S 1\n"), None);
        let own = fs::read_to_string("/proc/self/stat").unwrap();
        let (start, end) = arguments(&own).unwrap();
        assert_eq!(end - start, fs::read("/proc/self/cmdline").unwrap().len());
    }
}
