//! What to run: parsing and validation of everything that a caller can ask for.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

mod addressed_net;
mod disk;
mod limits;
mod net;
mod process;
mod published;
mod tmpfs;
mod volume;
mod vsock;

pub use addressed_net::{Address, AddressedNet, AddressedNetError, Ipv4Prefix, is_of_one_machine};
pub use disk::{Disk, DiskEngine, DiskError};
pub use limits::{
    Bound, CpuQuota, CpuSet, CpuShares, DeviceRate, HugePages, LEAST_MEMORY, LimitError, Limits,
    MemoryLimit,
};
pub use net::{MacAddress, Net, NetBackend, NetError, Offload, parse_rate};
pub use process::Process;
pub use published::{Protocol, PublishedPort, PublishedPortError};
pub use tmpfs::{Tmpfs, TmpfsError};
pub use volume::{Volume, VolumeError};
pub use vsock::{Vsock, VsockError};

/// The least memory that a guest can have, in bytes: a small Linux fits.
pub const MIN_MEMORY: u64 = 32 << 20;
/// The most vCPUs that a guest can have.
pub const MAX_CPUS: u8 = 32;

/// A guest to boot: what `duplex boot` was asked for.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The kernel: an ELF or a bzImage, compressed or not.
    pub kernel: PathBuf,
    /// The initial RAM disk, handed to the kernel as it is.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub cmdline: Cmdline,
    /// How many vCPUs.
    pub cpus: Cpus,
    /// How much memory.
    pub memory: MemorySize,
    /// Where the serial console leads.
    pub serial: Serial,
    /// Where hvc0, the console that is a virtio device, leads.
    pub hvc: Serial,
    /// What a reset by the guest does.
    pub on_reboot: OnReboot,
    /// Its disks, in order.
    pub disks: Vec<Disk>,
    /// Its network interfaces, in order; none of them with [`NetBackend::None`].
    pub nets: Vec<Net>,
    /// Whether it has a source of entropy.
    pub rng: bool,
    /// Its sockets to the host.
    pub vsock: Option<Vsock>,
    /// Whether memory that it has no use for goes back to the host.
    pub balloon: bool,
}

/// What was wrong with a value on the command line.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// Not a number with an optional unit.
    #[error("'{0}' is not a size: give bytes, or a number with K, M, G or T, such as 512M")]
    NotASize(String),
    /// The number is larger than any machine.
    #[error("'{0}' is more than can be addressed: give at most a few T")]
    SizeOverflow(String),
    /// Too little memory.
    #[error("{0} is too little memory: give at least 32M")]
    TooLittleMemory(MemorySize),
    /// Memory is handed out in pages.
    #[error("{0} bytes are not a whole number of 4 KiB pages: round up to {1}")]
    NotPages(u64, u64),
    /// Not a number of vCPUs.
    #[error("'{0}' is not a number of vCPUs: give 1 to 32")]
    NotCpus(String),
    /// A NUL would end the command line early.
    #[error("the kernel command line has a NUL byte in it: remove it")]
    NulInCmdline,
}

/// An amount of guest memory, in bytes: at least 32 MiB, a whole number of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemorySize(u64);

impl MemorySize {
    /// The amount in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl Default for MemorySize {
    /// 256 MiB.
    fn default() -> Self {
        MemorySize(256 << 20)
    }
}

impl FromStr for MemorySize {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_size(text)?.try_into()
    }
}

impl TryFrom<u64> for MemorySize {
    type Error = ParseError;

    fn try_from(bytes: u64) -> Result<Self, ParseError> {
        let size = MemorySize(bytes);
        if size.0 < MIN_MEMORY {
            return Err(ParseError::TooLittleMemory(size));
        }
        match size.0.checked_next_multiple_of(4096) {
            Some(rounded) if rounded == size.0 => Ok(size),
            Some(rounded) => Err(ParseError::NotPages(size.0, rounded)),
            None => Err(ParseError::SizeOverflow(bytes.to_string())),
        }
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut unit) = (self.0, "");
        for larger in ["K", "M", "G", "T", "P"] {
            if value == 0 || value % 1024 != 0 {
                break;
            }
            (value, unit) = (value / 1024, larger);
        }
        write!(f, "{value}{unit}")
    }
}

/// Reads a size in bytes: digits, then nothing, `K`, `M`, `G`, `T` or `P` in either case, with an
/// optional `B` or `iB`. All units are powers of 1024.
pub fn parse_size(text: &str) -> Result<u64, ParseError> {
    let malformed = || ParseError::NotASize(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(malformed)?;
    let unit = unit.to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(malformed()),
    };
    if number.is_empty() {
        return Err(malformed());
    }
    let overflow = || ParseError::SizeOverflow(text.to_owned());
    number.parse::<u64>().ok().and_then(|value| value.checked_mul(1 << shift)).ok_or_else(overflow)
}

/// A number of vCPUs: 1 to 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpus(u8);

impl Cpus {
    /// The number.
    pub fn count(self) -> u8 {
        self.0
    }
}

impl Default for Cpus {
    /// One.
    fn default() -> Self {
        Cpus(1)
    }
}

impl Cpus {
    /// As many as it takes to use this much time of CPUs.
    ///
    /// # Errors
    /// [`ParseError::NotCpus`] when that is more than a guest can have.
    pub fn for_quota(quota: CpuQuota) -> Result<Cpus, ParseError> {
        let count = quota.quota().div_ceil(CpuQuota::PERIOD);
        count.to_string().parse()
    }
}

impl FromStr for Cpus {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.parse() {
            Ok(count @ 1..=MAX_CPUS) => Ok(Cpus(count)),
            _ => Err(ParseError::NotCpus(text.to_owned())),
        }
    }
}

/// A kernel's command line: any bytes but NUL. How long it may be, the kernel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmdline(CString);

impl Cmdline {
    /// The line with its final NUL, as kernels want it.
    pub fn as_bytes_with_nul(&self) -> &[u8] {
        self.0.as_bytes_with_nul()
    }

    /// The line as an argument of a program.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(self.0.as_bytes())
    }

    /// The line with `words` added to those for the kernel, which end at a word `--`; what follows
    /// is init's. Quoted text is not looked into.
    #[must_use]
    pub fn with_words(&self, words: &str) -> Cmdline {
        let line = self.0.as_bytes();
        let mut quoted = false;
        let mut end = line.len();
        for at in 0..line.len() {
            let rest = line.get(at..).unwrap_or_default();
            quoted ^= rest.first() == Some(&b'"');
            let starts = at == 0 || line.get(at - 1).is_some_and(u8::is_ascii_whitespace);
            let ends = rest.get(2).is_none_or(u8::is_ascii_whitespace);
            if !quoted && starts && rest.starts_with(b"--") && ends {
                end = at;
                break;
            }
        }
        let (kernels, inits) = line.split_at_checked(end).unwrap_or((line, &[]));
        let parts = [kernels.trim_ascii(), words.as_bytes(), inits];
        let filled: Vec<&[u8]> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        // Without a NUL in the words there is none: the line itself has none.
        CString::new(filled.join(&b' ')).map_or_else(|_| self.clone(), Cmdline)
    }

    /// Whether the line tells Linux to reset by a triple fault: `reboot=` with a word that starts
    /// with `t` (Linux, Documentation/admin-guide/kernel-parameters.txt).
    pub fn resets_by_triple_fault(&self) -> bool {
        self.0
            .as_bytes()
            .split(u8::is_ascii_whitespace)
            .filter_map(|word| word.strip_prefix(b"reboot="))
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|mode| mode.first() == Some(&b't'))
    }
}

impl FromStr for Cmdline {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        OsString::from(text).try_into()
    }
}

impl TryFrom<OsString> for Cmdline {
    type Error = ParseError;

    fn try_from(text: OsString) -> Result<Self, ParseError> {
        CString::new(text.into_vec()).map(Cmdline).map_err(|_| ParseError::NulInCmdline)
    }
}

/// Where a console leads: the serial one, or hvc0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serial {
    /// To the caller's stdin and stdout.
    Stdio,
    /// Nowhere: there is no such port.
    Off,
    /// Output into this file (or terminal, or FIFO); no input.
    Path(PathBuf),
}

impl FromStr for Serial {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "stdio" => Serial::Stdio,
            "off" => Serial::Off,
            path => Serial::Path(path.into()),
        })
    }
}

/// What a reset by the guest does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnReboot {
    /// It ends the guest, with status 0.
    #[default]
    Exit,
    /// It starts the guest anew.
    Restart,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("512M"), Ok(512 << 20));
        assert_eq!(parse_size("3g"), Ok(3 << 30));
        assert_eq!(parse_size("64KiB"), Ok(64 << 10));
        assert_eq!(parse_size("4096"), Ok(4096));
    }

    #[test]
    fn bad_sizes_are_named() {
        for text in ["", "M", "5X", "-1M", "1.5G", "12 M", "é"] {
            assert_eq!(parse_size(text), Err(ParseError::NotASize(text.to_owned())), "{text:?}");
        }
        for text in ["99999999999999999999", "99999999P"] {
            assert_eq!(parse_size(text), Err(ParseError::SizeOverflow(text.to_owned())));
        }
    }

    #[test]
    fn memory_has_a_least_size_and_whole_pages() {
        assert!("32M".parse::<MemorySize>().is_ok());
        for text in ["0", "1M", "33554431"] {
            assert!(matches!(text.parse::<MemorySize>(), Err(ParseError::TooLittleMemory(_))));
        }
        assert_eq!("33554433".parse::<MemorySize>(), Err(ParseError::NotPages(33554433, 33558528)));
    }

    #[test]
    fn cpus_are_1_to_32() {
        assert_eq!("1".parse::<Cpus>().map(Cpus::count), Ok(1));
        assert_eq!("32".parse::<Cpus>().map(Cpus::count), Ok(32));
        for text in ["0", "33", "two", "-1", "256", ""] {
            assert_eq!(text.parse::<Cpus>(), Err(ParseError::NotCpus(text.to_owned())));
        }
    }

    #[test]
    fn command_lines_have_any_bytes_but_nul() {
        let line = OsStr::from_bytes(b"init=/bin/\xFF");
        assert_eq!(Cmdline::try_from(line.to_owned()).unwrap().as_os_str(), line);
        assert_eq!("a\0b".parse::<Cmdline>(), Err(ParseError::NulInCmdline));
    }

    #[test]
    fn words_are_added_before_those_of_init() {
        let with = |line: &str| {
            let line = line.parse::<Cmdline>().unwrap().with_words("a=1 b=2");
            line.as_os_str().to_str().unwrap().to_owned()
        };
        assert_eq!(with(""), "a=1 b=2");
        assert_eq!(with("quiet"), "quiet a=1 b=2");
        assert_eq!(with("quiet -- sh -c"), "quiet a=1 b=2 -- sh -c");
        assert_eq!(with("quiet --"), "quiet a=1 b=2 --");
        assert_eq!(with("-- x"), "a=1 b=2 -- x");
        assert_eq!(with(r#"x="a -- b" --no"#), r#"x="a -- b" --no a=1 b=2"#);
    }

    #[test]
    fn a_reset_by_triple_fault_is_recognised() {
        let resets = |line: &str| line.parse::<Cmdline>().unwrap().resets_by_triple_fault();
        assert!(resets("console=ttyS0 reboot=t") && resets("reboot=warm,t quiet"));
        assert!(!resets("reboot=k panic=-1") && !resets("xreboot=t") && !resets(""));
    }

    proptest! {
        #[test]
        fn a_size_printed_reads_back(pages in 8192_u64..1 << 40) {
            let size = MemorySize(pages * 4096);
            prop_assert_eq!(size.to_string().parse::<MemorySize>(), Ok(size));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = parse_size(&text);
        }
    }
}
