//! Imports go one way: a module of the crate imports only from those above it in the table at the
//! top of `src/lib.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The modules in layer order, as the table has them.
fn layers() -> Vec<String> {
    let lib = fs::read_to_string(source().join("lib.rs")).unwrap();
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The layer that a file belongs to.
fn layer_of(file: &Path) -> String {
    let first = file.strip_prefix(source()).unwrap().iter().next().unwrap();
    first.to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The modules of the crate that a file names, tests included.
fn imports(text: &str) -> Vec<&str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap())
        // What only tests use stands beside the layers.
        .filter(|name| !name.is_empty() && *name != "samples")
        .collect()
}

#[test]
fn the_table_names_every_module_once() {
    let lib = fs::read_to_string(source().join("lib.rs")).unwrap();
    let mut declared: Vec<_> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "))
        .map(|name| name.trim_end_matches(';').to_owned())
        .collect();
    let mut listed = layers();
    declared.sort();
    listed.sort();
    assert_eq!(declared, listed);
}

#[test]
fn every_import_goes_up() {
    let layers = layers();
    let height = |name: &str| layers.iter().position(|layer| layer == name);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in rust_files(&source()) {
        let layer = layer_of(&file);
        let Some(own) = height(&layer) else { continue };
        let text = fs::read_to_string(&file).unwrap();
        for import in imports(&text) {
            seen += 1;
            let above = height(import)
                .unwrap_or_else(|| panic!("{}: unknown module {import}", file.display()));
            if above > own {
                wrong.push(format!("{}: {layer} imports {import}", file.display()));
            }
        }
    }
    assert!(seen > 50, "only {seen} imports found: is this test blind?");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_stay_small() {
    for file in rust_files(&source()) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines: a room with too much in it", file.display());
    }
}
