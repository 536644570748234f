//! What machine this is, and what its figures can't tell.

use std::fs;
use std::path::Path;

use nix::sys::sysinfo::sysinfo;
use nix::sys::utsname::uname;
use sha2::{Digest, Sha256};

use super::results::Fact;
use super::workshop::{PROBE, Workshop};
use crate::host::{Hierarchies, Virtualization, virtualization};

/// A load above this share of the processors disturbs.
const BUSY: f64 = 0.3;

/// A share of time that a hypervisor took away, above which it disturbs.
const STOLEN: f64 = 0.01;

/// The machine that this process runs on, in the order to be shown.
pub fn facts(workshop: &Workshop) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        let value = value.unwrap_or_else(|| "unknown".into());
        facts.push(Fact { name: name.into(), value });
    };
    add("processor", cpuinfo("model name"));
    add("processors", std::thread::available_parallelism().ok().map(|count| count.to_string()));
    add("memory", memory());
    add("kernel", kernel());
    add("governor", Some(governor().unwrap_or_else(|| "none to be seen".into())));
    add("hardware virtualization", Some(virtualization_here()));
    add("this machine is itself virtual", Some(if is_virtual() { "yes" } else { "no" }.into()));
    add("mitigations", mitigations());
    add("control groups", Some(control_groups()));
    add("load at the start", loadavg().map(|load| format!("{load:.2}")));
    add("transparent huge pages", chosen("/sys/kernel/mm/transparent_hugepage/enabled"));
    add("build of duplex", Some(if cfg!(debug_assertions) { "debug" } else { "release" }.into()));
    add("SHA-256 of the probe", sha256(&workshop.in_image(PROBE)));
    if let Some(guest) = &workshop.guest {
        add("guests' kernel", Some(guest.kernel.display().to_string()));
        add("SHA-256 of the guests' kernel", sha256(&guest.kernel));
        add("SHA-256 of the guests' initramfs", sha256(&guest.initramfs));
    }
    facts
}

/// What the figures of this host can't tell, for the top of a report.
///
/// `testbed`: why something was measured there, as times.
pub fn cautions(testbed: Option<&str>) -> Vec<String> {
    let mut cautions = Vec::new();
    if let Some(reason) = testbed {
        cautions.push(format!(
            "A part was measured in the testbed, an emulated machine ({reason}). Its times tell which contender \
             takes longer there, not how long it takes on a real machine, and emulation makes what the \
             processor does for a hypervisor far dearer than what a kernel does for a container. Count \
             instructions (--count-instructions) for figures that can be repeated, and take times on a host \
             with hardware virtualization."
        ));
    }
    if is_virtual() {
        cautions.push(
            "This host is a virtual machine, or looks like one: its neighbours and its hypervisor are in all \
             of its times."
                .into(),
        );
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let processors = f64::from(u32::try_from(processors).unwrap_or(1));
    if let Some(load) = loadavg().filter(|load| load / processors > BUSY) {
        cautions.push(format!(
            "The host had other work: a load of {load:.2} on {processors} processors when the run began. \
             Ratios stand this better than times, tails (p95, p99) not at all."
        ));
    }
    if let Some(stolen) = stolen().filter(|stolen| *stolen > STOLEN) {
        let percent = stolen * 100.0;
        cautions.push(format!(
            "Since its start, {percent:.1} % of this host's time were taken by the hypervisor below it (steal)."
        ));
    }
    match governor().as_deref() {
        Some("performance") => {}
        Some(other) => cautions.push(format!(
            "The processors' governor is '{other}': their speed changes with the load. For times that can be \
             repeated: cpupower frequency-set --governor performance"
        )),
        None => cautions.push(
            "The processors' frequency cannot be seen or set here: whether it changed during the run is not \
             known."
                .into(),
        ),
    }
    if cfg!(debug_assertions) {
        cautions.push(
            "This duplex is a debug build: its own figures are worse than a release build's, those of others \
             are not."
                .into(),
        );
    }
    cautions
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn cpuinfo(field: &str) -> Option<String> {
    let text = read("/proc/cpuinfo")?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// A machine that runs in another shows this flag (CPUID leaf 1, ECX bit 31).
fn is_virtual() -> bool {
    cpuinfo("flags").is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

fn memory() -> Option<String> {
    let memory = sysinfo().ok()?;
    Some(format!("{} MiB", memory.ram_total() >> 20))
}

fn kernel() -> Option<String> {
    let names = uname().ok()?;
    let [release, version] = [names.release(), names.version()].map(|name| name.to_string_lossy());
    Some(format!("Linux {release} {version}"))
}

fn governor() -> Option<String> {
    read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
}

fn virtualization_here() -> String {
    match virtualization() {
        Virtualization::Hardware(_) => "hardware".into(),
        Virtualization::InterpretedOnly => "emulated: KVM interprets guests' kernel code".into(),
        _ => "none".into(),
    }
}

fn mitigations() -> Option<String> {
    let mut found: Vec<String> = fs::read_dir("/sys/devices/system/cpu/vulnerabilities")
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            let text = text.trim();
            let name = entry.file_name().to_string_lossy().into_owned();
            (text != "Not affected").then(|| format!("{name}: {text}"))
        })
        .collect();
    found.sort();
    Some(if found.is_empty() { "none needed".into() } else { found.join("; ") })
}

fn control_groups() -> String {
    let found = Hierarchies::find();
    match (found.unified.is_some(), found.legacy.is_empty()) {
        (true, true) => "version 2",
        (true, false) => "versions 1 and 2 (hybrid)",
        (false, false) => "version 1",
        (false, true) => "none",
    }
    .into()
}

fn loadavg() -> Option<f64> {
    read("/proc/loadavg")?.split(' ').next()?.parse().ok()
}

/// The share of all time since the host's start that its hypervisor took away, proc_stat(5).
fn stolen() -> Option<f64> {
    stolen_in(&read("/proc/stat")?)
}

fn stolen_in(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times: Vec<f64> =
        line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let total: f64 = times.iter().sum();
    times.get(7).map(|stolen| stolen / total)
}

/// The choice in brackets.
fn chosen(path: &str) -> Option<String> {
    let text = read(path)?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

fn sha256(path: &Path) -> Option<String> {
    let content = fs::read(path).ok()?;
    let mut hex = String::new();
    for byte in Sha256::digest(content) {
        hex.push_str(&format!("{byte:02x}"));
    }
    Some(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_the_eighth_of_the_times() {
        let text = "cpu  10 0 20 60 0 0 0 10 99 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(stolen_in(text), Some(0.1));
        assert_eq!(stolen_in("cpu 1 2"), None);
    }

    #[test]
    fn this_host_has_a_processor_and_a_kernel() {
        let place = tempfile::tempdir().unwrap();
        let workshop = Workshop {
            own: "/x".into(),
            duplex: "/x".into(),
            place: place.path().into(),
            image: place.path().into(),
            guest: None,
        };
        let facts = facts(&workshop);
        let value = |name: &str| &facts.iter().find(|fact| fact.name == name).unwrap().value;
        assert!(value("kernel").starts_with("Linux "));
        assert!(value("processors").parse::<u32>().unwrap() > 0);
    }
}
