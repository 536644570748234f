//! How far a run is, on a terminal's stderr; elsewhere nothing is said.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::bench::results::Case;
use crate::bench::rounds::Watch;

const STYLE: &str = "{prefix}: {msg} [{bar:24}] {pos}/{len}, {eta} for this table";

/// A line that changes.
pub(super) struct Progress {
    place: &'static str,
    bar: ProgressBar,
}

impl Progress {
    /// One for what is measured at this place.
    pub(super) fn new(place: &'static str) -> Self {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target).with_prefix(place);
        // The template above is valid; were it not, the crate's own style would do.
        let style = ProgressStyle::with_template(STYLE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { place, bar }
    }
}

impl Watch for Progress {
    fn case(&mut self, case: Case, left: Duration) {
        let minutes = left.as_secs().div_ceil(60);
        let place = self.place;
        self.bar.set_prefix(format!("{place}, {}, about {minutes} min to the end", case.word()));
    }

    fn turn(&mut self, contender: &str, turn: u32, of: u32) {
        if turn == 1 {
            self.bar.reset();
        }
        self.bar.set_length(of.into());
        self.bar.set_position(turn.saturating_sub(1).into());
        self.bar.set_message(contender.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
