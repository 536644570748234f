//! Exits to user space by reason, of several runs.

use serde_json::Value;

use super::svg::{Anchor, Svg, grouped};

const ROW: f64 = 21.0;
const TOP: f64 = 80.0;
const LEFT: f64 = 190.0;
const WIDTH: f64 = 480.0;
const REASONS: [(&str, &str); 5] = [
    ("port_in", "port read"),
    ("port_out", "port write"),
    ("mmio_read", "MMIO read"),
    ("mmio_write", "MMIO write"),
    ("interrupted", "interrupted by the VMM"),
];

/// What each run was, and what it said with `--timing --json`.
pub(super) fn draw(runs: &[(&str, Value)]) -> String {
    let count = |run: &Value, reason: &str| run["exits"][reason].as_u64().unwrap();
    let most = runs
        .iter()
        .flat_map(|(_, run)| REASONS.map(|(reason, _)| count(run, reason)))
        .max()
        .unwrap();
    let block = 30.0 + ROW * 5.0;
    let bottom = TOP + block * f64::from(u32::try_from(runs.len()).unwrap());
    let mut svg = Svg::new(
        780.0,
        bottom + 10.0,
        "Exits to user space, by reason",
        "Bars for each of four runs. A kernel that prints on the serial port causes two exits for each \
         character; a mebibyte through the socket device causes next to none.",
    );
    svg.text(
        20.0,
        52.0,
        "small",
        Anchor::Start,
        "One scale for all. Blue: by memory-mapped registers, or by the VMM. Orange: by ports.",
    );
    let scale = WIDTH / f64::from(u32::try_from(most).unwrap());
    let mut y = TOP;
    for (title, run) in runs {
        svg.text(20.0, y + 4.0, "", Anchor::Start, title);
        y += 14.0;
        for (reason, what) in REASONS {
            let count = count(run, reason);
            let width = f64::from(u32::try_from(count).unwrap()) * scale;
            svg.text(LEFT - 12.0, y + 12.0, "small", Anchor::End, what);
            let class = if reason.starts_with("port") { "guest" } else { "host" };
            svg.rect(LEFT, y, width, ROW - 7.0, class);
            svg.text(LEFT + width + 8.0, y + 12.0, "small", Anchor::Start, &grouped(count));
            y += ROW;
        }
        y += 16.0;
    }
    svg.finish()
}
