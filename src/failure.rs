//! A step that failed, with what the system said about it.

use std::io;

/// What was being done, and why it could not be.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}: {reason}")]
pub struct Failure {
    step: String,
    #[source]
    reason: io::Error,
}

/// Names the step a result belongs to; reads as "cannot …" in the message.
pub(crate) trait Step<T> {
    fn step(self, what: impl Into<String>) -> Result<T, Failure>;
    fn step_with(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, what: impl Into<String>) -> Result<T, Failure> {
        self.step_with(|| what.into())
    }

    fn step_with(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|reason| Failure { step: what(), reason: reason.into() })
    }
}
