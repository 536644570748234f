//! What looking round has found, contender by contender, in words.

use serde_json::Value;

use crate::bench::cases::asked::Answer;
use crate::bench::results::Finding;

/// How many names are listed before the rest is only counted.
const LISTED: usize = 12;

/// By contender's id, what it saw; `host` is the release of the kernel outside, which in the testbed is that of
/// the emulated machine.
pub(super) fn findings(looks: &[(String, Answer)], host: &str, testbed: bool) -> Vec<Finding> {
    let outside = if testbed { "the testbed's machine" } else { "this host" };
    let of = |subject: &str, meaning: String, found: &dyn Fn(&Answer) -> String| Finding {
        subject: subject.into(),
        meaning,
        found: looks.iter().map(|(id, look)| (id.clone(), found(look))).collect(),
    };
    vec![
        of(
            "kernel",
            format!("Who has the kernel of {outside} ({host}) has its faults, and what gets out by them."),
            &|look| kernel(look, host),
        ),
        of(
            "system calls reached",
            "Calls whose code in that kernel can be entered from inside: where a fault of the kernel would be met."
                .into(),
            &|look| listed(&calls(look, "reached")),
        ),
        of(
            "system calls kept away",
            "Calls that were refused, or seem not to be there, before the kernel looked at their arguments.".into(),
            &|look| {
                let kept: Vec<_> = ["refused", "absent", "killed"]
                    .iter()
                    .flat_map(|outcome| calls(look, outcome))
                    .collect();
                listed(&kept)
            },
        ),
        of(
            "filter",
            "How many numbers of system calls a filter (seccomp) lets through.".into(),
            &filter,
        ),
        of("devices", "Device nodes that may be opened.".into(), &|look| listed(&look.texts("devices"))),
        of(
            "processes",
            format!("Who can be seen; {outside} has more."),
            &|look| format!("{} besides the probe; PID 1 is {}", shown(look, "processes"), quoted(look.text("init"))),
        ),
        of("mounts", "Mounts in sight: each is a file system's code that can be used.".into(), &|look| {
            shown(look, "mounts")
        }),
        of(
            "switches of the kernel",
            "Files by which the kernel is told what to do, and how many may be opened for writing.".into(),
            &|look| {
                let part = |tree: &str, name: &str| {
                    let of = |what: &str| shown(look, &format!("{name}_{what}"));
                    format!("{} of {} below {tree}", of("writable"), of("files"))
                };
                format!("{}, {}", part("/proc/sys", "proc_sys"), part("/sys", "sys"))
            },
        ),
        of(
            "privileges",
            "What its root may do in that kernel, and whether its root is the host's.".into(),
            &privileges,
        ),
        of("network", "Interfaces in sight.".into(), &|look| listed(&look.texts("interfaces"))),
        of(
            "size of the machine",
            "What programs take for theirs when they choose how many threads and how much memory to use.".into(),
            &|look| format!("{} processors, {}", shown(look, "processors"), look.text("memory")),
        ),
    ]
}

/// The calls that had this outcome.
pub(super) fn calls<'a>(look: &'a Answer, outcome: &str) -> Vec<&'a str> {
    let calls = look.0.get("calls").and_then(Value::as_object);
    let all = calls.into_iter().flatten();
    all.filter(|(_, found)| found.as_str() == Some(outcome))
        .map(|(name, _)| name.as_str())
        .collect()
}

fn kernel(look: &Answer, host: &str) -> String {
    match look.text("kernel_release") {
        release if release == host => format!("{release}: the same"),
        release => format!("{release}: another"),
    }
}

fn filter(look: &Answer) -> String {
    let numbers = shown(look, "filter_numbers");
    match (look.text("seccomp"), look.number("filter_passes")) {
        ("" | "0", _) => format!("none: all {numbers} pass"),
        (_, Ok(passes)) => format!("{passes} of {numbers} pass"),
        (_, Err(_)) => "there is one, and it allows no other to be tried".into(),
    }
}

fn privileges(look: &Answer) -> String {
    let effective = u64::from_str_radix(look.text("capabilities"), 16).unwrap_or(0);
    let mut map = look.text("user_map").split_whitespace();
    let root = match (map.next(), map.next()) {
        (Some("0"), Some("0")) => "its root is that kernel's root",
        (Some(_), Some(_)) => "its root is nobody outside",
        _ => "that kernel has no user namespaces: its root is that kernel's root",
    };
    format!("{} capabilities; {root}", effective.count_ones())
}

/// A number as it is.
fn shown(look: &Answer, name: &str) -> String {
    look.0.get(name).map_or("unknown".into(), Value::to_string)
}

/// A name that came from inside, and means nothing.
fn quoted(text: &str) -> String {
    if text.is_empty() { "not shown".into() } else { format!("'{text}'") }
}

fn listed(names: &[&str]) -> String {
    let rest = names.len().saturating_sub(LISTED);
    let some = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    match (names.len(), rest) {
        (0, _) => "none".into(),
        (all, 0) => format!("{all}: {some}"),
        (all, rest) => format!("{all}: {some} and {rest} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(json: Value) -> Answer {
        Answer(json)
    }

    #[test]
    fn findings_tell_walls_apart() {
        let container = look(serde_json::json!({
            "kernel_release": "6.18", "user_map": "0 1879048192 65536", "capabilities": "00000000a80425fb",
            "seccomp": "2", "filter_passes": 300, "filter_numbers": 374, "processes": 1, "init": "duplex",
            "mounts": 20, "calls": {"mount": "refused", "bpf": "killed", "kcmp": "reached"},
        }));
        let vm = look(serde_json::json!({
            "kernel_release": "6.12", "user_map": "0 0 4294967295", "seccomp": "0", "filter_numbers": 374,
        }));
        let looks = [("duplex-container".to_owned(), container), ("duplex-vm".to_owned(), vm)];
        let found = findings(&looks, "6.18", false);
        let of = |subject: &str, id: &str| {
            let finding = found.iter().find(|finding| finding.subject == subject).unwrap();
            finding.found[id].clone()
        };
        assert_eq!(of("kernel", "duplex-container"), "6.18: the same");
        assert_eq!(of("kernel", "duplex-vm"), "6.12: another");
        assert_eq!(of("system calls reached", "duplex-container"), "1: kcmp");
        assert_eq!(of("system calls kept away", "duplex-container"), "2: mount, bpf");
        assert_eq!(of("filter", "duplex-container"), "300 of 374 pass");
        assert_eq!(of("filter", "duplex-vm"), "none: all 374 pass");
        assert_eq!(
            of("privileges", "duplex-container"),
            "14 capabilities; its root is nobody outside"
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(
            listed(&names).starts_with("20: 0, 1, ") && listed(&names).ends_with(" and 8 more")
        );
        assert_eq!(listed(&names[..2]), "2: 0, 1");
        assert_eq!(listed(&[]), "none");
    }
}
