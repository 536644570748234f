//! `report.html`: one file that needs nothing else, for a desk and for a hand, in light and in dark.

use crate::bench::results::Results;

use super::svg::{self, escape};
use super::words;

mod elements;
mod facts;
mod measured;

/// How the page looks.
const STYLE: &str = include_str!("page.css");

/// What the button does.
const SCRIPT: &str = include_str!("page.js");

/// The digest of [`SCRIPT`]: no other script runs in the page, whatever its data say.
const SCRIPT_DIGEST: &str = "sha256-g2YNtGb+fsC1tFAjHRnzaFQJWtHX+zBBNcpEjbriHrQ=";

/// The page. `json` is the document as it is in `report.json`.
pub(crate) fn page(results: &Results, json: &str) -> String {
    let mut page = String::with_capacity(json.len() * 3);
    let title = "What the wall costs";
    page.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str(&format!(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src '{SCRIPT_DIGEST}'; img-src data:; base-uri 'none'; form-action 'none'\">\n"
    ));
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.push_str(&format!("<title>{title}: {}</title>\n", escape(&results.started)));
    // A page without an icon of its own is asked for one.
    page.push_str("<link rel=\"icon\" href=\"data:,\">\n");
    page.push_str(&format!("<style>{}{STYLE}</style>\n</head>\n<body>\n", svg::STYLE));
    facts::header(&mut page, title, results);
    page.push_str("<main>\n");
    facts::cautions(&mut page, results);
    facts::claims(&mut page, results);
    facts::contents(&mut page, results);
    facts::how_to_read(&mut page);
    for (number, table) in results.tables.iter().enumerate() {
        measured::table(&mut page, results, number, table);
    }
    facts::contenders(&mut page, results);
    facts::host(&mut page, results);
    page.push_str("<h2 id=\"raw\">Raw data</h2>\n<p>All samples in the order of rounds, as in <code>report.json</code>. ");
    page.push_str(
        "<code>duplex bench compare A.json B.json</code> says what changed between two runs.</p>\n",
    );
    page.push_str(
        "<p><button type=\"button\" id=\"download\">Save report.json</button></p>\n</main>\n",
    );
    page.push_str(&format!(
        "<script type=\"application/json\" id=\"data\">{}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        harmless(json)
    ));
    page
}

/// JSON that cannot end the element that it stands in: the same document, with those letters escaped that HTML
/// takes for something, or that steer how text is shown.
fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if matches!(letter, '<' | '>' | '&') || words::steers(letter) {
            text.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests;
