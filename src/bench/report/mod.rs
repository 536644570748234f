//! What a reader sees of a run: a page, a text, the document itself, and a summary on the terminal.
//!
//! All of them show the same, from [`Results`] alone: a report can be made again from its `report.json`.

use std::fs;
use std::path::Path;

use crate::bench::results::Results;
use crate::failure::{Failure, Step};

mod html;
mod markdown;
pub mod read;
mod svg;
pub mod terminal;
pub(crate) mod text;
pub(crate) mod words;

pub use svg::start::start_svg;
pub(crate) use svg::timelines::spans;

#[cfg(test)]
use crate::bench;
#[cfg(test)]
#[path = "../../../tests/samples/bench_results.rs"]
pub(crate) mod sample;

/// The files of a report, and nothing else.
pub const FILES: [&str; 3] = ["report.json", "report.md", "report.html"];

/// Puts a report into a directory, which is made where it is not there: `report.json`, `report.md` and
/// `report.html`. Each is there as a whole or not at all, and replaces what had its name.
///
/// # Errors
/// A file cannot be written; nothing half-written is left.
pub fn write(results: &Results, directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory)
        .step_with(|| format!("make the directory {}", directory.display()))?;
    let json = json(results)?;
    let [document, text, page] = FILES;
    put(directory, document, &json)?;
    put(directory, text, &markdown::text(results))?;
    put(directory, page, &html::page(results, &json))
}

/// The document.
fn json(results: &Results) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(results).step("write what was measured as JSON")? + "\n")
}

/// Puts a file into place when all of it is written.
fn put(directory: &Path, name: &str, content: &str) -> Result<(), Failure> {
    let part = directory.join(format!(".{name}.part"));
    let file = directory.join(name);
    let put = fs::write(&part, content).and_then(|()| fs::rename(&part, &file));
    if put.is_err() {
        let _ = fs::remove_file(&part);
    }
    put.step_with(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_three_files_and_says_the_same_again() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("new");
        let results = sample::results();
        write(&results, &directory).unwrap();
        let found = || {
            let mut found: Vec<_> = fs::read_dir(&directory)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            found.sort();
            found
        };
        assert_eq!(found(), ["report.html", "report.json", "report.md"]);
        let first = fs::read(directory.join("report.html")).unwrap();
        let read = read::document(&directory.join("report.json")).unwrap();
        let (again, json) = (json(&read).unwrap(), json(&results).unwrap());
        for (again, line) in again.lines().zip(json.lines()) {
            assert_eq!(again, line);
        }
        assert!(read == results);
        write(&read, &directory).unwrap();
        assert_eq!(found().len(), 3);
        assert_eq!(fs::read(directory.join("report.html")).unwrap(), first);
    }

    #[test]
    fn what_cannot_be_put_into_place_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        // A directory in the file's place cannot be replaced.
        fs::create_dir(directory.path().join("report.json")).unwrap();
        let error = write(&sample::results(), directory.path()).unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && error.contains("report.json"), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
