//! A /dev/kvm that is not there, not ours, or not KVM.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::harness::{Case, Surroundings, Workbench};
use super::samples::Elf;

pub(crate) fn cases(bench: &Workbench) -> Vec<Case> {
    fs::create_dir_all(bench.path("dev-without-kvm")).unwrap();
    fs::create_dir_all(bench.path("dev-kvm-directory/kvm")).unwrap();
    bench.file("dev-kvm-plain/kvm", "no KVM");
    let secret = bench.file("dev-kvm-secret/kvm", "");
    fs::set_permissions(secret, Permissions::from_mode(0o600)).unwrap();
    let kernel = bench.file("kernel-for-kvm", Elf::kernel(vec![0xF4]).build());
    [
        ("kvm-missing", "dev-without-kvm", false),
        ("kvm-directory", "dev-kvm-directory", false),
        ("kvm-plain-file", "dev-kvm-plain", false),
        ("kvm-no-permission", "dev-kvm-secret", true),
    ]
    .map(|(name, directory, nobody)| {
        Case::new(name, ["--kernel".as_ref(), kernel.as_os_str()], "/dev/kvm")
            .within(Surroundings::Dev { directory, nobody })
    })
    .into()
}
