//! Why there is nothing to see of a command, as a message.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// How many characters of what a command said a message has, of its begin and of its end.
const QUOTED: usize = 200;

/// Why there is nothing to see.
#[derive(Debug)]
pub enum Mishap {
    /// It could not be started.
    NotStarted(io::Error),
    /// It took too long, and was killed; with the end of what it said on standard error.
    TooLong(Duration, String),
    /// It ended badly.
    Failed(ExitStatus, String),
    /// It ended well, but the workload wrote nothing.
    Silent(String),
    /// It was ended because the run was to stop.
    Stopped,
    /// It cannot be watched.
    Unwatched(io::Error),
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(error) => write!(f, "it cannot be started: {error}"),
            Self::TooLong(time, said) => {
                write!(f, "it was killed after {} s{}", time.as_secs(), Said(said))
            }
            Self::Failed(status, said) => write!(f, "it ended with {status}{}", Said(said)),
            Self::Silent(said) => write!(f, "the workload wrote nothing{}", Said(said)),
            Self::Stopped => write!(f, "it was interrupted"),
            Self::Unwatched(error) => write!(f, "it cannot be watched: {error}"),
        }
    }
}

impl std::error::Error for Mishap {}

/// The end of what a command said, as the end of a message.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said: Vec<char> = self.0.trim().chars().collect();
        let (begin, rest) = said.split_at(said.len().min(QUOTED));
        let end = rest.get(rest.len().saturating_sub(QUOTED)..).unwrap_or_default();
        let gap = if rest.len() > end.len() { " … " } else { "" };
        let [begin, end] = [begin, end].map(|part| part.iter().collect::<String>());
        match said.is_empty() {
            true => Ok(()),
            false => write!(f, "; it said: {begin}{gap}{end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_much_that_was_said_the_begin_and_the_end_are_told() {
        let long = Said(&format!("begin{}end", "x".repeat(5000))).to_string();
        assert!(long.len() < 500 && long.contains('…'), "{long}");
        assert!(long.contains("begin") && long.ends_with("end"), "{long}");
        assert_eq!(Said(" \n").to_string(), "");
    }
}
