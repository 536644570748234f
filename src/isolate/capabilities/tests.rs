use super::*;
use crate::isolate::in_child::{in_child, skipped, status};

fn choices(texts: &[&str]) -> Vec<CapabilityChoice> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn changed(added: &[&str], dropped: &[&str]) -> Capabilities {
    Capabilities::changed(&choices(added), &choices(dropped))
}

#[test]
fn names_are_read_with_and_without_prefix_in_any_case() {
    for text in ["NET_ADMIN", "CAP_NET_ADMIN", "net_admin", "cap_Net_Admin"] {
        assert_eq!(text.parse(), Ok(Capability::NET_ADMIN), "{text}");
    }
    assert_eq!(Capability::NET_ADMIN.to_string(), "CAP_NET_ADMIN");
    assert_eq!("all".parse(), Ok(CapabilityChoice::All));
    for text in ["", "CAP_", "NET", "CAP_CAP_CHOWN", "CAP_ALL", "40", " CHOWN", "CHOWN\0"] {
        let error = text.parse::<CapabilityChoice>().unwrap_err();
        assert!(error.to_string().contains("capabilities(7)"), "{error}");
    }
}

#[test]
fn numbers_are_the_kernels() {
    let numbers: Vec<_> = Capability::all_named().map(Capability::number).collect();
    assert_eq!(numbers, (0..=40).collect::<Vec<_>>());
    assert_eq!(Capability::SYS_ADMIN.number(), 21);
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
    assert_eq!(sets::last_capability().to_string(), last.trim());
    let all = Capabilities::all();
    assert_eq!(all.0.count_ones(), u32::from(sets::last_capability()) + 1);
}

#[test]
fn the_default_list_is_dockers() {
    assert_eq!(Capabilities::DEFAULT.0, 0xa804_25fb);
    assert_eq!(Capabilities::DEFAULT.iter().count(), DEFAULT.len());
    assert!(DEFAULT.iter().all(|(_, reason)| !reason.is_empty()));
}

#[test]
fn additions_and_removals_as_docker_has_them() {
    let default = Capabilities::DEFAULT;
    let net_admin = Capabilities::from(Capability::NET_ADMIN);
    assert_eq!(changed(&[], &[]), default);
    assert_eq!(changed(&["NET_ADMIN"], &[]), default | net_admin);
    assert_eq!(changed(&[], &["CHOWN"]), default.without(Capability::CHOWN.into()));
    assert_eq!(changed(&["CHOWN"], &["CHOWN"]), default);
    assert_eq!(changed(&["NET_ADMIN"], &["ALL"]), net_admin);
    assert_eq!(changed(&[], &["all"]), Capabilities::NONE);
    assert_eq!(changed(&["ALL"], &[]), Capabilities::all());
    assert_eq!(changed(&["ALL"], &["NET_ADMIN"]), Capabilities::all().without(net_admin));
    assert_eq!(changed(&["ALL"], &["ALL"]), Capabilities::all());
}

#[test]
fn prints_names() {
    let set: Capabilities = [Capability::BPF, Capability::CHOWN].into_iter().collect();
    assert_eq!(set.to_string(), "CAP_CHOWN CAP_BPF");
    assert_eq!(Capabilities::NONE.to_string(), "");
}

/// What /proc says of a child that did `act`, as it says it of its sets.
fn sets_after(act: impl FnOnce() -> Result<(), Errno>) -> [u64; 5] {
    let text = in_child(|| act().map(|()| status()));
    ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"].map(|name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
    })
}

#[test]
fn applied_sets_are_those_that_the_kernel_shows() {
    let own = Capabilities::permitted().unwrap();
    if !own.contains(Capability::SETPCAP) {
        // An ordinary user can give up the others only.
        assert_eq!(sets_after(|| CapabilitySets::default().set())[1..], [0; 4]);
        return;
    }
    let granted = Capabilities(Capabilities::DEFAULT.0 & own.0);
    let sets = CapabilitySets::of(Uid::from_raw(0), granted);
    assert_eq!(sets_after(|| sets.apply()), [granted.0, granted.0, granted.0, 0, 0]);
    assert_eq!(sets_after(|| CapabilitySets::default().apply()), [0; 5]);
    let kill = Capabilities::from(Capability::KILL);
    let init = CapabilitySets::of_init(kill);
    let seen = sets_after(|| init.apply());
    // CHOWN, DAC_OVERRIDE, KILL, SETGID and SETUID.
    assert_eq!(seen, [kill.0, 0xe3, 0xe3, 0, 0]);
    let all = CapabilitySets { bounding: kill, permitted: kill, inheritable: kill, ambient: kill };
    assert_eq!(sets_after(|| all.apply()), [kill.0; 5]);
}

#[test]
fn another_user_has_only_what_is_ambient() {
    if !nix::unistd::geteuid().is_root() {
        skipped("only root can change users");
        return;
    }
    let nobody = Uid::from_raw(65534);
    let become_nobody = || nix::unistd::setresuid(nobody, nobody, nobody);
    let granted = Capabilities::DEFAULT;
    let sets = CapabilitySets::of(nobody, granted);
    let seen = sets_after(|| {
        sets.limit()?;
        become_nobody()?;
        sets.set()
    });
    assert_eq!(seen, [granted.0, 0, 0, 0, 0]);
}

#[test]
fn what_was_given_up_stays_so() {
    let error = in_child(|| {
        CapabilitySets::default().set()?;
        let back = CapabilitySets { permitted: Capability::CHOWN.into(), ..Default::default() };
        Ok(format!("{:?}", back.set()))
    });
    assert_eq!(error, "Err(EPERM)");
}
