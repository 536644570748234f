//! Whether guests can run on hardware virtualization here.
//!
//! That /dev/kvm exists, opens and answers does not settle it: the kernel's interpreter for guest
//! code answers the same calls where neither kvm_amd nor kvm_intel could be loaded, and it runs no
//! operating system.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::check::Check;

const DEVICE: &str = "/dev/kvm";

/// How guests can run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Virtualization {
    /// On the processor's virtualization extensions.
    Hardware(Vendor),
    /// KVM is there, but neither VMX nor SVM: it interprets kernel code, too slowly and too
    /// incompletely for an operating system.
    InterpretedOnly,
    /// KVM is there, but not for this user.
    NoPermission,
    /// What has KVM's name is something else.
    NotADevice,
    /// There is no KVM. The vendor is that of a processor that could do it.
    Absent(Option<Vendor>),
}

/// Whose extensions they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// SVM, also called AMD-V.
    Amd,
    /// VMX, also called VT-x.
    Intel,
}

impl Vendor {
    const ALL: [Self; 2] = [Self::Amd, Self::Intel];

    /// The flag in /proc/cpuinfo.
    fn flag(self) -> &'static str {
        match self {
            Self::Amd => "svm",
            Self::Intel => "vmx",
        }
    }

    /// The kernel's module for it.
    fn module(self) -> &'static str {
        match self {
            Self::Amd => "kvm_amd",
            Self::Intel => "kvm_intel",
        }
    }

    /// The extensions' name.
    fn name(self) -> &'static str {
        match self {
            Self::Amd => "AMD-V",
            Self::Intel => "Intel VT-x",
        }
    }
}

impl Virtualization {
    /// What is missing, for a person; `None` where nothing is.
    pub fn lack(self) -> Option<String> {
        let lack = match self {
            Self::Hardware(_) => return None,
            Self::InterpretedOnly | Self::Absent(None) => {
                "this host has no hardware virtualization".into()
            }
            Self::NoPermission => format!("{DEVICE} may not be used by this user"),
            Self::NotADevice => format!("{DEVICE} is not a device"),
            Self::Absent(Some(_)) => format!("this host has no {DEVICE}"),
        };
        Some(format!("{lack}; see 'duplex doctor'"))
    }

    /// The same as a row of `duplex doctor`.
    pub fn check(self) -> Check {
        const NAME: &str = "hardware virtualization";
        const NESTED: &str = "on a machine of your own, switch virtualization on in its firmware; \
            in the cloud, choose an instance with nested virtualization. Until then guests run in \
            the testbed, by themselves";
        match self {
            Self::Hardware(vendor) => {
                Check::ok(NAME, format!("{} ({})", vendor.name(), vendor.module()))
            }
            Self::InterpretedOnly => Check::limited(
                NAME,
                format!(
                    "{DEVICE} answers, but the processor shows neither svm nor vmx: guests' kernel \
                     code is interpreted, and no operating system runs"
                ),
                NESTED,
            ),
            Self::NoPermission => Check::missing(
                NAME,
                format!("{DEVICE} may not be opened by this user"),
                format!(
                    "join the group that owns it, and log in again: \
                     sudo usermod -aG {} $USER",
                    group_of_device().unwrap_or_else(|| "kvm".into())
                ),
            ),
            Self::NotADevice => Check::missing(
                NAME,
                format!("{DEVICE} is not a character device"),
                format!("remove it and load the module: sudo rm {DEVICE}; sudo modprobe kvm"),
            ),
            Self::Absent(Some(vendor)) => Check::missing(
                NAME,
                format!("the processor has {}, but there is no {DEVICE}", vendor.name()),
                format!(
                    "sudo modprobe {}; in a container, pass it in: --device {DEVICE}",
                    vendor.module()
                ),
            ),
            Self::Absent(None) => {
                Check::missing(NAME, format!("no {DEVICE}, and neither svm nor vmx"), NESTED)
            }
        }
    }
}

/// How guests can run here.
pub fn virtualization() -> Virtualization {
    match File::options().read(true).write(true).open(DEVICE) {
        Ok(file) => match file.metadata() {
            Ok(metadata) if metadata.file_type().is_char_device() => {
                loaded_vendor().map_or(Virtualization::InterpretedOnly, Virtualization::Hardware)
            }
            _ => Virtualization::NotADevice,
        },
        Err(error) => why_not(&error),
    }
}

fn why_not(error: &io::Error) -> Virtualization {
    match error.kind() {
        ErrorKind::PermissionDenied => Virtualization::NoPermission,
        ErrorKind::IsADirectory => Virtualization::NotADevice,
        _ => Virtualization::Absent(able_vendor()),
    }
}

/// The vendor whose module drives KVM. Also listed for one that is built in.
fn loaded_vendor() -> Option<Vendor> {
    Vendor::ALL.into_iter().find(|vendor| Path::new("/sys/module").join(vendor.module()).exists())
}

/// The vendor whose extensions the processor has.
fn able_vendor() -> Option<Vendor> {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    vendor_in(&text)
}

fn vendor_in(cpuinfo: &str) -> Option<Vendor> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    Vendor::ALL.into_iter().find(|vendor| flags.split_whitespace().any(|f| f == vendor.flag()))
}

/// The name of the group that may use the device, from /etc/group: where names come from a
/// directory service, the usual one is named instead.
fn group_of_device() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let gid = fs::metadata(DEVICE).ok()?.gid().to_string();
    let groups = fs::read_to_string("/etc/group").ok()?;
    let mut entries = groups.lines().map(|line| line.split(':'));
    entries.find_map(|mut entry| {
        let name = entry.next()?;
        (gid != "0" && entry.nth(1)? == gid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_processors_flags() {
        let amd = "processor\t: 0\nflags\t\t: fpu svm_lock svm lm\nbugs\t: x\n";
        assert_eq!(vendor_in(amd), Some(Vendor::Amd));
        assert_eq!(vendor_in("flags\t: fpu vmx\n"), Some(Vendor::Intel));
        assert_eq!(vendor_in("flags\t: fpu svm_lock\nmodel name: vmx\n"), None);
    }

    #[test]
    fn each_lack_has_a_remedy() {
        for state in [
            Virtualization::InterpretedOnly,
            Virtualization::NoPermission,
            Virtualization::NotADevice,
            Virtualization::Absent(None),
            Virtualization::Absent(Some(Vendor::Intel)),
        ] {
            assert!(state.lack().is_some() && state.check().remedy.is_some(), "{state:?}");
        }
        assert_eq!(Virtualization::Hardware(Vendor::Amd).lack(), None);
    }
}
