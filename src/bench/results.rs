//! What a run of `duplex bench` found: the document that `report.json` is, and that reports are made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the document; one that means something else gets another number.
pub const SCHEMA: u32 = 1;

/// All that one run found, and what is needed to judge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: u32,
    /// duplex's version.
    pub duplex: String,
    /// The command line.
    pub command: Vec<String>,
    /// When it began, RFC 3339, UTC.
    pub started: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// False where it was interrupted: what is here was measured, more was to come.
    pub complete: bool,
    /// What the orders and the bootstrap were drawn from.
    pub seed: u64,
    /// Rounds that count, for each table that does not say otherwise.
    pub runs: u32,
    /// The machine, as names and values in the order to be shown: CPU, kernel, governor, …
    pub host: Vec<Fact>,
    /// What the figures of this host can't tell, for the top of the report.
    pub cautions: Vec<String>,
    /// All that were asked for, those that are missing too.
    pub contenders: Vec<Contender>,
    /// What was measured, in the order to be shown.
    pub tables: Vec<Table>,
    /// What textbooks claim, beside what was measured.
    #[serde(default)]
    pub claims: Vec<Claim>,
}

/// A name and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What was looked at.
    pub name: String,
    /// What was found.
    pub value: String,
}

/// One way to run the same workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contender {
    /// What tables call it: `duplex-vm`, `duplex-container`, `process`, `crun`, …
    pub id: String,
    /// For a person.
    pub name: String,
    /// Which kind of wall it has.
    pub wall: Wall,
    /// What it says its version is, or its digest.
    pub version: Option<String>,
    /// Why it was left out, and what would bring it; `None` where it took part.
    pub missing: Option<String>,
}

/// What stands between a workload and the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wall {
    /// Nothing.
    Process,
    /// Namespaces and control groups of the shared kernel.
    Container,
    /// A kernel in user space between (gVisor).
    Sandbox,
    /// A kernel of its own, behind hardware virtualization.
    Vm,
}

/// Where something was measured. Figures of different places are never in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// This host itself.
    Host,
    /// The testbed: an emulated machine, whose times are not a real machine's.
    Testbed,
    /// The testbed on the clock that counts instructions.
    Counting,
}

/// What is being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// How long until the workload says something.
    Start,
    /// How fast it computes.
    Cpu,
    /// What an instance needs while it does nothing.
    Memory,
    /// How fast it reads and writes.
    Disk,
    /// How fast it talks.
    Net,
    /// How many can run at once.
    Density,
    /// How much a neighbour disturbs.
    Noise,
    /// What it can see and reach.
    Isolation,
    /// A production failure, lived again.
    Lab,
}

/// Contenders measured together, on one machine, by the same method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Unique in the document, and the same in another run of the same command: `start.host.warm`.
    pub id: String,
    /// What it answers.
    pub case: Case,
    /// For a person.
    pub title: String,
    /// Where it was measured.
    pub place: Place,
    /// How each figure was taken, in a paragraph for a referee.
    pub how: String,
    /// Whom ratios are to: the id of a contender.
    pub baseline: Option<String>,
    /// The figures, one for each contender and metric.
    pub series: Vec<Series>,
    /// Where starts' time went.
    #[serde(default)]
    pub timelines: Vec<Timeline>,
    /// How a figure grows with the number of instances.
    #[serde(default)]
    pub curves: Vec<Curve>,
    /// What was found out that is no figure.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What went wrong, each once, with how often: a failed round has no sample.
    #[serde(default)]
    pub failures: Vec<Fact>,
}

/// What the numbers of a series are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Million instructions of the counting machine.
    MillionInstructions,
    /// Operations a second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// A number of things.
    Count,
}

impl Unit {
    /// Whether less is better.
    pub fn less_is_better(self) -> bool {
        !matches!(self, Unit::PerSecond | Unit::BytesPerSecond)
    }
}

/// One metric of one contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The contender's id.
    pub contender: String,
    /// The metric, the same word in every run: `first_byte`, `exit`, `integer`, …
    pub metric: String,
    /// What its numbers are.
    pub unit: Unit,
    /// Every sample in the order of rounds; none is dropped. `None` where a round failed.
    pub samples: Vec<Option<f64>>,
    /// What they come to; `None` where no round succeeded.
    pub summary: Option<Summary>,
    /// Beside the table's baseline, from pairs of the same round; `None` for the baseline itself.
    pub ratio: Option<Ratio>,
}

/// A distribution in a few numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many samples.
    pub n: u32,
    /// The median, and the ends of its 95 % bootstrap confidence interval.
    pub median: Interval,
    /// The 95th percentile, with its interval.
    pub p95: Interval,
    /// The 99th percentile, with its interval.
    pub p99: Interval,
    /// The least sample.
    pub least: f64,
    /// The greatest sample.
    pub most: f64,
    /// Samples beyond one and a half interquartile ranges of the quartiles (Tukey): shown, not dropped.
    pub outliers: Vec<f64>,
}

/// An estimate, and the interval that it lies in with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// How many times another's figure this one is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Rounds in which both have a sample.
    pub n: u32,
    /// The median of the rounds' ratios, with its interval.
    pub median: Interval,
}

/// Where a start's time went: medians over the rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The contender's id.
    pub contender: String,
    /// What its times are.
    pub unit: Unit,
    /// The phases in the order in which they end.
    pub phases: Vec<Phase>,
}

/// One phase of a timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// What it is.
    pub name: String,
    /// When it ended, since the start of the process.
    pub end: f64,
    /// Who went through it: `duplex`, `PID 1`.
    pub by: String,
}

/// How a metric grows with the number of instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The contender's id.
    pub contender: String,
    /// The metric.
    pub metric: String,
    /// What the values are.
    pub unit: Unit,
    /// Number of instances, value.
    pub points: Vec<(u32, f64)>,
    /// Why it ends where it ends: all that were asked for, or the machine's limit and which.
    pub end: String,
}

/// A thing found out about contenders that is no figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What was tried: `kernel release`, `mount(2)`, …
    pub subject: String,
    /// What it means, in a sentence.
    pub meaning: String,
    /// By contender's id, what was found from inside.
    pub found: BTreeMap<String, String>,
}

/// What textbooks say, and what was measured here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The claim, in a sentence.
    pub claim: String,
    /// What was measured, with n and interval; or why it was not.
    pub measured: String,
    /// By what factor the claim is off, from its nearer end; `None` where nothing was measured; 1 where it holds.
    pub factor: Option<f64>,
    /// Why.
    pub why: String,
    /// The tables that it rests on.
    pub tables: Vec<String>,
}
