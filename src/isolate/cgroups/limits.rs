//! Limits as values in files.

use std::borrow::Cow;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::controller::Controller;
use super::devices::DeviceRule;
use super::error::Error;
use super::group::Version;
use super::{files, v1, v2};
use crate::workload::{CpuSet, DeviceRate, Limits};

/// A value for a file of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: Cow<'static, str>,
    pub(super) value: String,
    pub(super) reason: &'static str,
    /// Whether a kernel without this file is good enough.
    pub(super) optional: bool,
}

impl Setting {
    pub(super) fn new(
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        reason: &'static str,
    ) -> Self {
        Self { file: file.into(), value: value.to_string(), reason, optional: false }
    }

    pub(super) fn where_known(self) -> Self {
        Self { optional: true, ..self }
    }
}

/// What is to be set, with what has to be looked up for it.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) limits: &'a Limits,
    pub(super) throttles: Vec<Throttle>,
    /// The only devices to be used.
    pub(super) devices: Option<&'a [DeviceRule]>,
}

/// The rates of one block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Throttle {
    pub(super) major: u64,
    pub(super) minor: u64,
    /// Bytes read and written, operations that read and write.
    pub(super) rates: [Option<u64>; 4],
}

impl<'a> Wanted<'a> {
    pub(super) fn new(
        limits: &'a Limits,
        devices: Option<&'a [DeviceRule]>,
    ) -> Result<Self, Error> {
        let mut throttles = Vec::new();
        for (kind, rates) in limits.device_rates().into_iter().enumerate() {
            for rate in rates {
                add(&mut throttles, kind, rate)?;
            }
        }
        Ok(Self { limits, throttles, devices })
    }

    /// What a host must have for this.
    pub(super) fn controllers(&self) -> Vec<Controller> {
        let limits = self.limits;
        let memory = limits.memory.is_some() || limits.memory_reservation.is_some();
        [
            (Controller::Cpu, limits.cpus.is_some() || limits.cpu_shares.is_some()),
            (Controller::Cpuset, limits.cpuset_cpus.is_some()),
            (Controller::Memory, memory),
            (Controller::Io, !self.throttles.is_empty()),
            (Controller::Pids, limits.pids.is_some()),
            (Controller::Devices, self.devices.is_some()),
            (Controller::Hugetlb, !limits.hugetlb.is_empty()),
        ]
        .into_iter()
        .filter_map(|(controller, wanted)| wanted.then_some(controller))
        .collect()
    }

    /// The values for a controller.
    pub(super) fn settings(&self, version: Version, controller: Controller) -> Vec<Setting> {
        match version {
            Version::One => v1::settings(self, controller),
            Version::Two => v2::settings(self, controller),
        }
    }

    /// Whether the CPUs are there: version 2 would take any list, and use others.
    pub(super) fn check_cpus(&self, version: Version, base: &Path) -> Result<(), Error> {
        let Some(wanted) = &self.limits.cpuset_cpus else { return Ok(()) };
        let file = match version {
            Version::One => "cpuset.effective_cpus",
            Version::Two => "cpuset.cpus.effective",
        };
        let available = files::read(&base.join(file)).unwrap_or_default();
        let available = available.trim();
        match available.parse::<CpuSet>() {
            Ok(set) if wanted.is_within(&set) => Ok(()),
            _ => Err(Error::Cpus { wanted: wanted.to_string(), available: available.to_owned() }),
        }
    }
}

fn add(throttles: &mut Vec<Throttle>, kind: usize, rate: &DeviceRate) -> Result<(), Error> {
    let not_one = || Error::NotABlockDevice(rate.path.clone());
    let metadata = fs::metadata(&rate.path).map_err(|_| not_one())?;
    if !metadata.file_type().is_block_device() {
        return Err(not_one());
    }
    let (major, minor) =
        (nix::sys::stat::major(metadata.rdev()), nix::sys::stat::minor(metadata.rdev()));
    if Path::new(&format!("/sys/dev/block/{major}:{minor}/partition")).exists() {
        return Err(Error::Partition(rate.path.clone()));
    }
    let known = throttles.iter().position(|one| (one.major, one.minor) == (major, minor));
    let at = known.unwrap_or_else(|| {
        throttles.push(Throttle { major, minor, rates: [None; 4] });
        throttles.len() - 1
    });
    if let Some(place) = throttles.get_mut(at).and_then(|one| one.rates.get_mut(kind)) {
        *place = Some(rate.rate);
    }
    Ok(())
}
