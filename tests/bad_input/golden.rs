//! All messages in one file, so that a change of wording is seen.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The file starts a message with its case's name behind these characters.
const HEADING: &str = "## ";

/// The messages as the file has them, and as they were said now.
pub(crate) struct Golden {
    written: BTreeMap<String, String>,
    said: BTreeMap<String, String>,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bad_input.txt")
}

impl Golden {
    pub(crate) fn read() -> Golden {
        // Missing while it is written for the first time.
        let text = std::fs::read_to_string(path()).unwrap_or_default();
        let written = text
            .split(HEADING)
            .filter_map(|entry| entry.split_once('\n'))
            .map(|(name, message)| (name.to_owned(), message.trim_end().to_owned()))
            .collect();
        Golden { written, said: BTreeMap::new() }
    }

    /// Takes down what was said on a case.
    pub(crate) fn said(&mut self, name: &str, message: &str) {
        // Facts of the host that a message tells.
        let bits = duplex::host::physical_address_bits();
        let message = message
            .replace(&format!("({bits} bits)"), "(N bits)")
            .replace(&format!("{}G", (1_u64 << bits >> 30) - 1), "NG");
        let before = self.said.insert(name.to_owned(), message.trim_end().to_owned());
        assert_eq!(before, None, "two cases are called {name}");
    }

    /// Leaves a case as it was written.
    pub(crate) fn skipped(&mut self, name: &str) {
        let written = self.written.get(name).cloned().unwrap_or_default();
        self.said.insert(name.to_owned(), written);
    }

    /// Compares, or writes the file anew where that is asked for.
    pub(crate) fn compare(&self) {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let text: String = self
                .said
                .iter()
                .map(|(name, message)| format!("{HEADING}{name}\n{message}\n\n"))
                .collect();
            std::fs::write(path(), text.trim_end().to_owned() + "\n").unwrap();
            return;
        }
        let mut differences = Vec::new();
        let names =
            self.written.keys().chain(self.said.keys().filter(|n| !self.written.contains_key(*n)));
        for name in names {
            let (written, said) = (self.written.get(name), self.said.get(name));
            if written != said {
                differences.push(format!("{name}\n  written: {written:?}\n  said:    {said:?}"));
            }
        }
        assert!(
            differences.is_empty(),
            "messages changed (UPDATE_GOLDEN=1 accepts that):\n{}",
            differences.join("\n")
        );
    }
}
