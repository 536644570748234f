//! What client, keeper and agent say to each other.
//!
//! | from → to | over | types |
//! |---|---|---|
//! | client → keeper → client | a Unix socket in the state directory | [`Request`], [`Answer`] |
//! | client → agent → client | a virtio-serial port | a [`session`](crate::session) with [`Start`] and [`ToClient`] |
//! | agent → keeper | a virtio-serial port, one JSON value a line | [`Notice`] |

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::{Clock, Counts, Machine};
use crate::session::protocol::Invocation;

/// The name of the port on which the agent tells the keeper how it is.
pub(super) const NOTICE_PORT: &str = "duplex.notices";

/// How many sessions run at once: each has a port of its own, and a virtio console has 30 that are no consoles.
pub(super) const SESSIONS: usize = 28;

/// The name of the port that carries a session.
pub(super) fn session_port(index: usize) -> String {
    format!("duplex.{index}")
}

/// The virtio-fs tag of the host's file system, read-only.
pub(super) const ROOT_TAG: &str = "duplex.root";

/// The virtio-fs tag of the files and directories that commands name.
pub(super) const NAMED_TAG: &str = "duplex.named";

/// Where this program can be found in the testbed, for commands that want to run it there.
pub const PROGRAM: &str = "/run/duplex/bin/duplex";

/// The directory in a disk image that has the files that the command named, by number.
pub(super) const NAMED_IN_IMAGE: &str = ".duplex-named";

/// A word on the kernel command line: the testbed has no virtio-fs, its root is the disk with this
/// serial number.
pub(super) const DISK_ROOT: &str = "duplex.root=disk";

/// Sent first on a session's port, and echoed. Both sides skip everything before it: bytes that a
/// killed session left in the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting(pub(super) [u8; Greeting::LENGTH]);

impl Greeting {
    /// Bytes in a greeting.
    pub(super) const LENGTH: usize = 32;
    /// What every greeting starts with; the rest is random.
    pub(super) const MAGIC: [u8; 16] = *b"duplex testbed 1";
}

/// A word on the kernel command line: sessions have to make the kernel forget what it knows of the
/// host's files.
pub(super) const FORGET: &str = "duplex.forget";

/// A word on the kernel command line: the agent has to give a sign of life every [`PULSE`]. Not while
/// instructions are counted, for it would be counted too.
pub(super) const SIGNS_OF_LIFE: &str = "duplex.pulse";

/// The time between two signs of life.
pub(super) const PULSE: Duration = Duration::from_secs(10);

/// What a client asks of the keeper. One request a connection, and the connection lasts as long as
/// what was asked for is in use.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Answer when commands can run, and once more should the machine stop by itself after that.
    Wait,
    /// Make these files and directories visible in the testbed until this connection closes, and
    /// hand over a port to run a command on. An open descriptor of each comes with the request.
    Attach(Vec<Export>),
    /// End the testbed. The connection closes when it has.
    Stop,
    /// Describe the testbed.
    Status,
}

/// A file or directory that a command named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Export {
    /// Where it is on the host, without symbolic links.
    pub(super) path: PathBuf,
    /// Whether the testbed may write to it.
    pub(super) write: bool,
}

/// What the keeper answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Commands can run.
    Ready,
    /// The exports, by their names in the file system tagged [`NAMED_TAG`], in the order asked;
    /// the connected port comes with the answer.
    Attached(Vec<u64>),
    /// All sessions are taken: it waits for one.
    Busy,
    /// The testbed as it is.
    Status(Status),
    /// It can't be done.
    Refused(String),
    /// The machine has stopped; the last lines it wrote.
    Died(String),
    /// The machine said nothing while it booted and was ended; for how long.
    Hung(String),
    /// The host's file system can't be shown to the machine here, and why.
    NoExport(String),
}

/// A testbed that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What it was started as.
    pub machine: Machine,
    /// The release of its kernel; empty until it is up.
    pub kernel: String,
    /// Commands that run in it now.
    pub sessions: usize,
    /// Which build of duplex it is.
    pub build: String,
}

/// What the agent tells the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Notice {
    /// All is set up, under a kernel of this release.
    Ready(String),
    /// This session port is (again) free, and nothing of an earlier session is left.
    Idle(usize),
    /// A sign of life.
    Alive,
    /// It can't be set up, and why.
    Failed(String),
}

/// A command and its surroundings.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    /// The command itself.
    pub(super) invocation: Invocation,
    /// The exports, where the command shall find them.
    pub(super) mounts: Vec<Mount>,
    /// Exports that the command shall find as open descriptors: what `/dev/fd/N` names.
    pub(super) descriptors: Vec<(i32, u64)>,
    /// What time is measured in.
    pub(super) clock: Clock,
    /// Whether the root is a disk image. The files to be written are copies then, which are sent
    /// back in the end.
    pub(super) from_image: bool,
}

/// Where an export appears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mount {
    /// Its name in the file system tagged [`NAMED_TAG`].
    pub(super) export: u64,
    /// The path at which the command finds it.
    pub(super) at: PathBuf,
    /// Whether it may be written to there.
    pub(super) write: bool,
}

/// What the agent tells a client beside what every session does.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToClient {
    /// The content of the written file with this number follows.
    Written(usize),
    /// What was counted of the command, which has ended.
    Counted(Counts),
}
