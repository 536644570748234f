//! What a page says but for figures: what was run, where, by whom, and what to think of it.

use super::elements::{Cell, Narrow, Table};
use super::{escape, words};
use crate::bench::report::svg::strips::class;
use crate::bench::results::{Results, Wall};

/// What was run and when.
pub(super) fn header(page: &mut String, title: &str, results: &Results) {
    let end = if results.complete { "took" } else { "was interrupted after" };
    page.push_str(&format!(
        "<header>\n<h1>{title}</h1>\n<p>The same work behind different walls, measured by \
         <code>{}</code>.</p>\n<p class=\"muted\">duplex {} · began {} · {end} {} · {} rounds · seed {}</p>\n</header>\n",
        escape(&results.command.join(" ")),
        escape(&results.duplex),
        escape(&results.started),
        words::duration(results.seconds),
        results.runs,
        results.seed
    ));
}

/// What the figures can't tell.
pub(super) fn cautions(page: &mut String, results: &Results) {
    let cautions = words::cautions(results);
    if cautions.is_empty() {
        return;
    }
    page.push_str("<section class=\"caution\" aria-labelledby=\"cautions\">\n");
    page.push_str("<h2 id=\"cautions\">What these figures can’t tell</h2>\n<ul>\n");
    for caution in cautions {
        page.push_str(&format!("<li>{}</li>\n", escape(caution)));
    }
    page.push_str("</ul>\n</section>\n");
}

/// What textbooks say.
pub(super) fn claims(page: &mut String, results: &Results) {
    if results.claims.is_empty() {
        return;
    }
    page.push_str("<h2 id=\"claims\">What textbooks claim, and what was measured</h2>\n");
    let columns =
        [("Claim", false), ("Measured here", false), ("Off by at least", true), ("Why", false)];
    let caption = "Each claim against this run. The factor counts from the claim’s nearer end, for the contender that comes nearest.";
    let mut table = Table::begin(page, "claims-table", caption, Narrow::Stack, &columns);
    for claim in &results.claims {
        table.row(&[
            Cell::Head(claim.claim.clone()),
            Cell::Text(claim.measured.clone()),
            Cell::Figure(words::off_by(claim.factor)),
            Cell::Text(claim.why.clone()),
        ]);
    }
    table.end();
}

/// Where to find what.
pub(super) fn contents(page: &mut String, results: &Results) {
    page.push_str(
        "<nav aria-labelledby=\"contents\">\n<h2 id=\"contents\">What was measured</h2>\n<ul>\n",
    );
    for (number, table) in results.tables.iter().enumerate() {
        page.push_str(&format!(
            "<li><a href=\"#t{number}\">{}, {}</a></li>\n",
            escape(&table.title),
            words::place(table.place)
        ));
    }
    page.push_str("<li><a href=\"#contenders\">Contenders</a></li>\n<li><a href=\"#host\">The host</a></li>\n");
    page.push_str("<li><a href=\"#raw\">Raw data</a></li>\n</ul>\n</nav>\n");
}

/// What the marks mean.
pub(super) fn how_to_read(page: &mut String) {
    page.push_str("<h2 id=\"read\">How to read the figures</h2>\n<p>");
    page.push_str(words::HOW_TO_READ);
    page.push_str("</p>\n<ul class=\"key\" aria-label=\"Colours\">\n");
    for wall in [Wall::Process, Wall::Container, Wall::Sandbox, Wall::Vm] {
        page.push_str(&format!(
            "<li><i class=\"b-{}\"></i>wall: {}</li>\n",
            class(wall),
            words::wall(wall)
        ));
    }
    page.push_str("</ul>\n");
}

/// Who took part, and who did not.
pub(super) fn contenders(page: &mut String, results: &Results) {
    page.push_str("<h2 id=\"contenders\">Contenders</h2>\n");
    let columns = [
        ("Contender", false),
        ("What it is", false),
        ("Wall", false),
        ("Version", false),
        ("Took part", false),
    ];
    let caption = "All that were asked for; one that is missing says why.";
    let mut table = Table::begin(page, "contenders-table", caption, Narrow::Stack, &columns);
    for contender in &results.contenders {
        table.row(&[
            Cell::Head(contender.id.clone()),
            Cell::Text(contender.name.clone()),
            Cell::Text(words::wall(contender.wall).to_owned()),
            Cell::Text(contender.version.clone().unwrap_or_else(|| "–".to_owned())),
            Cell::Text(words::took_part(contender)),
        ]);
    }
    table.end();
}

/// The machine.
pub(super) fn host(page: &mut String, results: &Results) {
    page.push_str("<h2 id=\"host\">The host</h2>\n");
    let columns = [("What", false), ("Found", false)];
    let mut table =
        Table::begin(page, "host-table", "The machine, as it was found.", Narrow::Stack, &columns);
    for fact in &results.host {
        table.row(&[Cell::Head(fact.name.clone()), Cell::Text(fact.value.clone())]);
    }
    table.end();
}
