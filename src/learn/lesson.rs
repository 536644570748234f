//! What a lesson is.

use super::guest::Setup;
use super::program::Embedded;
use super::steps::Record;

/// A lesson about virtual machines: a guest, its question and its exercise.
#[derive(Debug)]
pub struct Lesson {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is about, in a line.
    pub summary: &'static str,
    /// What to know before the guest runs.
    pub before: &'static str,
    /// The machine.
    pub setup: Setup,
    /// The guest.
    pub embedded: Embedded,
    /// What it asks.
    pub question: &'static str,
    /// Checks an answer, in small letters without punctuation at its end, against what happened.
    pub answer: fn(&str, &Record) -> Verdict,
    /// What to change in the guest.
    pub exercise: &'static str,
    /// Checks what a changed guest did.
    pub check: fn(&Record) -> Verdict,
}

/// What an answer or an exercise is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right, and why.
    Right(String),
    /// Wrong, and where to look.
    Wrong(String),
}

/// It is right.
pub(super) fn right(why: impl Into<String>) -> Verdict {
    Verdict::Right(why.into())
}

/// It is wrong.
pub(super) fn wrong(hint: impl Into<String>) -> Verdict {
    Verdict::Wrong(hint.into())
}

/// The first number in an answer: decimal, hexadecimal with 0x, or a word.
pub(super) fn number(answer: &str) -> Option<u64> {
    const WORDS: [(&str, u64); 15] = [
        ("none", 0),
        ("no", 0),
        ("zero", 0),
        ("one", 1),
        ("once", 1),
        ("two", 2),
        ("twice", 2),
        ("three", 3),
        ("four", 4),
        ("five", 5),
        ("six", 6),
        ("seven", 7),
        ("eight", 8),
        ("nine", 9),
        ("ten", 10),
    ];
    let words = answer.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).find_map(|word| {
        let hexadecimal = word.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        let named = WORDS.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        hexadecimal.or_else(|| word.parse().ok()).or(named)
    })
}

/// An answer without what does not matter: small letters, one space between words, no dot at its end.
fn plain(answer: &str) -> String {
    let words: Vec<_> = answer.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ").trim_end_matches(['.', '!', '?']).to_owned()
}

/// Whether any of these words stands in an answer.
pub(super) fn names(answer: &str, words: &[&str]) -> bool {
    let mut parts = answer.split(|c: char| !c.is_alphanumeric() && c != '%');
    parts.any(|part| words.contains(&part.trim_start_matches('%')))
}

/// What an answer is worth by `check`; one that says that there is none is not looked into for words.
pub fn judge(answer: &str, check: impl FnOnce(&str) -> Verdict) -> Verdict {
    let answer = plain(answer);
    if names(&answer, &["know", "idea", "sure", "clue"]) {
        return wrong("Look at what is told once more, and guess: a wrong answer gets a hint.");
    }
    check(&answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_digits_and_words() {
        for (answer, expected) in [
            ("4", Some(4)),
            ("0x10 of them", Some(16)),
            ("It makes three exits", Some(3)),
            ("none", Some(0)),
            ("I do not know", None),
            ("", None),
        ] {
            assert_eq!(number(answer), expected, "{answer}");
        }
    }

    #[test]
    fn an_answer_may_be_written_in_any_way() {
        assert_eq!(plain("  The FAR  jump. "), "the far jump");
        assert_eq!(judge("No!", |answer| right(answer)), right("no"));
        assert!(matches!(judge("no idea", |_| right("")), Verdict::Wrong(_)));
        assert!(names("%cr2, it is", &["cr2"]) && !names("cr22", &["cr2"]));
    }
}
