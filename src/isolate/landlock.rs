//! Landlock: a process gives up rights of its own, landlock(7); a second wall behind the mounts and
//! namespaces.
//!
//! What it can add is less than it seems. Its rules on files only ever allow, each for a whole tree,
//! mounts in it included: who may write to `/` may write to /proc/sys. So the wall on files is for
//! roots that are read-only, where what may be written to is a few trees that the caller knows: /proc,
//! /sys and the image are then out of reach even with the mounts over them undone. And the scopes set
//! processes of one wall apart from all others: whoever joins a container later is another, and
//! could not signal what runs there, unless it comes from a process behind the same wall.
//!
//! The system calls are made directly, for this happens between clone and exec, where nothing may be
//! allocated.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};

use super::hardening;

/// Which version of Landlock a kernel has, as the table in landlock(7) counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Abi(u32);

impl Abi {
    /// The first in which files can be moved to another directory.
    const MOVING: Self = Self(2);
    /// The first that tells truncating apart.
    const TRUNCATING: Self = Self(3);
    /// The first with scopes.
    const SCOPES: Self = Self(6);

    /// The running kernel's; none if it was built or started without Landlock.
    pub fn of_kernel() -> Option<Self> {
        const CREATE_RULESET_VERSION: u32 = 1;
        // SAFETY: with this flag the kernel reads no attributes.
        let version = unsafe {
            let none = std::ptr::null::<Attributes>();
            libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, CREATE_RULESET_VERSION)
        };
        u32::try_from(version).ok().filter(|&version| version > 0).map(Self)
    }
}

/// What a process is to give up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landlock {
    /// Writing, making and removing files anywhere but in these trees, each a path without symbolic
    /// links. With any list, even an empty one, mounting is over too. Without one files stay as they
    /// are.
    pub writable: Option<Vec<CString>>,
    /// Connecting to abstract Unix sockets of processes outside, unix(7). They belong to a network
    /// namespace: this adds something where that is shared.
    pub abstract_sockets: bool,
    /// Signalling processes outside. Adds something where the PID namespace is shared.
    pub signals: bool,
}

impl Landlock {
    /// Gives up what the kernel lets this process give up, for good; with no new privileges, unless it has
    /// CAP_SYS_ADMIN in its user namespace. System calls only.
    ///
    /// # Errors
    /// What opening a tree says (`ELOOP` for a symbolic link), and `E2BIG` beyond 16 walls.
    pub fn apply(&self, abi: Option<Abi>) -> Result<(), Errno> {
        let Some(abi) = abi else { return Ok(()) };
        let attributes = self.attributes(abi);
        if attributes.files == 0 && attributes.scopes == 0 {
            return Ok(());
        }
        let ruleset = create_ruleset(&attributes)?;
        if attributes.files != 0 {
            for path in self.writable.iter().flatten() {
                allow_beneath(&ruleset, path, attributes.files)?;
            }
        }
        match restrict_self(&ruleset) {
            Err(Errno::EPERM) => {
                hardening::no_new_privileges()?;
                restrict_self(&ruleset)
            }
            other => other,
        }
    }

    fn attributes(&self, abi: Abi) -> Attributes {
        let chosen = |wanted: bool, since: Abi, bits: u64| {
            if wanted && abi >= since { bits } else { 0 }
        };
        let files = self.writable.is_some() && abi >= Abi::MOVING;
        Attributes {
            files: chosen(files, Abi::MOVING, WRITING) | chosen(files, Abi::TRUNCATING, TRUNCATE),
            ports: 0,
            scopes: chosen(self.abstract_sockets, Abi::SCOPES, SCOPE_ABSTRACT_UNIX_SOCKET)
                | chosen(self.signals, Abi::SCOPES, SCOPE_SIGNAL),
        }
    }
}

fn restrict_self(ruleset: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: a plain system call on an open descriptor.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0)
    })
    .map(drop)
}

fn create_ruleset(attributes: &Attributes) -> Result<OwnedFd, Errno> {
    // SAFETY: the attributes are alive, and the size is theirs; an older kernel takes them as long
    // as what it does not know is zero.
    let fd = Errno::result(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::from_ref(attributes),
            size_of::<Attributes>(),
            0,
        )
    })?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn allow_beneath(ruleset: &OwnedFd, path: &CString, access: u64) -> Result<(), Errno> {
    // The paths lie in an image, which may hold links to anywhere.
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let tree = openat2(AT_FDCWD, path.as_c_str(), how)?;
    let rule = PathBeneath { access, tree: tree.as_raw_fd() };
    // SAFETY: the rule is alive and of the type that is named, and both descriptors are open.
    Errno::result(unsafe {
        let rule = &raw const rule;
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, rule, 0)
    })
    .map(drop)
}

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct Attributes {
    files: u64,
    ports: u64,
    scopes: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    access: u64,
    tree: RawFd,
}

const RULE_PATH_BENEATH: libc::c_int = 1;

/// LANDLOCK_ACCESS_FS_WRITE_FILE, those from _REMOVE_DIR to _MAKE_SYM, and _REFER.
const WRITING: u64 = 1 << 1 | 0x1ff << 4 | 1 << 13;
/// LANDLOCK_ACCESS_FS_TRUNCATE.
const TRUNCATE: u64 = 1 << 14;
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1 << 0;
const SCOPE_SIGNAL: u64 = 1 << 1;

#[cfg(test)]
mod tests;
