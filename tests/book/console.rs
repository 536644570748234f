//! Blocks marked `console`: the commands in them, and whether what one prints is what the block shows.

use super::document::Block;

/// A command with what the block shows of its output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) command: String,
    pub(crate) output: String,
}

/// The commands of a block: each begins with `$ ` and goes on behind a backslash or a bar at a line's end.
pub(crate) fn commands(block: &Block) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut goes_on = false;
    for line in &block.lines {
        if goes_on {
            let command = &mut all.last_mut().unwrap().command;
            command.push('\n');
            command.push_str(line);
        } else if let Some(command) = line.strip_prefix("$ ") {
            all.push(Shown { command: command.to_owned(), output: String::new() });
        } else {
            let shown = all.last_mut().unwrap_or_else(|| panic!("line {}: no command", block.line));
            shown.output.push_str(line);
            shown.output.push('\n');
            continue;
        }
        goes_on = line.ends_with(['\\', '|']);
    }
    all
}

/// Whether `said` is what is shown: `…` stands for anything, and with `any_numbers` each number for any
/// other, in whatever unit. How many spaces there are, and empty lines, are of no account.
pub(crate) fn agrees(shown: &str, said: &str, any_numbers: bool) -> bool {
    let level = |text: &str| {
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let text = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        if any_numbers { without_numbers(&text) } else { text }
    };
    let (shown, said) = (level(shown), level(said));
    let mut pieces = shown.split('…').map(|piece| piece.trim_matches([' ', '\n']));
    let Some(mut rest) = pieces.next().and_then(|first| said.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        if let Some(before) = last.replace(piece) {
            let Some(at) = rest.find(before) else { return false };
            rest = &rest[at + before.len()..];
        }
    }
    match last {
        None => rest.is_empty(),
        Some(end) => rest.ends_with(end),
    }
}

/// Units that a figure may have or not, or another of.
const UNITS: [&str; 7] = ["ns", "µs", "ms", "s", "K", "M", "G"];

/// Each number, with its unit, as one letter.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        out.push_str(&rest[..at]);
        out.push('0');
        rest =
            rest[at..].trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','));
        let unit = rest.strip_prefix(' ').unwrap_or(rest);
        let end = unit.find(|c: char| !c.is_alphabetic()).unwrap_or(unit.len());
        if UNITS.contains(&&unit[..end]) {
            rest = &unit[end..];
        }
    }
    out + rest
}

#[test]
fn a_block_has_commands_with_their_output() {
    let lines = ["$ echo a \\", "    b", "a b", "", "$ true", "$ false; echo $?", "1"];
    let lines = lines.map(str::to_owned).to_vec();
    let block = Block { line: 1, words: vec!["console".into()], lines };
    let shown =
        |command: &str, output: &str| Shown { command: command.into(), output: output.into() };
    let expected =
        [shown("echo a \\\n    b", "a b\n\n"), shown("true", ""), shown("false; echo $?", "1\n")];
    assert_eq!(commands(&block), expected);
}

#[test]
fn an_ellipsis_stands_for_anything_and_a_number_for_any() {
    let yes = [
        ("a\nb\n", "a\nb\n"),
        ("a …\nc\n", "a 1\nb\nc\n"),
        ("…c\n", "a\nb c\n"),
        ("a…", "a\nb"),
        ("a   b\n\n", "a b\n"),
        ("", ""),
    ];
    for (shown, said) in yes {
        assert!(agrees(shown, said, false), "{shown:?} {said:?}");
    }
    let no =
        [("a\n", "a\nb\n"), ("a…c", "a b"), ("b…", "a b"), ("", "a"), ("a … a", "a"), ("1", "2")];
    for (shown, said) in no {
        assert!(!agrees(shown, said, false), "{shown:?} {said:?}");
    }
    assert!(agrees("took 1.5 ms of 12,345", "took 10 ms of 7", true));
    assert!(agrees("took 1.5 ms (99 %), 12K", "took 1,010 µs (1 %), 0", true));
    assert!(!agrees("took 1.5 ms", "took long", true));
    assert!(!agrees("1 more", "1 less", true));
}
