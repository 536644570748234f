//! A Markdown file as far as tests look into it: its headings, links and fenced blocks.

use std::fs;
use std::path::{Path, PathBuf};

/// A file, parsed.
pub(crate) struct Document {
    pub(crate) path: PathBuf,
    /// What its headings are called in links, as GitHub makes it of them.
    pub(crate) anchors: Vec<String>,
    pub(crate) links: Vec<Link>,
    pub(crate) blocks: Vec<Block>,
}

/// `[text](target)`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) target: String,
}

/// A fenced block: the words behind the fence, and its lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) line: usize,
    pub(crate) words: Vec<String>,
    pub(crate) lines: Vec<String>,
}

impl Document {
    pub(crate) fn read(path: &Path) -> Document {
        Document::parse(path, &fs::read_to_string(path).unwrap())
    }

    fn parse(path: &Path, text: &str) -> Document {
        let mut blocks: Vec<Block> = Vec::new();
        let mut prose = String::new();
        let mut anchors = Vec::new();
        let mut open = false;
        for (line, content) in (1..).zip(text.lines()) {
            let fence = content.trim_start().strip_prefix("```");
            match fence {
                Some(info) if !open => {
                    let words = info.split_whitespace().map(str::to_owned).collect();
                    blocks.push(Block { line, words, lines: Vec::new() });
                    open = true;
                }
                Some(_) => open = false,
                None if open => blocks.last_mut().unwrap().lines.push(content.to_owned()),
                // Indented by four: a block of code.
                None if content.starts_with("    ") => {}
                None => {
                    if let Some(heading) = heading(content) {
                        anchors.push(anchor(heading, &anchors));
                    }
                    prose.push_str(content);
                }
            }
            prose.push('\n');
        }
        assert!(!open, "{}: a fence is not closed", path.display());
        Document { path: path.to_owned(), anchors, links: links(&prose), blocks }
    }

    /// Where a link leads: a file, and a heading in it.
    pub(crate) fn resolve<'a>(&self, target: &'a str) -> (PathBuf, Option<&'a str>) {
        let (file, anchor) = match target.split_once('#') {
            Some((file, anchor)) => (file, Some(anchor)),
            None => (target, None),
        };
        let file = if file.is_empty() {
            self.path.clone()
        } else {
            self.path.parent().unwrap().join(file)
        };
        (file, anchor)
    }
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    (text.len() < line.len()).then(|| text.strip_prefix(' ')).flatten()
}

/// What GitHub calls a heading: in lower case, without punctuation, with hyphens for spaces, and with a
/// number if it is not the first of its name.
fn anchor(heading: &str, before: &[String]) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    let name: String =
        kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect();
    match before.iter().filter(|other| **other == name).count() {
        0 => name,
        number => format!("{name}-{number}"),
    }
}

fn links(prose: &str) -> Vec<Link> {
    let mut found = Vec::new();
    for (at, _) in prose.match_indices("](") {
        let mut depth = 0;
        let opening = prose[..at].char_indices().rev().find(|(_, c)| {
            match c {
                ']' => depth += 1,
                '[' if depth > 0 => depth -= 1,
                '[' => return true,
                _ => {}
            }
            false
        });
        let rest = &prose[at + 2..];
        if let (Some((start, _)), Some(end)) = (opening, rest.find(')')) {
            let line = prose[..start].matches('\n').count() + 1;
            let text = prose[start + 1..at].split_whitespace().collect::<Vec<_>>().join(" ");
            found.push(Link { line, text, target: rest[..end].to_owned() });
        }
    }
    found
}

#[test]
fn a_document_is_read_as_github_shows_it() {
    let text = "# Why: `exit`s, and so on\n\nSee [the\n[x] list](a.md#b).\n\n## Why\n## Why\n\
                ```console numbers\n$ true\n# no heading [no](link)\n```\n    [no](link)\n";
    let document = Document::parse(Path::new("/x/y.md"), text);
    assert_eq!(document.anchors, ["why-exits-and-so-on", "why", "why-1"]);
    let link = Link { line: 3, text: "the [x] list".into(), target: "a.md#b".into() };
    assert_eq!(document.links, [link]);
    assert_eq!(document.resolve("a.md#b"), (PathBuf::from("/x/a.md"), Some("b")));
    assert_eq!(document.resolve("#why"), (PathBuf::from("/x/y.md"), Some("why")));
    assert_eq!(document.blocks[0].words, ["console", "numbers"]);
    assert_eq!(document.blocks[0].lines, ["$ true", "# no heading [no](link)"]);
}
