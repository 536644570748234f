//! Ctrl-C while measuring: what is being done ends, and what was found stays.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Set by the signal handler, which can reach nothing that is not global.
static SIGNALLED: AtomicBool = AtomicBool::new(false);

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Whether to stop, asked between two steps.
#[derive(Debug, Default)]
pub struct Stop {
    requested: AtomicBool,
    by_signal: bool,
}

impl Stop {
    /// One that signals request from now on: SIGINT, SIGTERM, SIGHUP no longer end this process. Programs
    /// that it starts are ended by them as ever.
    ///
    /// # Errors
    /// sigaction(2).
    pub fn on_signals() -> std::io::Result<Self> {
        // Without SA_RESTART: who waits is woken.
        let handler = SigHandler::Handler(note);
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        for signal in SIGNALS {
            // SAFETY: the handler stores to an atomic, which may be done in any moment.
            unsafe { sigaction(signal, &action) }?;
        }
        Ok(Self { by_signal: true, ..Self::default() })
    }

    /// Requests it.
    pub fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    /// Whether it was requested.
    pub fn is_requested(&self) -> bool {
        let signalled = self.by_signal && SIGNALLED.load(Ordering::Relaxed);
        signalled || self.requested.load(Ordering::Relaxed)
    }
}

extern "C" fn note(_signal: libc::c_int) {
    SIGNALLED.store(true, Ordering::Relaxed);
}
