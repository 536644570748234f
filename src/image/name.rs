//! Names of images, as docker's references are: `debian`, `debian:12`, `docker.io/library/debian:12`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes: with `/` and `:` written as three bytes it is a file's name still.
const LONGEST: usize = 80;

/// The name of an image: lower-case letters, digits, `.`, `_`, `-`, `/` and `:`, where each part
/// between the latter two begins and ends with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let good = |part: &str| {
            part.starts_with(plain)
                && part.ends_with(plain)
                && part.chars().all(|c| plain(c) || "._-".contains(c))
        };
        if text.len() <= LONGEST && text.split(['/', ':']).all(good) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "'{}' is no name of an image: give up to {LONGEST} lower-case letters, digits, '.', '_', '-', \
             '/' and ':', such as debian:12",
            text.escape_debug()
        ))
    }
}

impl Name {
    /// The name, as it is given and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its directory. Neither `/` nor `:` is in it: the latter parts the layers of an
    /// overlay in mount options.
    pub(super) fn file_name(&self) -> String {
        self.0.replace('/', "%2f").replace(':', "%3a")
    }

    /// The image whose directory has this name, if it is one's.
    pub(super) fn from_file_name(text: &str) -> Option<Self> {
        let name = text.replace("%2f", "/").replace("%3a", ":").parse::<Self>().ok()?;
        (name.file_name() == text).then_some(name)
    }

    /// A name made of any text: what can't be in one is left out.
    pub(super) fn from_any(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let kept: String = lower
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-/:".contains(c) { c } else { '-' })
            .collect();
        let parts: Vec<&str> =
            kept.split('/').map(|part| part.trim_matches(['.', '_', '-'])).collect();
        parts.join("/").parse().ok()
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_dockers() {
        for good in ["a", "debian:12", "docker.io/library/debian:12-slim", "localhost:5000/a_b"] {
            let name: Name = good.parse().unwrap();
            assert_eq!(Name::from_file_name(&name.file_name()), Some(name));
        }
        let bad = [
            "", ".", "..", "../a", "/a", "a/", "A", "a b", "a:", "a//b", "-a", "é", "a\0", ".wh.a",
        ];
        for bad in bad.into_iter().chain([&*"x".repeat(LONGEST + 1)]) {
            assert!(bad.parse::<Name>().unwrap_err().contains("is no name"), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_made_of_what_a_file_is_called() {
        let made = |text| Name::from_any(text).map(String::from);
        assert_eq!(made("My Image_"), Some("my-image".into()));
        assert_eq!(made("Docker.io/library/X:1"), Some("docker.io/library/x:1".into()));
        assert_eq!(made("..."), None);
    }

    proptest! {
        #[test]
        fn whatever_is_a_name_is_one_plain_file_name(text in "\\PC{0,100}|[a-z./:%_-]{0,90}") {
            if let Ok(name) = text.parse::<Name>() {
                let file = name.file_name();
                prop_assert!(file.len() <= 255 && !file.contains(['/', ':', '\0']));
                prop_assert!(!file.starts_with('.'));
                prop_assert_eq!(Name::from_file_name(&file), Some(name));
            }
            if let Some(name) = Name::from_any(&text) {
                prop_assert!(name.as_str().parse::<Name>().is_ok());
            }
        }
    }
}
