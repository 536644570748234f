//! Limits on CPUs: how much time, which share, and which of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::LimitError;

/// How much CPU time, in hundred-thousandths of a CPU: at least a hundredth of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct CpuQuota(u64);

impl CpuQuota {
    /// The period that the time is counted in, in microseconds; the kernel's default.
    pub const PERIOD: u64 = 100_000;
    const LEAST: u64 = Self::PERIOD / 100;
    const MOST: u64 = Self::PERIOD * 8192;

    /// How many microseconds of each period.
    pub fn quota(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for CpuQuota {
    type Error = LimitError;

    fn try_from(quota: u64) -> Result<Self, LimitError> {
        if (Self::LEAST..=Self::MOST).contains(&quota) {
            Ok(Self(quota))
        } else {
            Err(LimitError::Cpus(format!("{}.{:05}", quota / Self::PERIOD, quota % Self::PERIOD)))
        }
    }
}

impl From<CpuQuota> for u64 {
    fn from(quota: CpuQuota) -> u64 {
        quota.0
    }
}

impl FromStr for CpuQuota {
    type Err = LimitError;

    /// Reads a decimal fraction; what is smaller than a hundred-thousandth is left out.
    fn from_str(text: &str) -> Result<Self, LimitError> {
        let malformed = || LimitError::Cpus(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
            return Err(malformed());
        }
        let whole: u64 =
            if whole.is_empty() { 0 } else { whole.parse().map_err(|_| malformed())? };
        let five = format!("{fraction:0<5}");
        let fraction: u64 =
            five.get(..5).and_then(|five| five.parse().ok()).ok_or_else(malformed)?;
        let quota = whole.checked_mul(Self::PERIOD).and_then(|micros| micros.checked_add(fraction));
        quota.ok_or_else(malformed)?.try_into().map_err(|_| malformed())
    }
}

/// A share of the CPUs, relative to those of others that want them at the same time: 2 to 262144, and
/// 1024 for those who have not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct CpuShares(u64);

impl CpuShares {
    /// The share as version 1 has it.
    pub fn shares(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for CpuShares {
    type Error = LimitError;

    fn try_from(shares: u64) -> Result<Self, LimitError> {
        match shares {
            2..=262_144 => Ok(Self(shares)),
            _ => Err(LimitError::Shares(shares.to_string())),
        }
    }
}

impl From<CpuShares> for u64 {
    fn from(shares: CpuShares) -> u64 {
        shares.0
    }
}

impl FromStr for CpuShares {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let number = super::number(text).ok_or_else(|| LimitError::Shares(text.to_owned()))?;
        number.try_into()
    }
}

/// A set of CPUs by number, cpuset(7), "List format".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet(Vec<(u16, u16)>);

impl CpuSet {
    /// More than Linux can be built for.
    const MOST: u16 = 8191;

    /// Whether all of these CPUs are in another set.
    pub fn is_within(&self, other: &CpuSet) -> bool {
        let has = |cpu| other.0.iter().any(|(first, last)| (*first..=*last).contains(&cpu));
        self.0.iter().all(|(first, last)| (*first..=*last).all(has))
    }
}

impl FromStr for CpuSet {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| digits && *number <= Self::MOST)
        };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((number(first)?, number(last)?)).filter(|(first, last)| first <= last)
        };
        let malformed = || LimitError::CpuSet(text.to_owned());
        text.split(',').map(range).collect::<Option<_>>().map(Self).ok_or_else(malformed)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for CpuSet {
    type Error = LimitError;

    fn try_from(text: String) -> Result<Self, LimitError> {
        text.parse()
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> String {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cpus_may_be_fractions() {
        let quota = |text: &str| text.parse().map(CpuQuota::quota);
        assert_eq!(quota("0.5"), Ok(50_000));
        assert_eq!(quota("1.5"), Ok(150_000));
        assert_eq!(quota("2"), Ok(200_000));
        assert_eq!(quota(".25"), Ok(25_000));
        assert_eq!(quota("1."), Ok(100_000));
        assert_eq!(quota("0.0123456789"), Ok(1234));
        for text in
            ["", ".", "0", "0.009", "-1", "+1", "1e3", "1,5", "0x1", "1.-5", "9999", "é", "1.é"]
        {
            assert_eq!(quota(text), Err(LimitError::Cpus(text.into())), "{text}");
        }
    }

    #[test]
    fn shares_are_those_of_the_kernel() {
        let shares = |text: &str| text.parse().map(CpuShares::shares);
        assert_eq!((shares("2"), shares("262144")), (Ok(2), Ok(262_144)));
        for text in ["0", "1", "262145", "-5", "", "1k"] {
            assert_eq!(shares(text), Err(LimitError::Shares(text.into())), "{text}");
        }
    }

    #[test]
    fn cpus_are_listed_by_number() {
        let set = |text: &str| text.parse::<CpuSet>();
        assert_eq!(set("0-2,5,7-7").unwrap().to_string(), "0-2,5,7");
        for text in ["", ",", "0,", "a", "2-1", "1-", "-1", "0-3:2/4", "8192", "+1", "0 1", "1\n"] {
            assert_eq!(set(text), Err(LimitError::CpuSet(text.into())), "{text}");
        }
        let host = set("0-3,8").unwrap();
        assert!(set("1-2,8").unwrap().is_within(&host) && !set("3-4").unwrap().is_within(&host));
    }

    proptest! {
        #[test]
        fn a_list_printed_reads_back(ranges in prop::collection::vec((0_u16..99, 0_u16..99), 1..9)) {
            let set = CpuSet(ranges.into_iter().map(|(first, more)| (first, first + more)).collect());
            prop_assert_eq!(set.to_string().parse::<CpuSet>(), Ok(set.clone()));
            prop_assert!(set.is_within(&set));
        }

        #[test]
        fn any_hundredth_of_a_cpu_is_exact(hundredths in 1_u64..819_200) {
            let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
            prop_assert_eq!(text.parse().map(CpuQuota::quota), Ok(hundredths * 1000));
        }
    }
}
