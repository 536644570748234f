//! What is printed of a trace stays as it is, unless somebody means to change it.

use std::path::{Path, PathBuf};

use crate::common::process::output;
use crate::common::{duplex, text};
use crate::fixture;

/// The small trace and its System.map, in a directory of their own.
pub(crate) fn trace() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let (trace, map) = (directory.path().join("small.trace"), directory.path().join("System.map"));
    fixture::write(&trace);
    std::fs::write(&map, fixture::SYSTEM_MAP).unwrap();
    (directory, trace, map)
}

/// What a command prints; all must go well, without a word on stderr.
pub(crate) fn printed(arguments: &[&str]) -> Vec<u8> {
    let output = output(&mut duplex(arguments));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{arguments:?}: {stderr}");
    output.stdout
}

/// Compares with a file of tests/golden.
pub(crate) fn check(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name}: UPDATE_GOLDEN=1 accepts that");
}

#[test]
fn what_show_prints() {
    let (_files, trace, map) = trace();
    let shown = printed(&["trace", "show", text(&trace), "--symbols", text(&map)]);
    let shown = String::from_utf8(shown).unwrap();
    check("trace_show.txt", &shown);
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "wide: {line}");
    }
}

#[test]
fn what_show_says_in_json() {
    let (_files, trace, map) = trace();
    let shown = printed(&["trace", "show", text(&trace), "--json", "--symbols", text(&map)]);
    let json: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    check("trace_show.json", &(serde_json::to_string_pretty(&json).unwrap() + "\n"));
    let transmit = &json["registers"][0];
    assert_eq!(
        (&transmit["register"], &transmit["count"]),
        (&"transmit".into(), &fixture::PRINTED.into())
    );
    // Spans add up: what came before, in the guest, in the VMM and after is the whole.
    let vcpu = &json["vcpus"][0];
    let number = |name: &str| vcpu[name].as_u64().unwrap();
    let sum = number("guest_before_ns") + number("vmm_ns");
    assert_eq!(number("last_ns") - number("first_ns"), sum);
}

#[test]
fn addresses_stay_where_names_are_unknown() {
    let (_files, trace, _) = trace();
    let shown = String::from_utf8(printed(&["trace", "show", text(&trace)])).unwrap();
    assert!(shown.contains("ADDRESS IN THE GUEST") && shown.contains("0x1010"), "{shown}");
}
