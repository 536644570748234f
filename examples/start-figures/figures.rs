//! What was measured of one contender, and how it is shown.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

/// The times of one contender.
pub(crate) struct Figures {
    name: &'static str,
    first_line: Vec<Duration>,
    exit: Vec<Duration>,
}

impl Figures {
    pub(crate) fn of(name: &'static str) -> Self {
        Self { name, first_line: Vec::new(), exit: Vec::new() }
    }

    pub(crate) fn add(&mut self, first_line: Duration, exit: Duration) {
        self.first_line.push(first_line);
        self.exit.push(exit);
    }
}

/// The least and three quantiles of some times, in milliseconds.
struct Summary {
    least: f64,
    median: f64,
    p95: f64,
    p99: f64,
}

impl Summary {
    fn of(times: &[Duration]) -> Self {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        // The nearest rank: the least time that so many in a thousand do not exceed.
        let at = |thousandths: usize| {
            let rank = (sorted.len() * thousandths).div_ceil(1000).max(1);
            sorted.get(rank - 1).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
        };
        Self { least: at(0), median: at(500), p95: at(950), p99: at(990) }
    }

    fn as_json(&self) -> serde_json::Value {
        json!({ "least": self.least, "median": self.median, "p95": self.p95, "p99": self.p99 })
    }
}

/// A line each.
pub(crate) fn as_text(all: &[Figures], runs: usize) -> String {
    let mut text = format!(
        "{:14} {:>8} {:>8} {:>8} {:>8}   {:>8} {:>8} {:>8} {:>8}\n",
        "MS TO", "LINE", "p95", "p99", "least", "EXIT", "p95", "p99", "least"
    );
    for figures in all {
        write!(text, "{:14}", figures.name).unwrap();
        for times in [&figures.first_line, &figures.exit] {
            let Summary { least, median, p95, p99 } = Summary::of(times);
            write!(text, " {median:8.2} {p95:8.2} {p99:8.2} {least:8.2}  ").unwrap();
        }
        text = text.trim_end().to_owned() + "\n";
    }
    text + &format!("median and others of {runs} rounds\n")
}

/// One document.
pub(crate) fn as_json(all: &[Figures], runs: usize) -> serde_json::Value {
    let contenders: Vec<_> = all
        .iter()
        .map(|figures| {
            json!({
                "name": figures.name,
                "first_line_ms": Summary::of(&figures.first_line).as_json(),
                "exit_ms": Summary::of(&figures.exit).as_json(),
            })
        })
        .collect();
    json!({ "runs": runs, "contenders": contenders })
}
