//! What others see a process called.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::ops::Range;

use nix::errno::Errno;
use nix::sys::prctl;

/// The fields of /proc/PID/stat, counted from 1, with the first byte of the arguments and the one after
/// the last, proc_pid_stat(5).
const ARG_START: usize = 48;
const ARG_END: usize = 49;

/// Where the arguments are that this process was started with.
#[derive(Debug)]
pub(crate) struct Title(Range<usize>);

impl Title {
    /// Asks the kernel. To be called while /proc is the kernel's: what it says is written to.
    ///
    /// # Errors
    /// What reading /proc/self/stat says; `EINVAL` where that is none.
    pub(crate) fn find() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        let (start, end) = arguments(&stat).ok_or(Errno::EINVAL)?;
        Ok(Self(start..end))
    }

    /// Overwrites the arguments, which every process that sees this one may read, by `name`; and its
    /// name of up to 15 bytes.
    ///
    /// # Safety
    /// Nothing may go on to use the arguments, and no other thread may run.
    ///
    /// # Errors
    /// What prctl(2) says; none is known.
    pub(crate) unsafe fn rename(&self, name: &CStr) -> io::Result<()> {
        prctl::set_name(name)?;
        let bytes = name.to_bytes().iter().copied().chain(std::iter::repeat(0));
        for (address, byte) in self.0.clone().zip(bytes) {
            let place = std::ptr::with_exposed_provenance_mut::<u8>(address);
            // SAFETY: the kernel says that the arguments are here, on the first stack, which stays
            // writable; nobody else uses them.
            unsafe { place.write_volatile(byte) };
        }
        Ok(())
    }
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
        let Title(own) = Title::find().unwrap();
        assert_eq!(own.len(), fs::read("/proc/self/cmdline").unwrap().len());
    }
}
