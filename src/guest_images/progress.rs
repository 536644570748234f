//! Progress on stderr for what takes its time: one changing line on a terminal, plain lines
//! elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const STEP: &str = "{spinner} {prefix}: {msg} ({elapsed})";
const PARTS: &str = "{spinner} {prefix}: {msg} [{bar:24}] {pos}/{len} ({elapsed})";
const REDRAW: Duration = Duration::from_millis(200);

/// How far a task has come, as the user sees it. Silent until the first step, and gone from the
/// terminal when dropped.
pub(crate) struct Progress {
    task: String,
    /// None when stderr is no terminal.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// For a task named like "getting Debian's kernel 6.1".
    pub(crate) fn new(task: impl Into<String>) -> Self {
        let task = task.into();
        let bar = io::stderr()
            .is_terminal()
            .then(|| ProgressBar::no_length().with_style(style(STEP)).with_prefix(task.clone()));
        Self { task, bar }
    }

    /// The task has come to this step.
    pub(crate) fn step(&self, step: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_style(style(STEP));
                bar.set_message(step.to_string());
                bar.enable_steady_tick(REDRAW);
            }
            // Whoever closed stderr does not want to know.
            None => drop(writeln!(io::stderr(), "duplex: {}: {step}", self.task)),
        }
    }

    /// `done` parts of the step are done, of `total`, which may be a guess.
    pub(crate) fn parts(&self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total.max(done));
            bar.set_position(done);
            bar.set_style(style(PARTS));
        }
    }

    /// Takes what is shown off the terminal, until the next step.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The templates above are valid; were one not, the crate's own style would do.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
