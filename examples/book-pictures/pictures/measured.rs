//! The table of chapter 6, from reports of `duplex bench`: what a plain process, a container and a VM took.

use duplex::bench::results::{Interval, Place, Results, Series, Table, Unit};

const BEGIN: &str = "<!-- measured: written by `cargo run --example book-pictures` -->\n";
const END: &str = "<!-- end of what was measured -->\n";
const CONTENDERS: [&str; 3] = ["process", "duplex-container", "duplex-vm"];

/// Which figures are shown: the table's case, the figure's name, and what it is.
const FIGURES: [(&str, &str, &str); 10] = [
    ("start.", "first_byte", "start, to the workload's first byte"),
    ("start.", "exit", "start, work and end"),
    ("cpu.", "integer", "integer arithmetic"),
    ("cpu.", "memory", "copying in memory"),
    ("cpu.", "system_call", "system calls"),
    ("cpu.", "page_fault", "page faults"),
    ("cpu.", "fork_exec", "fork and exec"),
    ("memory.", "idle", "memory of an idle instance"),
    ("memory.", "touched", "the same when 64 MiB were touched"),
    ("memory.", "after_free", "the same when they were given back"),
];

/// The chapter with the table made anew.
pub(crate) fn in_chapter(chapter: &str, reports: &[Results]) -> String {
    let (before, rest) = chapter.split_once(BEGIN).expect("where the table begins");
    let (_, after) = rest.split_once(END).expect("where the table ends");
    format!("{before}{BEGIN}{}{END}{after}", table(reports))
}

fn table(reports: &[Results]) -> String {
    let mut out = String::from(
        "\n| | where | rounds | plain process | container | VM |\n|---|---|---|---|---|---|\n",
    );
    let tables = || reports.iter().flat_map(|report| &report.tables);
    for (case, metric, what) in FIGURES {
        for table in tables().filter(|table| table.id.starts_with(case)) {
            if let Some(cells) = cells(table, metric) {
                out.push_str(&format!("| {what} | {} | {cells} |\n", place(table)));
            }
        }
    }
    out.push_str("\nMedians, in brackets their 95 % intervals, by ");
    let commands = reports.iter().map(|report| {
        let early = if report.complete { "" } else { ", ended before its last rounds" };
        format!("`{}` (seed {}{early})", command(report), report.seed)
    });
    out.push_str(&commands.collect::<Vec<_>>().join(" and "));
    out.push_str(". What the reports say about themselves:\n\n");
    let mut told = Vec::new();
    for caution in reports.iter().flat_map(|report| &report.cautions) {
        if !told.contains(&caution) {
            out.push_str(&format!("- {caution}\n"));
            told.push(caution);
        }
    }
    out.push('\n');
    out
}

/// The command that a report is of, wherever the program and the report were.
fn command(report: &Results) -> String {
    let words = report.command.iter().skip(1).take_while(|word| *word != "--out");
    ["duplex"].into_iter().chain(words.map(String::as_str)).collect::<Vec<_>>().join(" ")
}

/// How many rounds, and the three figures; `None` where fewer than two of the three have one.
fn cells(table: &Table, metric: &str) -> Option<String> {
    let of = |contender: &str| -> Option<&Series> {
        table.series.iter().find(|one| one.contender == contender && one.metric == metric)
    };
    let found = CONTENDERS
        .map(|contender| of(contender).and_then(|one| Some((one.unit, one.summary.as_ref()?))));
    let rounds = found.iter().flatten().map(|(_, summary)| summary.n).max()?;
    if found.iter().flatten().count() < 2 {
        return None;
    }
    let figures =
        found.map(|one| one.map_or("".into(), |(unit, summary)| figure(unit, summary.median)));
    Some(format!("{rounds} | {}", figures.join(" | ")))
}

fn place(table: &Table) -> &'static str {
    match (table.place, table.id.ends_with("cold")) {
        (Place::Host, false) => "host",
        (Place::Host, true) => "host, files not in memory",
        (Place::Testbed, false) => "testbed",
        (Place::Testbed, true) => "testbed, files not in memory",
        (Place::Counting, _) => "counted",
    }
}

/// The value with its interval.
fn figure(unit: Unit, Interval { value, low, high }: Interval) -> String {
    let (scale, name) = match unit {
        Unit::Milliseconds => (1.0, "ms"),
        Unit::MillionInstructions => (1.0, "M instr."),
        Unit::PerSecond => (1e-3, "k/s"),
        Unit::BytesPerSecond => (1.0 / f64::from(1 << 20), "MiB/s"),
        Unit::Bytes => (1.0 / f64::from(1 << 20), "MiB"),
        Unit::Count => (1.0, ""),
    };
    let text = |value: f64| match value * scale {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    };
    format!("{} {name} [{}, {}]", text(value), text(low), text(high))
}
