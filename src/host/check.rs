//! One fact about the host, for a person and for a program.

use serde::Serialize;

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing is lacking.
    Ok,
    /// Usable in part.
    Limited,
    /// Not there, or not usable.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How good it is.
    pub state: State,
    /// What was found.
    pub finding: String,
    /// What to do about what is lacking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    /// All is well.
    pub fn ok(name: impl Into<String>, finding: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, finding: finding.into(), remedy: None }
    }

    /// Usable in part.
    pub fn limited(
        name: impl Into<String>,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { state: State::Limited, remedy: Some(remedy.into()), ..Self::ok(name, finding) }
    }

    /// Not usable.
    pub fn missing(
        name: impl Into<String>,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { state: State::Missing, remedy: Some(remedy.into()), ..Self::ok(name, finding) }
    }
}
