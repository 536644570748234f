//! `report.md`: the same as text, for a terminal, a review or a commit.

use super::svg::axis::Axis;
use super::svg::timelines::spans;
use super::{text, words};
use crate::bench::results::{Results, Series, Table, Unit};

/// Letters of a plot.
const PLOT: usize = 50;

/// All of the report.
pub(crate) fn text(results: &Results) -> String {
    let mut out = String::from("# What the wall costs\n\n");
    let end = if results.complete { "took" } else { "was interrupted after" };
    out.push_str(&format!(
        "The same work behind different walls, measured by `{}`.\n\nduplex {} · began {} · {end} {} · {} rounds · \
         seed {}\n\n",
        code(&results.command.join(" ")),
        escape(&results.duplex),
        escape(&results.started),
        words::duration(results.seconds),
        results.runs,
        results.seed
    ));
    cautions(&mut out, results);
    if !results.claims.is_empty() {
        out.push_str("## What textbooks claim, and what was measured\n\n");
        let rows = results.claims.iter().map(|claim| {
            vec![
                claim.claim.clone(),
                claim.measured.clone(),
                words::off_by(claim.factor),
                claim.why.clone(),
            ]
        });
        rows_of(&mut out, &["Claim", "Measured here", "Off by at least", "Why"], rows);
    }
    out.push_str(&format!("## How to read the figures\n\n{}\n\n", words::HOW_TO_READ));
    out.push_str("In the plots a block is the higher the more rounds lie there.\n\n");
    for table in &results.tables {
        measured(&mut out, table);
    }
    out.push_str("## Contenders\n\n");
    let rows = results.contenders.iter().map(|contender| {
        vec![
            contender.id.clone(),
            contender.name.clone(),
            words::wall(contender.wall).to_owned(),
            contender.version.clone().unwrap_or_else(|| "–".to_owned()),
            words::took_part(contender),
        ]
    });
    rows_of(&mut out, &["Contender", "What it is", "Wall", "Version", "Took part"], rows);
    out.push_str("## The host\n\n");
    let rows = results.host.iter().map(|fact| vec![fact.name.clone(), fact.value.clone()]);
    rows_of(&mut out, &["What", "Found"], rows);
    out.push_str("## Raw data\n\nAll samples in the order of rounds are in `report.json`.\n");
    out
}

fn cautions(out: &mut String, results: &Results) {
    let cautions = words::cautions(results);
    if cautions.is_empty() {
        return;
    }
    out.push_str("## What these figures can’t tell\n\n");
    for caution in cautions {
        out.push_str(&format!("- {}\n", escape(caution)));
    }
    out.push('\n');
}

fn measured(out: &mut String, table: &Table) {
    out.push_str(&format!(
        "## {}, {}\n\n`{}`\n\n",
        escape(&table.title),
        words::place(table.place),
        code(&table.id)
    ));
    for (metric, unit, series) in words::metrics(table) {
        let heading = words::metric(metric);
        let (of, better) = (words::unit(unit), words::better(unit));
        out.push_str(&format!("### {}: {of}, {better}\n\n", escape(&heading)));
        let times = words::times_baseline(table);
        let mut columns = vec!["Contender", "n", "Median (95 % interval)"];
        columns.extend(times.as_deref());
        columns.extend(["p95", "p99", "Range", "Outliers"]);
        let rows = series.iter().map(|series| {
            let mut cells = vec![series.contender.clone()];
            cells.extend(words::cells(series, times.is_some()));
            cells
        });
        rows_of(out, &columns, rows);
        out.push_str(&plot(&series, unit));
    }
    for timeline in &table.timelines {
        out.push_str(&format!("### Phases of {}\n\n", escape(&timeline.contender)));
        let rows = spans(timeline).into_iter().map(|span| {
            vec![
                span.phase.name.clone(),
                span.phase.by.clone(),
                words::figure(span.phase.end, timeline.unit),
                words::figure(span.took(), timeline.unit),
            ]
        });
        rows_of(out, &["Phase", "By", "Ended at", "Took"], rows);
    }
    if !table.curves.is_empty() {
        out.push_str("### Against the number of instances\n\n");
        let rows = table.curves.iter().map(|curve| {
            let point = |(number, value): &(u32, f64)| {
                format!("{number}: {}", words::figure(*value, curve.unit))
            };
            let points: Vec<_> = curve.points.iter().map(point).collect();
            let values: Vec<f64> = curve.points.iter().map(|(_, value)| *value).collect();
            vec![
                curve.contender.clone(),
                words::metric(&curve.metric),
                text::growth(&values),
                points.join(" · "),
                curve.end.clone(),
            ]
        });
        rows_of(
            out,
            &["Contender", "Metric", "Growth", "Instances: value", "Why it ends there"],
            rows,
        );
    }
    findings(out, table);
    if !table.failures.is_empty() {
        out.push_str("### What went wrong\n\n");
        let rows =
            table.failures.iter().map(|failure| vec![failure.name.clone(), failure.value.clone()]);
        rows_of(out, &["What", "How often, and why"], rows);
    }
    out.push_str("### How it was taken\n\n");
    for paragraph in table.how.split("\n\n") {
        out.push_str(&format!("{}\n\n", escape(paragraph)));
    }
}

fn findings(out: &mut String, table: &Table) {
    if table.findings.is_empty() {
        return;
    }
    out.push_str("### Found out from inside\n\n");
    let contenders = words::finders(table);
    let mut columns = vec!["What"];
    columns.extend(&contenders);
    columns.push("What it means");
    let rows = table.findings.iter().map(|finding| {
        let mut cells = vec![finding.subject.clone()];
        let found = |id: &&str| finding.found.get(*id).map_or("–", String::as_str).to_owned();
        cells.extend(contenders.iter().map(found));
        cells.push(finding.meaning.clone());
        cells
    });
    rows_of(out, &columns, rows);
}

/// The distributions, below each other on one axis.
fn plot(series: &[&Series], unit: Unit) -> String {
    let samples = |series: &&Series| series.samples.iter().flatten().copied().collect::<Vec<_>>();
    let all: Vec<f64> = series.iter().flat_map(samples).collect();
    if all.is_empty() {
        return String::new();
    }
    let axis = Axis::of(all);
    let name = |name: &str| words::short(name, 20).replace('`', "'");
    let mut out = String::from("```text\n");
    for series in series {
        let drawn = text::density(&axis, samples(series), PLOT);
        out.push_str(&format!("{:>20} |{drawn}|\n", name(&series.contender)));
    }
    let (low, high) = axis.ends();
    let log = if axis.is_log() { ", logarithmic" } else { "" };
    let [low, high] = [low, high].map(|end| words::figure(end, unit));
    out.push_str(&format!("{:>20}  {low}{} to {high}{log}\n```\n\n", "", axis.or_less()));
    out
}

/// A table of cells.
fn rows_of(out: &mut String, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    out.push_str(&line(columns.iter().map(|column| escape(column)).collect()));
    out.push_str(&format!("|{}\n", "---|".repeat(columns.len())));
    for row in rows {
        out.push_str(&line(row.iter().map(|cell| escape(cell)).collect()));
    }
    out.push('\n');
}

/// Text that Markdown takes for nothing else, in one line.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in words::plain(text).chars() {
        match letter {
            '\\' | '|' | '*' | '_' | '`' | '[' | '&' | '~' => escaped.extend(['\\', letter]),
            '<' => escaped.push_str("&lt;"),
            '\n' | '\t' => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Text between backticks.
fn code(text: &str) -> String {
    words::plain(text).replace('`', "'").replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    /// `DUPLEX_ACCEPT=1 cargo test` writes what is found as what is expected.
    #[test]
    fn the_text_is_as_it_was() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report.md");
        let found = text(&sample::results());
        if std::env::var_os("DUPLEX_ACCEPT").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
            assert_eq!(found, expected, "line {}", number + 1);
        }
        assert_eq!(found.len(), expected.len());
    }

    #[test]
    fn nothing_that_comes_from_data_is_taken_for_markup() {
        assert_eq!(
            escape("a|b\n<script> [x](y) `c` _d_"),
            "a\\|b &lt;script> \\[x](y) \\`c\\` \\_d\\_"
        );
        assert_eq!(code("a`b\nc"), "a'b c");
        let text = text(&sample::hostile());
        // Between backticks it is code, and shown as it is.
        for line in text.lines().map(|line| line.replace("\\`", "")) {
            assert!(line.split('`').step_by(2).all(|words| !words.contains("<script")), "{line}");
        }
        assert!(!text.lines().any(|line| line.starts_with("# Injected")));
    }
}
