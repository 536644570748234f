//! A disk, as `--disk` describes it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use thiserror::Error;

use super::{ParseError, parse_size};

/// The most queues of a disk: one a vCPU is enough, and more than this buys nothing.
const MAX_QUEUES: u16 = 16;
/// How long an id may be (virtio 1.2, section 5.2.6: VIRTIO_BLK_ID_BYTES).
const MAX_ID: usize = 20;

/// A disk of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The file or block device: its bytes are the disk's.
    pub path: PathBuf,
    /// Whether the guest may not write to it.
    pub read_only: bool,
    /// What the guest reads as its serial number.
    pub id: Option<String>,
    /// How many queues.
    pub queues: u16,
    /// The most bytes a second.
    pub bytes_per_second: Option<u64>,
    /// The most operations a second.
    pub operations_per_second: Option<u64>,
    /// How the host does the work; without a choice the best that it has.
    pub engine: Option<DiskEngine>,
}

/// How the host reads and writes for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskEngine {
    /// By io_uring.
    IoUring,
    /// By threads that make blocking system calls.
    Threads,
}

impl fmt::Display for DiskEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DiskEngine::IoUring => "io_uring",
            DiskEngine::Threads => "threads",
        })
    }
}

/// What is wrong with a `--disk`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DiskError {
    /// Nothing before the first comma.
    #[error("a path is missing: give PATH[,ro][,id=…][,queues=N][,rate=SIZE][,iops=N][,engine=…]")]
    NoPath,
    /// A NUL ends a path.
    #[error("the path has a NUL byte in it: remove it")]
    NulInPath,
    /// A word that means nothing.
    #[error(
        "'{0}' is no option of a disk: they are ro, id=, queues=, rate=, iops= and engine= (a \
         comma in the path is written twice)"
    )]
    Unknown(String),
    /// The same option again.
    #[error("'{0}' is given twice: give it once")]
    Twice(String),
    /// Not 1 to 20 printable characters.
    #[error("'{0}' is no disk id: give 1 to 20 printable ASCII characters")]
    Id(String),
    /// Not a number of queues.
    #[error("'{0}' is not a number of queues: give 1 to {MAX_QUEUES}")]
    Queues(String),
    /// Not a size.
    #[error("rate: {0}")]
    Rate(#[source] ParseError),
    /// No bytes at all.
    #[error("a rate of 0 would let nothing through: give at least 1")]
    NoRate,
    /// Not a number of operations.
    #[error("'{0}' is not a number of operations a second: give at least 1")]
    Operations(String),
    /// Not an engine.
    #[error("'{0}' is no engine: give io_uring or threads")]
    Engine(String),
}

impl TryFrom<OsString> for Disk {
    type Error = DiskError;

    fn try_from(text: OsString) -> Result<Disk, DiskError> {
        let (path, options) = split_path(text.as_bytes());
        if path.is_empty() {
            return Err(DiskError::NoPath);
        }
        if path.contains(&0) {
            return Err(DiskError::NulInPath);
        }
        let mut disk = Disk::new(OsString::from_vec(path));
        let mut seen: Vec<&[u8]> = Vec::new();
        for option in options.split(|byte| *byte == b',').skip(1) {
            let name = option.split(|byte| *byte == b'=').next().unwrap_or_default();
            let text = String::from_utf8_lossy(option);
            if seen.contains(&name) {
                return Err(DiskError::Twice(String::from_utf8_lossy(name).into_owned()));
            }
            seen.push(name);
            disk.set(&text)?;
        }
        Ok(disk)
    }
}

/// The path, in which two commas stand for one, and the options with the comma before them.
fn split_path(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        rest = match rest {
            [b',', b',', after @ ..] => {
                path.push(b',');
                after
            }
            [] | [b',', ..] => return (path, rest),
            [byte, after @ ..] => {
                path.push(*byte);
                after
            }
        };
    }
}

impl Disk {
    /// A disk without options.
    pub fn new(path: impl Into<PathBuf>) -> Disk {
        Disk {
            path: path.into(),
            read_only: false,
            id: None,
            queues: 1,
            bytes_per_second: None,
            operations_per_second: None,
            engine: None,
        }
    }

    /// The disk as an argument that reads back as it.
    pub fn to_argument(&self) -> OsString {
        let mut argument = Vec::new();
        for byte in self.path.as_os_str().as_bytes() {
            argument.extend(std::iter::repeat_n(*byte, if *byte == b',' { 2 } else { 1 }));
        }
        let mut option = |text: String| argument.extend(format!(",{text}").into_bytes());
        if self.read_only {
            option("ro".into());
        }
        option(format!("queues={}", self.queues));
        for (name, value) in [
            ("id", self.id.clone()),
            ("rate", self.bytes_per_second.map(|rate| rate.to_string())),
            ("iops", self.operations_per_second.map(|rate| rate.to_string())),
            ("engine", self.engine.map(|engine| engine.to_string())),
        ] {
            if let Some(value) = value {
                option(format!("{name}={value}"));
            }
        }
        OsString::from_vec(argument)
    }

    fn set(&mut self, option: &str) -> Result<(), DiskError> {
        let unknown = || DiskError::Unknown(option.to_owned());
        if option == "ro" {
            self.read_only = true;
            return Ok(());
        }
        let (name, value) = option.split_once('=').ok_or_else(unknown)?;
        let own = || value.to_owned();
        match name {
            "id" => {
                let fits = (1..=MAX_ID).contains(&value.len());
                let printable = value.bytes().all(|byte| (0x20..0x7F).contains(&byte));
                self.id = Some(own()).filter(|_| fits && printable);
                self.id.is_some().then_some(()).ok_or_else(|| DiskError::Id(own()))
            }
            "queues" => match value.parse() {
                Ok(queues @ 1..=MAX_QUEUES) => {
                    self.queues = queues;
                    Ok(())
                }
                _ => Err(DiskError::Queues(own())),
            },
            "rate" => {
                let rate = parse_size(value.strip_suffix("/s").unwrap_or(value));
                let rate = rate.map_err(DiskError::Rate)?;
                self.bytes_per_second = Some(rate).filter(|rate| *rate > 0);
                self.bytes_per_second.is_some().then_some(()).ok_or(DiskError::NoRate)
            }
            "iops" => {
                self.operations_per_second = value.parse().ok().filter(|rate| *rate > 0);
                let set = self.operations_per_second.is_some().then_some(());
                set.ok_or_else(|| DiskError::Operations(own()))
            }
            "engine" => {
                self.engine = Some(match value {
                    "io_uring" => DiskEngine::IoUring,
                    "threads" => DiskEngine::Threads,
                    _ => return Err(DiskError::Engine(own())),
                });
                Ok(())
            }
            _ => Err(unknown()),
        }
    }

    /// The path, for messages.
    pub fn path(&self) -> &OsStr {
        self.path.as_os_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Disk, DiskError> {
        OsString::from(text).try_into()
    }

    #[test]
    fn options_follow_the_path() {
        assert_eq!(parse("a.img"), Ok(Disk::new("a.img")));
        let full = parse("a.img,ro,id=root,queues=4,rate=10M/s,iops=500,engine=threads").unwrap();
        let expected = Disk {
            read_only: true,
            id: Some("root".into()),
            queues: 4,
            bytes_per_second: Some(10 << 20),
            operations_per_second: Some(500),
            engine: Some(DiskEngine::Threads),
            ..Disk::new("a.img")
        };
        assert_eq!(full, expected);
        assert_eq!(parse("a,,b,ro").unwrap().path, PathBuf::from("a,b"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| parse(text).unwrap_err();
        assert_eq!(wrong(""), DiskError::NoPath);
        assert_eq!(wrong(",ro"), DiskError::NoPath);
        assert_eq!(wrong("a,rw"), DiskError::Unknown("rw".into()));
        assert_eq!(wrong("a,"), DiskError::Unknown(String::new()));
        assert_eq!(wrong("a,ro,ro"), DiskError::Twice("ro".into()));
        assert_eq!(wrong("a,iops=1,iops=2"), DiskError::Twice("iops".into()));
        for queues in ["0", "17", "x", ""] {
            assert_eq!(wrong(&format!("a,queues={queues}")), DiskError::Queues(queues.into()));
        }
        assert!(matches!(wrong("a,rate=fast"), DiskError::Rate(_)));
        assert_eq!(wrong("a,rate=0"), DiskError::NoRate);
        assert_eq!(wrong("a,iops=0"), DiskError::Operations("0".into()));
        assert_eq!(wrong("a,engine=aio"), DiskError::Engine("aio".into()));
        for id in ["", "123456789012345678901", "ä"] {
            assert_eq!(wrong(&format!("a,id={id}")), DiskError::Id(id.into()));
        }
    }

    proptest! {
        #[test]
        fn a_disk_written_reads_back(
            path in "[a-z,/=]{1,12}", read_only: bool, queues in 1_u16..17,
            rate in proptest::option::of(1_u64..u64::MAX), id in proptest::option::of("[!-+--~]{1,20}"),
        ) {
            let disk = Disk { read_only, queues, id, bytes_per_second: rate, ..Disk::new(path) };
            prop_assert_eq!(Disk::try_from(disk.to_argument()), Ok(disk));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = parse(&text);
        }
    }
}
