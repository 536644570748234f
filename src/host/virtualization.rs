//! Whether guests can run on hardware virtualization here.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

const DEVICE: &str = "/dev/kvm";
/// The modules that drive VMX and SVM; built into the kernel they are listed here as well.
const HARDWARE_MODULES: [&str; 2] = ["/sys/module/kvm_intel", "/sys/module/kvm_amd"];

/// How guests can run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Virtualization {
    /// On the processor's virtualization extensions.
    Hardware,
    /// KVM is there, but neither VMX nor SVM: it interprets kernel code, too slowly and too
    /// incompletely for an operating system.
    InterpretedOnly,
    /// KVM is there, but not for this user.
    NoPermission,
    /// There is no KVM.
    Absent,
}

impl Virtualization {
    /// What is missing, for a person; `None` where nothing is.
    pub fn lack(self) -> Option<String> {
        match self {
            Virtualization::Hardware => None,
            Virtualization::InterpretedOnly => {
                Some("this host has no hardware virtualization; see 'duplex doctor'".into())
            }
            Virtualization::NoPermission => {
                Some(format!("{DEVICE} may not be used by this user; see 'duplex doctor'"))
            }
            Virtualization::Absent => {
                Some(format!("this host has no usable {DEVICE}; see 'duplex doctor'"))
            }
        }
    }
}

/// How guests can run here, by looking at files only.
pub fn virtualization() -> Virtualization {
    match access(DEVICE, AccessFlags::R_OK | AccessFlags::W_OK) {
        Err(Errno::EACCES | Errno::EPERM) => return Virtualization::NoPermission,
        Err(_) => return Virtualization::Absent,
        Ok(()) => {}
    }
    if !is_character_device(Path::new(DEVICE)).unwrap_or(false) {
        return Virtualization::Absent;
    }
    if HARDWARE_MODULES.iter().any(|module| Path::new(module).exists()) {
        Virtualization::Hardware
    } else {
        Virtualization::InterpretedOnly
    }
}

fn is_character_device(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileTypeExt;
    Ok(path.metadata()?.file_type().is_char_device())
}
