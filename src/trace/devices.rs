//! Who answers where in the machine, and what each register is called: what turns an address back into
//! a name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::event::Access;

/// The most names of devices and registers that a trace may have: far more than a machine has; and how long they may
/// be.
const MOST_NAMES: usize = 1 << 12;
const LONGEST_NAME: usize = 64;

/// The devices of a machine, on both busses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMap {
    /// By their first port, in order.
    pub ports: Vec<Device>,
    /// By their first guest-physical address, in order.
    pub mapped: Vec<Device>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// What it is called.
    pub name: String,
    /// Its first port or address.
    pub start: u64,
    /// How many there are.
    pub size: u64,
    /// What is at each offset, for those that say so: when it is read, and when it is written.
    pub registers: BTreeMap<u64, (String, String)>,
}

impl DeviceMap {
    /// The device that has a port or an address, and the offset in it.
    pub fn find(&self, is_port: bool, address: u64) -> Option<(&Device, u64)> {
        let devices = if is_port { &self.ports } else { &self.mapped };
        let after = devices.partition_point(|device| device.start <= address);
        let device = devices.get(after.checked_sub(1)?)?;
        let offset = address - device.start;
        (offset < device.size).then_some((device, offset))
    }

    /// Whether it is one that a machine could have: in order, and of a size that can be worked with.
    pub(super) fn is_sound(&self) -> bool {
        let all = || self.ports.iter().chain(&self.mapped);
        let names: usize = all().map(|device| device.registers.len() + 1).sum();
        let short = |name: &String| name.len() <= LONGEST_NAME;
        let named = |device: &Device| {
            let mut registers = device.registers.values();
            short(&device.name) && registers.all(|(read, write)| short(read) && short(write))
        };
        let in_order = |devices: &[Device]| {
            devices.windows(2).all(|pair| match pair {
                [a, b] => a.start.checked_add(a.size).is_some_and(|end| end <= b.start),
                _ => true,
            })
        };
        names <= MOST_NAMES && all().all(named) && in_order(&self.ports) && in_order(&self.mapped)
    }
}

impl Device {
    /// What is at an offset. A register of several bytes is named by its first.
    pub fn register(&self, offset: u64, access: Access) -> Option<&str> {
        let (_, (read, write)) = self.registers.range(..=offset).next_back()?;
        Some(if access == Access::Read { read } else { write })
    }
}

/// What an access without a device is called.
pub fn nowhere(is_port: bool, address: u64) -> String {
    if is_port {
        format!("no device: port {address:#x}")
    } else {
        format!("no device: GPA {address:#x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> DeviceMap {
        let both = |name: &str| (name.to_owned(), name.to_owned());
        let registers =
            BTreeMap::from([(0, ("receive".into(), "transmit".into())), (5, both("line status"))]);
        let serial = Device { name: "serial".into(), start: 0x3F8, size: 8, registers };
        let silent =
            Device { name: "silent".into(), start: 0x80, size: 1, registers: BTreeMap::new() };
        DeviceMap { ports: vec![silent, serial], mapped: Vec::new() }
    }

    #[test]
    fn a_register_is_found_by_its_address_and_direction() {
        let map = map();
        let (device, offset) = map.find(true, 0x3F8).unwrap();
        assert_eq!((device.name.as_str(), offset), ("serial", 0));
        assert_eq!(device.register(0, Access::Write), Some("transmit"));
        assert_eq!(device.register(0, Access::Read), Some("receive"));
        assert_eq!(device.register(7, Access::Read), Some("line status"));
        assert_eq!(map.find(true, 0x80).unwrap().0.register(0, Access::Read), None);
        for nothing in [0, 0x7F, 0x81, 0x3F7, 0x400, u64::MAX] {
            assert_eq!(map.find(true, nothing), None, "{nothing:#x}");
        }
        assert_eq!(map.find(false, 0x3F8), None);
    }

    #[test]
    fn a_map_that_no_machine_has_is_not_sound() {
        let mut map = map();
        assert!(map.is_sound());
        map.ports.reverse();
        assert!(!map.is_sound());
        map.ports.reverse();
        map.ports[0].size = u64::MAX;
        assert!(!map.is_sound());
    }
}
