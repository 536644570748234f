//! A browser, and what drives it.

use std::path::{Path, PathBuf};

use super::{find_program, say};

/// Where the package for that is installed from npm.
const DRIVER: &str = "tests/report/node_modules/puppeteer-core";

/// A path in this project.
pub(crate) fn of_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Whether there is a browser, and this directory as well; says so where there is not.
pub(crate) fn has_browser_and(directory: &str) -> bool {
    let missing: Vec<_> = [
        ("chromium", find_program("chromium")),
        ("node", find_program("node")),
        (DRIVER, of_project(DRIVER).exists()),
        (directory, of_project(directory).exists()),
    ]
    .into_iter()
    .filter_map(|(name, there)| (!there).then_some(name))
    .collect();
    if !missing.is_empty() {
        say(&format!("SKIPPED: {} is not there (make browser)", missing.join(", ")));
    }
    missing.is_empty()
}
