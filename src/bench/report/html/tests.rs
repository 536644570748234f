use sha2::{Digest, Sha256};

use super::super::sample;
use super::*;

fn page_of(results: &Results) -> String {
    page(results, &serde_json::to_string(results).unwrap())
}

/// RFC 4648, for a digest.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits =
            (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(*group.get(at).unwrap_or(&0)));
        let letter =
            |at: u32| char::from(LETTERS[usize::try_from(bits >> (18 - 6 * at) & 63).unwrap()]);
        let letters = u32::try_from(group.len()).unwrap() + 1;
        (0..4).map(|at| if at < letters { letter(at) } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

#[test]
fn the_digest_is_that_of_the_script() {
    assert_eq!(SCRIPT_DIGEST, format!("sha256-{}", base64(&Sha256::digest(SCRIPT))));
    assert!(page_of(&sample::results()).contains(&format!("<script>{SCRIPT}</script>")));
}

#[test]
fn ids_are_unique_and_references_lead_somewhere() {
    let page = page_of(&sample::results());
    let values = |attribute: &str| {
        let start = format!(" {attribute}=\"");
        let values =
            page.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        values.collect::<Vec<_>>()
    };
    let mut ids = values("id");
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
    let labels = values("aria-labelledby");
    assert!(labels.len() > 20);
    let anchors =
        values("href").into_iter().filter_map(|href| Some(href.strip_prefix('#')?.to_owned()));
    let labels = labels.iter().flat_map(|label| label.split(' ')).map(str::to_owned);
    for reference in labels.chain(anchors) {
        assert!(ids.contains(&reference), "{reference}");
    }
}

#[test]
fn nothing_is_fetched() {
    let page = page_of(&sample::results());
    for part in ["src=", "@import", "url(", "https:", "http:"] {
        // The digest of the script names no place; gvisor.dev is a word of the data.
        assert!(!page.contains(part), "{part}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn hostile_data_stay_data() {
    let results = sample::hostile();
    let page = page_of(&results);
    assert_eq!(page.matches("<script").count(), 2, "the data and our own");
    assert_eq!(page.matches("</script>").count(), 2);
    assert_eq!(page.matches("</title>").count(), 1 + page.matches("<title id=").count());
    for part in ["\0", "\x1b", "\u{202e}", "NaN", "inf\""] {
        assert!(!page.contains(part), "{part:?}");
    }
    let embedded = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    assert!(serde_json::from_str::<Results>(embedded).unwrap() == results);
}

#[test]
fn an_empty_run_is_a_page_too() {
    let mut results = sample::results();
    results.tables.clear();
    results.claims.clear();
    results.contenders.clear();
    results.cautions.clear();
    results.complete = false;
    let page = page_of(&results);
    assert!(page.contains("It was interrupted"), "{page}");
    assert!(!page.contains("id=\"claims\""));
}

#[test]
fn every_row_has_a_cell_for_each_column() {
    let page = page_of(&sample::results());
    let tables = || page.split("<table").skip(1).map(|rest| rest.split("</table>").next().unwrap());
    assert!(tables().count() > 10);
    for table in tables() {
        let columns = table.matches("scope=\"col\"").count();
        for row in table.split("<tr").skip(2).filter(|row| !row.contains("rowgroup")) {
            let cells = row.matches("<td").count() + row.matches("<th").count();
            assert_eq!(cells, columns, "{row}");
        }
    }
}
