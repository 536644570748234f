//! What links name is there: files, headings, and in links to source files the functions, types and
//! constants that the text has as code.

use std::fs;
use std::path::{Path, PathBuf};

use super::document::{Document, Link};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown files in a folder and below it.
fn markdown(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(markdown(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// README and all of docs/, read.
fn documents() -> Vec<Document> {
    let mut files = markdown(&root().join("docs"));
    files.push(root().join("README.md"));
    files.iter().map(|path| Document::read(path)).collect()
}

/// The parts of a link's text that are set as code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether Rust source declares `name`: as an item, a method, a variant or a field.
fn declares(source: &str, name: &str) -> bool {
    const ITEMS: [&str; 9] =
        ["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "union"];
    source.lines().any(|line| {
        let words: Vec<&str> = line
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .collect();
        let is_item = words.windows(2).any(|pair| ITEMS.contains(&pair[0]) && pair[1] == name);
        let rest = line.trim_start().trim_start_matches("pub ").strip_prefix(name);
        let is_variant = rest.is_some_and(|rest| {
            rest.starts_with([',', '(', ':']) || rest.starts_with(" {") || rest.starts_with(" =")
        });
        !line.trim_start().starts_with("//") && (is_item || is_variant)
    })
}

/// Whether Rust source has something for the type `name`, which may be declared elsewhere.
fn implements(source: &str, name: &str) -> bool {
    let heads = source.lines().filter(|line| line.starts_with("impl"));
    heads.flat_map(|head| head.split(|c: char| !c.is_alphanumeric())).any(|word| word == name)
}

/// Whether the file has all that `Type::name`, `name` or `file.rs` says.
fn is_in(named: &str, file: &Path, source: &str) -> bool {
    if named.contains('/') || named.ends_with(".rs") {
        return file.ends_with(named)
            || file.to_string_lossy().trim_end_matches('/').ends_with(named.trim_end_matches('/'));
    }
    let is_module = |name: &str| file.with_extension("").iter().any(|part| part == name);
    if let Some((of, name)) = named.split_once("::") {
        let is_of = is_module(of) || declares(source, of) || implements(source, of);
        return is_of && declares(source, name);
    }
    is_module(named) || declares(source, named)
}

/// What is wrong with a link, if anything is.
fn fault(document: &Document, link: &Link, documents: &[Document]) -> Option<String> {
    let Link { text, target, .. } = link;
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = document.resolve(target);
    let Ok(file) = file.canonicalize() else { return Some(format!("{target}: no such file")) };
    if file.extension().is_some_and(|extension| extension == "rs") {
        let source = fs::read_to_string(&file).unwrap();
        return code(text)
            .find(|named| !is_in(named, &file, &source))
            .map(|named| format!("{target} has no `{named}`"));
    }
    let anchor = anchor?;
    let there = documents.iter().find(|other| other.path.canonicalize().unwrap() == file);
    let is_there = there.is_some_and(|there| there.anchors.iter().any(|other| other == anchor));
    (!is_there).then(|| format!("{target}: no such heading"))
}

#[test]
fn what_documents_link_to_is_there() {
    let documents = documents();
    let mut faults = Vec::new();
    for document in &documents {
        let name = document.path.strip_prefix(root()).unwrap().display();
        for link in &document.links {
            if let Some(fault) = fault(document, link, &documents) {
                faults.push(format!("{name}:{}: {fault}", link.line));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_chapter_is_in_the_contents_and_nothing_else_is() {
    let book = root().join("docs/book");
    let contents = Document::read(&book.join("README.md"));
    let is_chapter = |name: &str| name.starts_with(|c: char| c.is_ascii_digit());
    let mut listed: Vec<&str> = contents.links.iter().map(|link| link.target.as_str()).collect();
    listed.retain(|target| is_chapter(target) && !target.contains('#'));
    let files = markdown(&book);
    let names = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap());
    let chapters: Vec<&str> = names.filter(|name| is_chapter(name)).collect();
    assert_eq!(listed, chapters);
}

#[test]
fn declarations_are_found_and_mentions_are_not() {
    let source = "impl Vcpu {\n    /// As step does.\n    pub fn run(mut self) {\n        self.step();\n\
                  pub const PAGE: u64 = 1;\nenum E {\n    Pvh(u32),\n    Real,\n}\n";
    let file = Path::new("/src/vm/vcpu.rs");
    for there in ["run", "Vcpu::run", "vcpu::run", "PAGE", "E::Pvh", "E::Real", "vm/vcpu.rs"] {
        assert!(is_in(there, file, source), "{there}");
    }
    for missing in ["step", "Vcpu::step", "Cpu::run", "exit::run", "u64", "vm/exit.rs"] {
        assert!(!is_in(missing, file, source), "{missing}");
    }
}
