//! Guest memory that is gone on the host: a file that is mapped into it was cut off while the guest ran.
//!
//! KVM_RUN and other system calls answer EFAULT there. A thread of the VMM that touches such a page
//! itself, as a device does with its rings, gets SIGBUS instead. The handler puts a page of zeroes in its
//! place, so that the thread can go on, and says that the machine is over: by a flag, for a device
//! must not write those zeroes to a disk, and by an eventfd, for whoever runs the machine. It takes no
//! lock and allocates nothing. A SIGBUS of any other kind ends the process as if there were no handler.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use vm_memory::{GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::layout::PAGE;

/// How many regions of guest memory are watched in this process at most; a machine has one or two.
const PLACES: usize = 64;

/// A region of guest memory, for the handler to find.
struct Place {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    /// The eventfd that says so when a page of it is lost.
    announce: AtomicI32,
    lost: AtomicBool,
}

static WATCHED: [Place; PLACES] = [const { Place::nowhere() }; PLACES];
/// How many places have lost a page: nearly always none.
static LOST: AtomicUsize = AtomicUsize::new(0);
/// What dealt with SIGBUS before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

impl Place {
    const fn nowhere() -> Place {
        Place {
            taken: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            announce: AtomicI32::new(-1),
            lost: AtomicBool::new(false),
        }
    }

    fn holds(&self, address: usize) -> bool {
        // The end is zero while nobody has the place, and written last.
        let end = self.end.load(Ordering::Acquire);
        (self.start.load(Ordering::Relaxed)..end).contains(&address)
    }

    fn watch(&self, start: usize, end: usize, announce: c_int) {
        self.announce.store(announce, Ordering::Relaxed);
        self.start.store(start, Ordering::Relaxed);
        self.end.store(end, Ordering::Release);
    }

    fn forget(&self) {
        self.end.store(0, Ordering::Release);
        if self.lost.swap(false, Ordering::AcqRel) {
            LOST.fetch_sub(1, Ordering::AcqRel);
        }
        self.taken.store(false, Ordering::Release);
    }

    /// Called by the handler.
    fn lose(&self) {
        if !self.lost.swap(true, Ordering::AcqRel) {
            LOST.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Watches a machine's memory while it lives.
pub(super) struct LostMemory {
    places: Vec<&'static Place>,
    announce: EventFd,
    /// So that nothing else comes to lie at the addresses that are watched.
    _memory: GuestMemoryMmap,
}

impl LostMemory {
    /// Starts to watch `memory`.
    ///
    /// # Errors
    /// No file descriptor left, or too many machines in this process.
    pub(super) fn watch(memory: &GuestMemoryMmap) -> io::Result<LostMemory> {
        install_handler()?;
        let announce = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        let mut watch = LostMemory { places: Vec::new(), announce, _memory: memory.clone() };
        for region in memory.iter() {
            let free = |place: &&Place| !place.taken.swap(true, Ordering::AcqRel);
            let place = WATCHED.iter().find(free).ok_or(io::ErrorKind::QuotaExceeded)?;
            watch.places.push(place);
            let start = region.as_ptr() as usize;
            let size = usize::try_from(region.len()).unwrap_or(0);
            place.watch(start, start.saturating_add(size), watch.announce.as_raw_fd());
        }
        Ok(watch)
    }

    /// Becomes readable when memory was lost.
    pub(super) fn announced(&self) -> &EventFd {
        &self.announce
    }
}

impl Drop for LostMemory {
    fn drop(&mut self) {
        for place in &self.places {
            place.forget();
        }
    }
}

/// Whether a part of this memory was lost, and reads as zeroes now.
pub(super) fn is_lost(memory: &GuestMemoryMmap) -> bool {
    LOST.load(Ordering::Acquire) > 0
        && memory.iter().any(|region| {
            let start = region.as_ptr() as usize;
            let lost = |place: &Place| place.holds(start) && place.lost.load(Ordering::Acquire);
            WATCHED.iter().any(lost)
        })
}

fn install_handler() -> io::Result<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asked for no change, it only writes the current action to where it is told.
    if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just written; and all zeroes are a valid value, too.
    let before = unsafe { before.assume_init() };
    BEFORE.get_or_init(|| before);
    // SAFETY: all zeroes are a valid value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = on_sigbus as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler makes system calls and reads and writes atomics: it may interrupt anything.
    if unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

extern "C" fn on_sigbus(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel gives a handler that was installed with SA_SIGINFO this structure, and for
    // a SIGBUS of its own it has an address. For one that a process sent it has other numbers there,
    // which are no address in guest memory but by that process' intention.
    let address = unsafe { (*info).si_addr() } as usize;
    // SAFETY: glibc's errno of this thread, which is valid as long as the thread is.
    let errno = unsafe { *libc::__errno_location() };
    match WATCHED.iter().find(|place| place.holds(address)) {
        Some(place) if replace(place, address) => {}
        // Not ours: the instruction is executed once more, and whoever was there before sees to it.
        _ => {
            if let Some(before) = BEFORE.get() {
                // SAFETY: it is what sigaction(2) gave.
                unsafe { libc::sigaction(libc::SIGBUS, before, ptr::null_mut()) };
            }
        }
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Puts zeroes where the page of `address` was, and says so. `false`: the host has no page.
fn replace(place: &Place, address: usize) -> bool {
    // Before the zeroes can be seen by anybody.
    place.lose();
    let page = usize::try_from(PAGE).unwrap_or(4096);
    let start = address / page * page;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: the page is guest memory of a machine that lives, and was lost. That memory is only
    // accessed through volatile accessors, which hold no reference to it.
    let mapped = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(start as *mut c_void, page, protection, flags, -1, 0)
    };
    let one = 1_u64.to_ne_bytes();
    let announce = place.announce.load(Ordering::Relaxed);
    // SAFETY: the bytes live, and the descriptor is an eventfd's as long as the place is watched. It
    // fails only where it was written to before.
    unsafe { libc::write(announce, one.as_ptr().cast(), one.len()) };
    mapped != libc::MAP_FAILED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::memory;
    use vm_memory::{Bytes, GuestAddress};

    fn memory_from_file() -> (GuestMemoryMmap, std::fs::File) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(2 * PAGE).unwrap();
        let memory = memory::allocate("32M".parse().unwrap()).unwrap();
        memory::map_file(&memory, 0, &file, 0, 2 * PAGE).unwrap();
        (memory, file)
    }

    #[test]
    fn a_page_that_was_cut_off_reads_as_zeroes_and_that_is_said() {
        let (memory, file) = memory_from_file();
        let (other, _file) = memory_from_file();
        let watch = LostMemory::watch(&memory).unwrap();
        let watch_other = LostMemory::watch(&other).unwrap();
        file.set_len(0).unwrap();
        assert!(!is_lost(&memory));
        for page in 0..2 {
            assert_eq!(memory.read_obj::<u64>(GuestAddress(page * PAGE + 8)).unwrap(), 0);
        }
        assert!(is_lost(&memory) && !is_lost(&other));
        assert_eq!(watch.announced().read().unwrap(), 2);
        assert!(watch_other.announced().read().is_err());
        drop(watch);
        assert!(!is_lost(&memory));
    }
}
