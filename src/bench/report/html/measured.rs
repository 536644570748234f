//! One table of results as a part of the page: pictures, figures, phases, curves, findings, failures, method.

use super::elements::{Cell, Narrow, Table as Rows, figure, paragraphs};
use super::{escape, words};
use crate::bench::report::svg::timelines::spans;
use crate::bench::report::svg::{curves, ratios, strips, timelines};
use crate::bench::results::{Curve, Results, Table, Timeline, Unit};

/// All of it.
pub(super) fn table(page: &mut String, results: &Results, number: usize, table: &Table) {
    let id = format!("t{number}");
    page.push_str(&format!(
        "<section aria-labelledby=\"{id} {id}-where\">\n<h2 id=\"{id}\">{}</h2>\n<p class=\"muted\" \
         id=\"{id}-where\">{} · measured {} · <code>{}</code></p>\n",
        escape(&table.title),
        words::case(table.case),
        words::place(table.place),
        escape(&table.id)
    ));
    distributions(page, results, &id, table);
    if let Some(picture) = ratios::chart(&format!("{id}-ratios"), results, table) {
        page.push_str("<h3>Ratios</h3>\n");
        figure(
            page,
            &picture,
            "Median of the ratios within rounds, with its 95 % interval. Dashed: as much as the baseline.",
        );
    }
    figures(page, &id, table);
    phases(page, results, &id, table);
    growth(page, results, &id, table);
    findings(page, &id, table);
    failures(page, &id, table);
    page.push_str("<h3>How it was taken</h3>\n");
    paragraphs(page, &table.how);
    page.push_str("</section>\n");
}

fn distributions(page: &mut String, results: &Results, id: &str, table: &Table) {
    for (number, (metric, unit, series)) in words::metrics(table).into_iter().enumerate() {
        let heading = words::metric(metric);
        page.push_str(&format!("<h3>{}</h3>\n", escape(&capital(&heading))));
        let title = format!("{}: {heading}", table.title);
        let strips = strips::strips(results, &series);
        let picture = strips::chart(&format!("{id}-m{number}"), &title, unit, &strips);
        let caption =
            "Each dot is a round, a ring an outlier; line: median, band: its 95 % interval.";
        figure(page, &picture, caption);
    }
}

/// Its title and place: tables of several places have the same title.
fn named(table: &Table) -> String {
    format!("{}, {}", table.title, words::place(table.place))
}

/// With a capital first letter.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn figures(page: &mut String, id: &str, table: &Table) {
    if table.series.is_empty() {
        return;
    }
    page.push_str("<h3>Figures</h3>\n");
    let times = words::times_baseline(table);
    let mut columns = vec![("Contender", false), ("n", true), ("Median (95 % interval)", true)];
    columns.extend(times.as_ref().map(|times| (times.as_str(), true)));
    columns.extend([("p95", true), ("p99", true), ("Range", true), ("Outliers", true)]);
    let caption = format!("{}: figures with their 95 % intervals", named(table));
    let mut rows = Rows::begin(page, &format!("{id}-figures"), &caption, Narrow::Scroll, &columns);
    for (metric, unit, series) in words::metrics(table) {
        rows.group(&format!(
            "{} ({}, {})",
            words::metric(metric),
            words::unit(unit),
            words::better(unit)
        ));
        for series in series {
            let mut cells = vec![Cell::Head(series.contender.clone())];
            cells.extend(words::cells(series, times.is_some()).into_iter().map(Cell::Figure));
            rows.row(&cells);
        }
    }
    rows.end();
}

fn phases(page: &mut String, results: &Results, id: &str, table: &Table) {
    for (number, unit) in
        units(table.timelines.iter().map(|timeline| timeline.unit)).into_iter().enumerate()
    {
        let own: Vec<&Timeline> =
            table.timelines.iter().filter(|timeline| timeline.unit == unit).collect();
        page.push_str("<h3>Where the time goes</h3>\n");
        let title = format!("{}: phases", table.title);
        let picture = timelines::chart(&format!("{id}-p{number}"), &title, results, unit, &own);
        figure(
            page,
            &picture,
            "Medians over rounds of their own. The numbers are those of the lists below.",
        );
    }
    for (number, timeline) in table.timelines.iter().enumerate() {
        page.push_str(&format!(
            "<details>\n<summary>Phases of {}</summary>\n",
            escape(&timeline.contender)
        ));
        let columns =
            [("No.", true), ("Phase", false), ("By", false), ("Ended at", true), ("Took", true)];
        let caption = format!("{}: phases of {}", named(table), timeline.contender);
        let mut rows =
            Rows::begin(page, &format!("{id}-phases{number}"), &caption, Narrow::Scroll, &columns);
        for span in spans(timeline) {
            rows.row(&[
                Cell::Figure(span.number.to_string()),
                Cell::Head(span.phase.name.clone()),
                Cell::Text(span.phase.by.clone()),
                Cell::Figure(words::figure(span.phase.end, timeline.unit)),
                Cell::Figure(words::figure(span.took(), timeline.unit)),
            ]);
        }
        rows.end();
        page.push_str("</details>\n");
    }
}

fn growth(page: &mut String, results: &Results, id: &str, table: &Table) {
    let mut metrics: Vec<(&str, Unit)> = Vec::new();
    for curve in &table.curves {
        if !metrics.contains(&(&curve.metric, curve.unit)) {
            metrics.push((&curve.metric, curve.unit));
        }
    }
    for (number, (metric, unit)) in metrics.into_iter().enumerate() {
        let of_metric = |curve: &&Curve| curve.metric == metric && curve.unit == unit;
        let own: Vec<&Curve> = table.curves.iter().filter(of_metric).collect();
        let heading = format!("{} against instances", words::metric(metric));
        page.push_str(&format!("<h3>{}</h3>\n", escape(&capital(&heading))));
        let picture = curves::chart(
            &format!("{id}-c{number}"),
            &format!("{}: {heading}", table.title),
            results,
            unit,
            &own,
        );
        figure(
            page,
            &picture,
            &format!("{}, {}.", capital(words::unit(unit)), words::better(unit)),
        );
        let columns =
            [("Contender", false), ("Instances: value", false), ("Why it ends there", false)];
        let caption = format!("{}: {heading}", named(table));
        let mut rows =
            Rows::begin(page, &format!("{id}-points{number}"), &caption, Narrow::Stack, &columns);
        for curve in own {
            let point = |(instances, value): &(u32, f64)| {
                format!("{instances}: {}", words::figure(*value, unit))
            };
            let points: Vec<_> = curve.points.iter().map(point).collect();
            rows.row(&[
                Cell::Head(curve.contender.clone()),
                Cell::Text(points.join(" · ")),
                Cell::Text(curve.end.clone()),
            ]);
        }
        rows.end();
    }
}

fn units(units: impl Iterator<Item = Unit>) -> Vec<Unit> {
    let mut known = Vec::new();
    for unit in units {
        if !known.contains(&unit) {
            known.push(unit);
        }
    }
    known
}

fn findings(page: &mut String, id: &str, table: &Table) {
    if table.findings.is_empty() {
        return;
    }
    page.push_str("<h3>Found out from inside</h3>\n");
    let contenders = words::finders(table);
    let mut columns = vec![("What", false)];
    columns.extend(contenders.iter().map(|contender| (*contender, false)));
    columns.push(("What it means", false));
    let caption = format!("{}: what was found", named(table));
    let mut rows = Rows::begin(page, &format!("{id}-findings"), &caption, Narrow::Scroll, &columns);
    for finding in &table.findings {
        let mut cells = vec![Cell::Head(finding.subject.clone())];
        let found = |id: &&str| finding.found.get(*id).map_or("–", String::as_str);
        cells.extend(contenders.iter().map(|id| Cell::Text(found(id).to_owned())));
        cells.push(Cell::Text(finding.meaning.clone()));
        rows.row(&cells);
    }
    rows.end();
}

fn failures(page: &mut String, id: &str, table: &Table) {
    if table.failures.is_empty() {
        return;
    }
    page.push_str("<h3>What went wrong</h3>\n");
    let columns = [("What", false), ("How often, and why", false)];
    let caption = format!("{}: a round that failed has no sample", named(table));
    let mut rows = Rows::begin(page, &format!("{id}-failures"), &caption, Narrow::Stack, &columns);
    for failure in &table.failures {
        rows.row(&[Cell::Head(failure.name.clone()), Cell::Text(failure.value.clone())]);
    }
    rows.end();
}
