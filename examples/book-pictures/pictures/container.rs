//! The steps of a container's start, by who takes them.

use serde_json::Value;

use super::svg::{Anchor, Svg, ticks};

const ROW: f64 = 21.0;
const TOP: f64 = 84.0;
const LEFT: f64 = 330.0;
const WIDTH: f64 = 380.0;

/// A group of steps that are alike, as one row: how the first words of each are, and what they are together.
const GROUPS: [(&str, &str); 7] = [
    ("mount ", "mount proc, /dev, sysfs and others"),
    ("show the host's", "show six devices"),
    ("link ", "make five links in /dev"),
    ("make /proc", "make five paths read-only"),
    ("mask ", "mask eleven paths"),
    ("give up signals", "give up reaching processes outside"),
    ("leave commands", "drop capabilities"),
];

/// What duplex does, by the name of the phase in the data; then it waits for PID 1.
const OUTSIDE: [(&str, &str); 6] = [
    ("main", "execve, until main"),
    ("decided", "parse the command line, find the image"),
    ("claimed", "take a place in the state directory"),
    ("group_made", "make the control group"),
    ("cloned", "clone3"),
    ("provided", "map users, lay the image's layers"),
];

struct Row {
    from: f64,
    to: f64,
    what: String,
    inside: bool,
}

pub(super) fn draw(data: &Value) -> String {
    let milliseconds = |value: &Value| value["ns"].as_f64().unwrap() / 1e6;
    let phases: Vec<(String, f64)> = data["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|phase| (phase["phase"].as_str().unwrap().to_owned(), milliseconds(phase)))
        .collect();
    let at = |name: &str| phases.iter().find(|(phase, _)| phase == name).unwrap().1;
    let mut rows = Vec::new();
    let mut before = 0.0;
    for (phase, to) in
        phases.iter().filter(|(phase, _)| OUTSIDE.iter().any(|(name, _)| name == phase))
    {
        rows.push(Row { from: before, to: *to, what: outside(phase).to_owned(), inside: false });
        before = *to;
    }
    let mut before = at("group_made");
    for step in data["steps"].as_array().unwrap() {
        let (name, to) = (step["step"].as_str().unwrap(), milliseconds(step));
        let group = GROUPS.iter().find(|(start, _)| name.starts_with(start));
        let what = group.map_or(shortened(name), |(_, what)| (*what).to_owned());
        match rows.last_mut() {
            Some(last) if last.what == what => last.to = to,
            _ => rows.push(Row { from: before, to, what, inside: true }),
        }
        before = to;
    }
    let what = "fork, put up the filter, exec; tell duplex".to_owned();
    rows.push(Row { from: before, to: at("command_started"), what, inside: true });
    let what = "the command's first output arrives".to_owned();
    rows.push(Row { from: at("command_started"), to: at("first_output"), what, inside: false });
    rows.sort_by(|a, b| a.to.total_cmp(&b.to));
    let total = at("first_output");
    let bottom = TOP + ROW * f64::from(u32::try_from(rows.len()).unwrap());
    let mut svg = Svg::new(
        780.0,
        bottom + 46.0,
        "A container's start, step by step",
        "A bar for each step, from the start of the process to the command's first output, in the order in \
         which they ended. duplex and the container's PID 1 work at the same time.",
    );
    svg.text(20.0, 54.0, "small", Anchor::Start, "duplex run --container IMAGE echo hello");
    for (x, class, who) in
        [(LEFT, "host", "duplex"), (LEFT + 90.0, "guest", "PID 1 of the container")]
    {
        svg.rect(x, 44.0, 12.0, 12.0, class);
        svg.text(x + 18.0, 54.0, "small", Anchor::Start, who);
    }
    let scale = WIDTH / total;
    for tick in ticks(1.0, total) {
        let x = LEFT + tick * scale;
        svg.line((x, TOP - 8.0), (x, bottom), "axis");
        svg.text(x, bottom + 15.0, "small middle", Anchor::Start, &tick.to_string());
    }
    svg.text(LEFT + WIDTH, bottom + 32.0, "small", Anchor::End, "ms since execve");
    let mut y = TOP;
    for Row { from, to, what, inside } in rows {
        let class = if inside { "guest" } else { "host" };
        svg.text(LEFT - 10.0, y + 12.0, "", Anchor::End, &what);
        svg.rect(LEFT + from * scale, y + 1.0, ((to - from) * scale).max(1.5), ROW - 6.0, class);
        svg.text(
            LEFT + to * scale + 6.0,
            y + 12.0,
            "small",
            Anchor::Start,
            &format!("{:.2}", to - from),
        );
        y += ROW;
    }
    svg.finish()
}

fn outside(phase: &str) -> &'static str {
    OUTSIDE.iter().find(|(name, _)| *name == phase).map_or("", |(_, what)| what)
}

fn shortened(step: &str) -> String {
    if step.starts_with("set the host name") {
        return "set the host name".to_owned();
    }
    step.split(", and").next().unwrap_or(step).chars().take(52).collect()
}
