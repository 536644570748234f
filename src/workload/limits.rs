//! What a workload may use of the host, as docker's options describe it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ParseError;

mod processors;
mod rates;

pub use processors::{CpuQuota, CpuSet, CpuShares};
pub use rates::{DeviceRate, HugePages};

/// The least memory that a container can be limited to, in bytes; docker's.
pub const LEAST_MEMORY: u64 = 6 << 20;

/// Limits; what is not given is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How much CPU time, `--cpus`.
    pub cpus: Option<CpuQuota>,
    /// Its share of the CPUs when others want them too, `--cpu-shares`.
    pub cpu_shares: Option<CpuShares>,
    /// On which CPUs it runs, `--cpuset-cpus`.
    pub cpuset_cpus: Option<CpuSet>,
    /// How much memory, `--memory`.
    pub memory: Option<MemoryLimit>,
    /// How much memory and swap space together, in bytes, `--memory-swap`.
    pub memory_swap: Option<Bound>,
    /// How much memory it keeps when the host runs short, `--memory-reservation`.
    pub memory_reservation: Option<MemoryLimit>,
    /// How many tasks: processes and threads, `--pids-limit`.
    pub pids: Option<Bound>,
    /// Bytes a second from block devices, `--device-read-bps`.
    pub device_read_bps: Vec<DeviceRate>,
    /// Bytes a second to block devices, `--device-write-bps`.
    pub device_write_bps: Vec<DeviceRate>,
    /// Read operations a second, `--device-read-iops`.
    pub device_read_iops: Vec<DeviceRate>,
    /// Write operations a second, `--device-write-iops`.
    pub device_write_iops: Vec<DeviceRate>,
    /// Huge pages.
    pub hugetlb: Vec<HugePages>,
}

/// What is wrong with a limit.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LimitError {
    /// Not a size.
    #[error(transparent)]
    Size(#[from] ParseError),
    /// Not a number of CPUs.
    #[error("'{0}' is not a number of CPUs: give 0.01 to 8192, such as 0.5")]
    Cpus(String),
    /// Not a share.
    #[error("'{0}' is no share of the CPUs: give 2 to 262144; 1024 is what others have")]
    Shares(String),
    /// Not a list of CPUs.
    #[error("'{0}' is no list of CPUs: give numbers and ranges, such as 0-2,5")]
    CpuSet(String),
    /// Too little for any program.
    #[error("{0} bytes are too little memory: give at least 6M")]
    LittleMemory(u64),
    /// Not a number of tasks.
    #[error("'{0}' is no number of tasks: give 1 or more, or -1 for no limit")]
    Tasks(String),
    /// Swap space alone can't be limited.
    #[error("--memory-swap limits memory and swap space together: give --memory too")]
    SwapWithoutMemory,
    /// Less for both than for one.
    #[error(
        "--memory-swap is memory and swap space together: give at least the {0} bytes of --memory"
    )]
    SwapBelowMemory(u64),
    /// It would keep more than it can have.
    #[error("--memory-reservation must not be more than the {0} bytes of --memory")]
    ReservationAboveMemory(u64),
    /// Not a device and a rate.
    #[error("'{0}' limits no device: give PATH:RATE, such as /dev/sda:10M, with an absolute path")]
    Device(String),
    /// Not a rate.
    #[error("'{0}' is no rate: give {1} a second, at least 1")]
    Rate(String, &'static str),
    /// The same device twice.
    #[error("{} is given two rates of one kind: give one", .0.display())]
    Twice(PathBuf),
    /// Not a size of pages and a limit.
    #[error(
        "'{0}' limits no huge pages: give SIZE:LIMIT, such as 2M:64M, with a size that is a power of 2"
    )]
    HugePages(String),
    /// Not whole pages.
    #[error("'{0}' is not a whole number of such pages: give a multiple of {1} bytes")]
    NotPages(String, u64),
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What these limits, each fine by itself, must be for each other.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), LimitError> {
        let memory = self.memory.map(MemoryLimit::bytes);
        match (self.memory_swap, memory) {
            (Some(_), None) => return Err(LimitError::SwapWithoutMemory),
            (Some(Bound::AtMost(both)), Some(memory)) if both < memory => {
                return Err(LimitError::SwapBelowMemory(memory));
            }
            _ => {}
        }
        if let (Some(reserved), Some(memory)) = (self.memory_reservation, memory)
            && reserved.bytes() > memory
        {
            return Err(LimitError::ReservationAboveMemory(memory));
        }
        for rates in self.device_rates() {
            for (at, rate) in rates.iter().enumerate() {
                if rates.iter().skip(at + 1).any(|other| other.path == rate.path) {
                    return Err(LimitError::Twice(rate.path.clone()));
                }
            }
        }
        Ok(())
    }

    /// The rates of devices: bytes read and written, operations that read and write.
    pub fn device_rates(&self) -> [&[DeviceRate]; 4] {
        [
            &self.device_read_bps,
            &self.device_write_bps,
            &self.device_read_iops,
            &self.device_write_iops,
        ]
    }
}

/// An amount of memory in bytes, at least [`LEAST_MEMORY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct MemoryLimit(u64);

impl MemoryLimit {
    /// The amount.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// So much more.
    #[must_use]
    pub fn plus(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }
}

impl TryFrom<u64> for MemoryLimit {
    type Error = LimitError;

    fn try_from(bytes: u64) -> Result<Self, LimitError> {
        if bytes < LEAST_MEMORY { Err(LimitError::LittleMemory(bytes)) } else { Ok(Self(bytes)) }
    }
}

impl From<MemoryLimit> for u64 {
    fn from(limit: MemoryLimit) -> u64 {
        limit.0
    }
}

impl FromStr for MemoryLimit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        super::parse_size(text)?.try_into()
    }
}

/// The most of something, which may be said to be without a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// No limit.
    Unlimited,
    /// No more than this.
    AtMost(u64),
}

impl Bound {
    /// So much more, where there is a limit.
    #[must_use]
    pub fn plus(self, more: u64) -> Self {
        match self {
            Self::Unlimited => Self::Unlimited,
            Self::AtMost(most) => Self::AtMost(most.saturating_add(more)),
        }
    }

    /// A size, or -1 for no limit.
    pub fn of_bytes(text: &str) -> Result<Self, LimitError> {
        if text == "-1" {
            return Ok(Self::Unlimited);
        }
        Ok(Self::AtMost(super::parse_size(text)?))
    }

    /// A number of tasks; -1 for no limit, or 0, as docker has it.
    pub fn of_tasks(text: &str) -> Result<Self, LimitError> {
        match text {
            "-1" | "0" => Ok(Self::Unlimited),
            _ => number(text).map(Self::AtMost).ok_or_else(|| LimitError::Tasks(text.to_owned())),
        }
    }
}

impl fmt::Display for Bound {
    /// As version 2 of control groups has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("max"),
            Self::AtMost(most) => write!(f, "{most}"),
        }
    }
}

/// A number of 1 to 4 billion in digits alone, without a sign.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<u32>().ok().filter(|number| digits && *number > 0).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_and_numbers_may_be_unlimited() {
        assert_eq!(Bound::of_bytes("-1"), Ok(Bound::Unlimited));
        assert_eq!(Bound::of_bytes("64m"), Ok(Bound::AtMost(64 << 20)));
        assert!(matches!(Bound::of_bytes("-2"), Err(LimitError::Size(_))));
        assert_eq!(Bound::of_tasks("100"), Ok(Bound::AtMost(100)));
        assert_eq!(Bound::of_tasks("0"), Ok(Bound::Unlimited));
        for text in ["", "-2", "+1", "x", "1.5", "99999999999"] {
            assert_eq!(Bound::of_tasks(text), Err(LimitError::Tasks(text.into())), "{text}");
        }
        assert_eq!("5M".parse::<MemoryLimit>(), Err(LimitError::LittleMemory(5 << 20)));
        assert_eq!("6M".parse::<MemoryLimit>().map(MemoryLimit::bytes), Ok(6 << 20));
    }

    #[test]
    fn limits_do_not_contradict_each_other() {
        let memory = |text: &str| Some(text.parse().unwrap());
        let mut limits = Limits { memory_swap: Some(Bound::AtMost(64 << 20)), ..Limits::default() };
        assert_eq!(limits.check(), Err(LimitError::SwapWithoutMemory));
        limits.memory = memory("65M");
        assert_eq!(limits.check(), Err(LimitError::SwapBelowMemory(65 << 20)));
        limits.memory = memory("64M");
        assert_eq!(limits.check(), Ok(()));
        limits.memory_swap = Some(Bound::Unlimited);
        limits.memory_reservation = memory("65M");
        assert_eq!(limits.check(), Err(LimitError::ReservationAboveMemory(64 << 20)));
        let rate = DeviceRate::of_bytes("/dev/sda:1M").unwrap();
        let twice =
            Limits { device_read_bps: vec![rate.clone(), rate.clone()], ..Limits::default() };
        assert_eq!(twice.check(), Err(LimitError::Twice("/dev/sda".into())));
        let both = Limits {
            device_read_bps: vec![rate.clone()],
            device_write_bps: vec![rate],
            ..Limits::default()
        };
        assert_eq!(both.check(), Ok(()));
        assert!(Limits::default().is_empty() && !both.is_empty());
    }

    #[test]
    fn what_is_stored_reads_back() {
        let limits = Limits {
            cpus: Some("1.5".parse().unwrap()),
            cpu_shares: Some("512".parse().unwrap()),
            cpuset_cpus: Some("0-1,5".parse().unwrap()),
            memory: Some("64M".parse().unwrap()),
            memory_swap: Some(Bound::Unlimited),
            memory_reservation: Some("32M".parse().unwrap()),
            pids: Some(Bound::AtMost(9)),
            device_read_iops: vec![DeviceRate::of_operations("/dev/sda:100").unwrap()],
            hugetlb: vec!["2M:4M".parse().unwrap()],
            ..Limits::default()
        };
        let text = serde_json::to_string(&limits).unwrap();
        assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), limits);
        assert_eq!(serde_json::from_str::<Limits>("{}").unwrap(), Limits::default());
        // Nor can another program's text bring in what no option can.
        for text in [r#"{"cpus":0}"#, r#"{"memory":1}"#, r#"{"cpuset_cpus":"9-1"}"#, r#"{"x":1}"#] {
            assert!(serde_json::from_str::<Limits>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "[0-9a-zA-Z.,:/+-]{0,24}|.*") {
            let _ = text.parse::<CpuQuota>();
            let _ = text.parse::<CpuShares>();
            let _ = text.parse::<CpuSet>();
            let _ = text.parse::<MemoryLimit>();
            let _ = text.parse::<HugePages>();
            let _ = Bound::of_bytes(&text);
            let _ = Bound::of_tasks(&text);
            let _ = DeviceRate::of_bytes(&text);
            let _ = DeviceRate::of_operations(&text);
        }
    }
}
