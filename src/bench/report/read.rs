//! `report.json` read again. It may come from anywhere: it is checked as a whole before anybody shows it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::bench::results::{Interval, Results, SCHEMA, Series};

/// The longest document that is read: a hundred times what a run of all cases makes, and more than one of the most
/// rounds that can be asked for.
const LARGEST: u64 = 64 << 20;

/// The most samples of a figure: as many rounds as can be asked for.
const MOST_SAMPLES: usize = 10_000;

/// The longest part of a parser's message that is shown: it may quote the file.
const LONGEST_REASON: usize = 200;

/// Why a file is no report.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("cannot read the report {path}: {reason}")]
    Unreadable { path: PathBuf, reason: io::Error },
    #[error("{path} is too long for a report: more than {} MiB", LARGEST >> 20)]
    TooLong { path: PathBuf },
    #[error(
        "{path} is no report of duplex bench: {reason}; give the report.json of a directory that \
         `duplex bench --out` has filled"
    )]
    NoReport { path: PathBuf, reason: String },
    #[error(
        "{path} is a report of schema {found}, and this duplex reads {SCHEMA}: use the duplex that made it"
    )]
    OtherSchema { path: PathBuf, found: u64 },
}

/// What is read first, whatever else a document of another schema may have.
#[derive(Deserialize)]
struct Version {
    schema: u64,
}

/// Reads a report's document.
///
/// # Errors
/// The file cannot be read, or is none, or one of another schema; says which.
pub fn document(path: &Path) -> Result<Results, Error> {
    let unreadable = |reason| Error::Unreadable { path: path.to_owned(), reason };
    let mut text = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LARGEST + 1).read_to_end(&mut text).map_err(unreadable)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(Error::TooLong { path: path.to_owned() });
    }
    let no_report = |reason: String| Error::NoReport { path: path.to_owned(), reason };
    let parse_error = |error: serde_json::Error| no_report(shortened(&error.to_string()));
    let version: Version = serde_json::from_slice(&text).map_err(parse_error)?;
    if version.schema != u64::from(SCHEMA) {
        return Err(Error::OtherSchema { path: path.to_owned(), found: version.schema });
    }
    let results: Results = serde_json::from_slice(&text).map_err(parse_error)?;
    check(&results).map_err(no_report)?;
    Ok(results)
}

fn shortened(reason: &str) -> String {
    if reason.chars().count() <= LONGEST_REASON {
        return reason.to_owned();
    }
    reason.chars().take(LONGEST_REASON).chain(" …".chars()).collect()
}

/// What the types alone do not say.
fn check(results: &Results) -> Result<(), String> {
    let mut known = std::collections::BTreeSet::new();
    for table in &results.tables {
        if !known.insert(&table.id) {
            return Err(format!("it has two tables of the name {}", shortened(&table.id)));
        }
        for series in &table.series {
            check_series(series).map_err(|reason| {
                let of =
                    shortened(&format!("{}, {} of {}", table.id, series.metric, series.contender));
                format!("{of}: {reason}")
            })?;
        }
    }
    Ok(())
}

fn check_series(series: &Series) -> Result<(), &'static str> {
    let ordered = |interval: &Interval| interval.low <= interval.high;
    if series.samples.len() > MOST_SAMPLES {
        return Err("it has more samples than there can be rounds");
    }
    if let Some(summary) = &series.summary {
        let good = series.samples.iter().flatten().count();
        if usize::try_from(summary.n).ok() != Some(good) {
            return Err("its n is not the number of its samples");
        }
        if summary.outliers.len() > good {
            return Err("it has more outliers than samples");
        }
        if ![summary.median, summary.p95, summary.p99].iter().all(ordered) {
            return Err("an interval ends before it begins");
        }
    }
    match &series.ratio {
        Some(ratio) if !ordered(&ratio.median) => Err("an interval ends before it begins"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn read(text: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.json");
        std::fs::write(&path, text).unwrap();
        let said = document(&path).map_or_else(|error| error.to_string(), |_| "read".to_owned());
        said.replace(path.to_str().unwrap(), "R")
    }

    #[test]
    fn what_is_no_report_is_refused_with_the_reason() {
        let good = serde_json::to_string(&sample::results()).unwrap();
        assert_eq!(read(good.as_bytes()), "read");
        let nested = format!("{{\"x\":{}", "[".repeat(100_000)).into_bytes();
        let half = &good.as_bytes()[..good.len() / 2];
        for (text, part) in [
            (&b""[..], "R is no report of duplex bench: EOF while parsing"),
            (half, "R is no report of duplex bench: "),
            (b"{}", "missing field `schema`"),
            (b"[1, 2]", "R is no report"),
            (b"\x00\xff\xfe", "R is no report"),
            (&nested, "EOF while"),
            (br#"{"schema": 7}"#, "R is a report of schema 7, and this duplex reads 1"),
            (br#"{"schema": 1}"#, "missing field"),
            (br#"{"schema": -1}"#, "R is no report"),
        ] {
            let said = read(text);
            assert!(said.contains(part), "{said}");
        }
        let other = |from: &str, to: &str| {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, good, "{from}");
            read(changed.as_bytes())
        };
        assert!(other("\"seconds\":", "\"seconds\":1e999,\"x\":").contains("out of range"));
        assert!(other("\"seconds\":", "\"seconds\":NaN,\"x\":").contains("R is no report"));
        assert!(other("\"samples\":[", "\"samples\":[1.0,").contains("its n is not the number"));
        let name = "\"start.host.warm\"";
        assert!(
            other("\"start.testbed.warm\"", name)
                .contains("two tables of the name start.host.warm")
        );
        let long = format!("\"case\":\"{}\"", "x".repeat(1_000_000));
        assert!(other("\"case\":\"start\"", &long).len() < 500);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = document(Path::new("/nonexistent/a.json")).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot read the report /nonexistent/a.json: No such file or directory (os error 2)"
        );
        assert!(document(Path::new("/")).unwrap_err().to_string().starts_with("cannot read"));
        assert!(document(Path::new("/dev/zero")).unwrap_err().to_string().contains("too long"));
    }
}
