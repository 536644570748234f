//! Where cases stand: the machine that they measure on, who takes part there, and how often.

use std::time::Duration;

use super::contender::Contender;
use super::results::{Case, Place, Table};
use super::rounds::{Found, Watch};
use super::schedule::Schedule;
use super::stop::Stop;
use super::workshop::Workshop;

/// What a case is given. It is the same on the host and, as a whole, in the testbed.
pub struct Ground<'a> {
    /// What contenders are given.
    pub workshop: &'a Workshop,
    /// Who takes part: all that are there.
    pub contenders: &'a [&'a dyn Contender],
    /// The least command there can be: what it costs is the observer's own.
    pub observer: &'a dyn Contender,
    /// The machine that this process runs on.
    pub place: Place,
    /// How often, and in what order.
    pub schedule: Schedule,
    /// How long the rounds of a table should take: as many are made as fit, but a few at least.
    pub budget: Option<Duration>,
    /// Who is told how far it is.
    pub watch: &'a mut dyn Watch,
    /// Whether to stop; what was found so far is returned then.
    pub stop: &'a Stop,
}

impl Ground<'_> {
    /// A table of this case, without figures yet. Its id is `CASE.PLACE.VARIANT`.
    pub fn table(&self, case: Case, variant: &str, title: &str, how: String) -> Table {
        let mut id = format!("{}.{}", case.word(), self.place.word());
        if !variant.is_empty() {
            id = format!("{id}.{variant}");
        }
        Table {
            id,
            case,
            title: title.to_owned(),
            place: self.place,
            how,
            baseline: None,
            series: Vec::new(),
            timelines: Vec::new(),
            curves: Vec::new(),
            findings: Vec::new(),
            failures: Vec::new(),
        }
    }
}

impl Table {
    /// Takes what came of its rounds.
    pub fn take(&mut self, found: Found) {
        self.series.extend(found.series);
        self.failures.extend(found.failures);
        if let Some(rounds) = found.fitted {
            let fitted = format!(
                " Of the rounds that were asked for, {rounds} fitted into the time that all cases have."
            );
            self.how.push_str(&fitted);
        }
    }
}

impl Case {
    /// As commands and tables' ids call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Net => "net",
            Self::Density => "density",
            Self::Noise => "noise",
            Self::Isolation => "isolation",
            Self::Lab => "lab",
        }
    }
}

impl Place {
    /// As tables' ids call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Testbed => "testbed",
            Self::Counting => "counting",
        }
    }
}
