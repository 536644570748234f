//! The filter on system calls: what a command in a container may ask of the kernel, seccomp(2).
//!
//! Which calls are allowed stands in `default.list`, with the reasons.

use std::fmt;

use nix::errno::Errno;

use super::capabilities::Capabilities;
use super::hardening;

mod assembler;
mod filter;
#[cfg(test)]
mod list;
mod table;
#[cfg(test)]
mod tests;

use table::{GROUPS, Verdict, Verdicts};

/// A filter that is ready to be installed.
#[derive(Clone)]
pub struct Filter {
    program: Vec<libc::sock_filter>,
}

/// The error numbers that calls fail with. Tests take some that the kernel has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// When a call is refused.
    pub refused: u16,
    /// When it is unknown: one that is newer than the list, above all.
    pub unknown: u16,
}

impl Default for Answers {
    fn default() -> Self {
        // Error numbers are small.
        let [refused, unknown] =
            [Errno::EPERM, Errno::ENOSYS].map(|error| u16::try_from(error as i32).unwrap_or(1));
        Self { refused, unknown }
    }
}

impl Filter {
    /// The default filter for a command with these capabilities: with one, it may make the calls that
    /// are of no use without.
    pub fn new(granted: Capabilities) -> Self {
        Self::answering(granted, Answers::default())
    }

    /// The same with other error numbers.
    pub fn answering(granted: Capabilities, answers: Answers) -> Self {
        Self { program: filter::compile(&Verdicts::of(granted), answers) }
    }

    /// Puts this thread, and what it starts, behind the filter for good, with no new privileges.
    /// System calls only; whatever follows, an exec for one, must pass the filter.
    ///
    /// # Errors
    /// `EINVAL` from a kernel without filters, `ENOMEM` when there are too many.
    pub fn install(&self) -> Result<(), Errno> {
        hardening::no_new_privileges()?;
        self.install_for_administrator()
    }

    /// The same, but new privileges can still be gained: for threads with CAP_SYS_ADMIN in their user
    /// namespace.
    ///
    /// # Errors
    /// `EACCES` to others, and as above.
    pub fn install_for_administrator(&self) -> Result<(), Errno> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.program.len()).map_err(|_| Errno::EINVAL)?,
            filter: self.program.as_ptr().cast_mut(),
        };
        // No flags: speculative execution stays as careful as it is with filters.
        // SAFETY: the kernel reads as many instructions as there are, all of them alive.
        Errno::result(unsafe {
            let program = &raw const program;
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, program)
        })
        .map(drop)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Filter of {} instructions", self.program.len())
    }
}

/// What the default filter does with these capabilities, in few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many calls are allowed.
    pub allowed: usize,
    /// How many depend on their arguments.
    pub conditional: usize,
    /// How many are refused; there are no others but those that are unknown.
    pub refused: usize,
    /// What is refused, by the titles of the list.
    pub refused_groups: Vec<&'static str>,
}

impl Summary {
    /// Of a command with these capabilities.
    pub fn new(granted: Capabilities) -> Self {
        let verdicts = Verdicts::of(granted).by_number;
        let count =
            |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|&one| wanted(one)).count();
        Self {
            allowed: count(|verdict| *verdict == Verdict::Allowed),
            conditional: count(|verdict| *verdict == Verdict::Conditional),
            refused: count(|verdict| matches!(verdict, Verdict::Refused | Verdict::Unknown)),
            refused_groups: GROUPS
                .iter()
                .filter(|group| !group.decision.allows(granted))
                .map(|group| group.title)
                .collect(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} calls allowed, {} by their arguments, {} refused ({}), all others unknown",
            self.allowed,
            self.conditional,
            self.refused,
            self.refused_groups.join("; ")
        )
    }
}
