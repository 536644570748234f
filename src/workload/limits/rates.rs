//! Limits that are given for each device, or for each size of pages.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::super::parse_size;
use super::LimitError;

/// How much of something a second on a block device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// The device's node.
    pub path: PathBuf,
    /// Bytes, or operations, a second.
    pub rate: u64,
}

impl DeviceRate {
    /// A device and bytes a second: `/dev/sda:10M`.
    pub fn of_bytes(text: &str) -> Result<Self, LimitError> {
        Self::read(text, |rate| {
            let bytes = parse_size(rate).ok().filter(|bytes| *bytes > 0);
            bytes.ok_or_else(|| {
                LimitError::Rate(rate.to_owned(), "bytes, or a number with K, M or G,")
            })
        })
    }

    /// A device and operations a second: `/dev/sda:100`.
    pub fn of_operations(text: &str) -> Result<Self, LimitError> {
        Self::read(text, |rate| {
            super::number(rate).ok_or_else(|| LimitError::Rate(rate.to_owned(), "operations"))
        })
    }

    fn read(
        text: &str,
        rate: impl FnOnce(&str) -> Result<u64, LimitError>,
    ) -> Result<Self, LimitError> {
        // Names of devices have colons: /dev/disk/by-path/pci-0000:00:1f.2-ata-1.
        match text.rsplit_once(':') {
            Some((path, value)) if Path::new(path).is_absolute() && !path.contains('\0') => {
                Ok(Self { path: path.into(), rate: rate(value)? })
            }
            _ => Err(LimitError::Device(text.to_owned())),
        }
    }
}

/// How many bytes of huge pages of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugePages {
    page: u64,
    limit: u64,
}

impl HugePages {
    /// All of them together, in bytes.
    pub fn limit(self) -> u64 {
        self.limit
    }

    /// The pages' size as names of files have it, such as 2MB.
    pub fn size(self) -> impl fmt::Display {
        match self.page {
            page if page >= 1 << 30 => format!("{}GB", page >> 30),
            page if page >= 1 << 20 => format!("{}MB", page >> 20),
            page => format!("{}KB", page >> 10),
        }
    }
}

impl FromStr for HugePages {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let malformed = || LimitError::HugePages(text.to_owned());
        let (size, most) = text.split_once(':').ok_or_else(malformed)?;
        let page = parse_size(size)?;
        let limit = parse_size(most)?;
        if !page.is_power_of_two() || page < 8 << 10 {
            return Err(malformed());
        }
        if limit % page != 0 {
            return Err(LimitError::NotPages(most.to_owned(), page));
        }
        Ok(Self { page, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_a_device() {
        let bytes = DeviceRate::of_bytes("/dev/disk/by-path/pci-0000:00:1f.2:10m").unwrap();
        assert_eq!(bytes.path, Path::new("/dev/disk/by-path/pci-0000:00:1f.2"));
        assert_eq!(bytes.rate, 10 << 20);
        assert_eq!(DeviceRate::of_operations("/dev/sda:100").unwrap().rate, 100);
        for text in ["", "/dev/sda", "sda:1M", ":1M", "1M", "/d\0:1"] {
            assert_eq!(DeviceRate::of_bytes(text), Err(LimitError::Device(text.into())), "{text}");
        }
        for text in ["/dev/sda:", "/dev/sda:0", "/dev/sda:-1", "/dev/sda:x"] {
            assert!(matches!(DeviceRate::of_bytes(text), Err(LimitError::Rate(..))), "{text}");
            assert!(matches!(DeviceRate::of_operations(text), Err(LimitError::Rate(..))), "{text}");
        }
        assert!(matches!(DeviceRate::of_operations("/dev/sda:1M"), Err(LimitError::Rate(..))));
    }

    #[test]
    fn huge_pages_are_whole() {
        let pages = |text: &str| text.parse::<HugePages>();
        let two = pages("2M:64M").unwrap();
        assert_eq!((two.size().to_string(), two.limit()), ("2MB".into(), 64 << 20));
        assert_eq!(pages("1G:0").unwrap().size().to_string(), "1GB");
        assert_eq!(pages("64K:1M").unwrap().size().to_string(), "64KB");
        assert_eq!(pages("2M:3M"), Err(LimitError::NotPages("3M".into(), 2 << 20)));
        for text in ["", "2M", "3M:3M", "4K:8K", "0:0"] {
            assert_eq!(pages(text), Err(LimitError::HugePages(text.into())), "{text}");
        }
    }
}
