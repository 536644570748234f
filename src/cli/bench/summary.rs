//! What was found, as tables for a terminal.

use std::io::{self, Write};

use comfy_table::CellAlignment;

use crate::bench::results::{Interval, Results, Series, Table, Unit};
use crate::cli::table;

/// Prints it on standard output.
pub(super) fn print(results: &Results) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for caution in &results.cautions {
        writeln!(out, "CAUTION: {caution}\n")?;
    }
    for contender in results.contenders.iter().filter(|contender| contender.missing.is_some()) {
        let reason = contender.missing.as_deref().unwrap_or_default();
        writeln!(out, "MISSING: {}: {reason}", contender.id)?;
    }
    for table in &results.tables {
        writeln!(out, "\n{} ({})\n{}", table.title, table.id, text(table))?;
        for failure in &table.failures {
            writeln!(out, "FAILED: {}: {}", failure.name, failure.value)?;
        }
    }
    let (seed, seconds) = (results.seed, results.seconds);
    writeln!(out, "\nseed {seed}, {} rounds, {seconds:.0} s", results.runs)?;
    if !results.complete {
        writeln!(out, "INTERRUPTED: there was more to come")?;
    }
    Ok(())
}

fn text(of: &Table) -> String {
    let header = [
        "CONTENDER",
        "METRIC",
        "UNIT",
        "N",
        "MEDIAN",
        "95 % INTERVAL",
        "P95",
        "P99",
        "TIMES BASELINE",
    ];
    let mut rows = table(&header);
    for series in &of.series {
        rows.add_row(row(series));
    }
    for column in rows.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    rows.trim_fmt()
}

fn row(series: &Series) -> Vec<String> {
    let mut row =
        vec![series.contender.clone(), series.metric.clone(), unit(series.unit).to_owned()];
    let Some(summary) = &series.summary else { return row };
    row.push(summary.n.to_string());
    row.push(number(summary.median.value));
    row.push(interval(summary.median));
    row.push(number(summary.p95.value));
    row.push(number(summary.p99.value));
    if let Some(ratio) = series.ratio {
        let value = number(ratio.median.value);
        row.push(format!("{value} [{}]", interval(ratio.median)));
    }
    row
}

fn interval(of: Interval) -> String {
    format!("{} … {}", number(of.low), number(of.high))
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "ms",
        Unit::MillionInstructions => "M instr",
        Unit::PerSecond => "/s",
        Unit::Bytes => "B",
        Unit::BytesPerSecond => "B/s",
        Unit::Count => "",
    }
}
