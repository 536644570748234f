//! Who takes part, and how each is started.

use std::path::PathBuf;
use std::process::Command;

use super::results::Contender as Described;

/// What is to be run behind each contender's wall. All get the same.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The program and its arguments, as the image has it.
    pub argv: Vec<String>,
    /// vCPUs, or the processors' time that a control group allows.
    pub cpus: Option<f64>,
    /// Memory in bytes: the VM's, or the limit of a control group.
    pub memory: Option<u64>,
    /// The most tasks, where the contender can limit them.
    pub pids: Option<u64>,
    /// A directory of the host that is shown at `/data`, writable.
    pub data: Option<PathBuf>,
    /// A file of the host that takes what is changed in the root file system: VMs that keep such a layer on a
    /// disk; asked of nobody else.
    pub layer: Option<PathBuf>,
    /// With standard input, which the caller gives it; without, it is empty.
    pub input: bool,
    /// With a network that reaches the host, by the contender's own usual way.
    pub net: bool,
    /// That network is this one of `duplex network`, with a tap: duplex's own halves, and asked of nobody else.
    pub bridge: Option<String>,
    /// A serial console that prints what the kernel says: VMs only, others ignore it.
    pub serial_console: bool,
    /// No limits of a control group at all, also none by default.
    pub unlimited: bool,
    /// With duplex's own account of where the time went, as JSON on standard error; others have none.
    pub timing: bool,
}

/// One way to run a job.
pub trait Contender: Send + Sync {
    /// What the report says about it.
    fn described(&self) -> &Described;

    /// The command that runs the job as its child, with the job's standard streams as its own, and ends with
    /// it. `number` is unique among this run's starts, for names.
    ///
    /// # Errors
    /// The contender can't do what the job asks for; says what.
    fn command(&self, job: &Job, number: u64) -> Result<Command, String>;

    /// Removes what a start of that number may have left behind: called after each, also a failed one.
    fn clean_up(&self, _number: u64) {}

    /// The programs and other files that a start reads, beside the image's.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}
