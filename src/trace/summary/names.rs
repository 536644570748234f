//! Addresses into names, each looked up once.

use std::collections::{BTreeMap, HashMap};

use super::{MOST_PLACES, Register};
use crate::trace::devices::{Device, DeviceMap, nowhere};
use crate::trace::event::{Access, Exit};
use crate::trace::symbols::Symbols;

/// Names of registers and functions.
#[derive(Default)]
pub(in crate::trace) struct Names {
    devices: DeviceMap,
    /// What each device is called, by its first address: of several of a kind with a number.
    numbered: BTreeMap<(bool, u64), String>,
    symbols: Option<Symbols>,
    registers: HashMap<(bool, u64, Access), Register>,
    functions: HashMap<u64, String>,
}

impl Names {
    pub(in crate::trace) fn new(symbols: Option<Symbols>) -> Names {
        Names { symbols, ..Names::default() }
    }

    /// These devices answer from now on.
    pub(in crate::trace) fn devices(&mut self, devices: DeviceMap) {
        let mut numbered = BTreeMap::new();
        for (is_port, devices) in [(true, &devices.ports), (false, &devices.mapped)] {
            for device in devices {
                let alike: Vec<&Device> =
                    devices.iter().filter(|other| other.name == device.name).collect();
                let which = alike.iter().position(|other| other.start == device.start);
                let name = match which {
                    // Parts of one thing are on several ports, and need no numbers.
                    Some(which) if !is_port && alike.len() > 1 => {
                        format!("{} {which}", device.name)
                    }
                    _ => device.name.clone(),
                };
                numbered.insert((is_port, device.start), name);
            }
        }
        (self.devices, self.numbered) = (devices, numbered);
        self.registers.clear();
    }

    /// What an exit was about. `None`: no access.
    pub(in crate::trace) fn register(&mut self, exit: &Exit) -> Option<Register> {
        let (access, is_port) = (exit.access()?, exit.is_port());
        let key = (is_port, exit.address, access);
        if let Some(known) = self.registers.get(&key) {
            return Some(known.clone());
        }
        let register = match self.devices.find(is_port, exit.address) {
            Some((device, offset)) => {
                let known = self.numbered.get(&(is_port, device.start));
                let register = device.register(offset, access).map(ToOwned::to_owned);
                Register {
                    device: known.unwrap_or(&device.name).clone(),
                    register: register.unwrap_or_else(|| format!("offset {offset:#x}")),
                    access,
                }
            }
            None => {
                Register { device: nowhere(is_port, exit.address), register: String::new(), access }
            }
        };
        if self.registers.len() < MOST_PLACES {
            self.registers.insert(key, register.clone());
        }
        Some(register)
    }

    /// The function at an address, or the address.
    pub(in crate::trace) fn function(&mut self, rip: u64) -> String {
        if let Some(known) = self.functions.get(&rip) {
            return known.clone();
        }
        let found = self.symbols.as_ref().and_then(|symbols| symbols.find(rip));
        let name = found.map_or_else(|| format!("{rip:#x}"), |(name, _)| name.to_owned());
        if self.functions.len() < MOST_PLACES {
            self.functions.insert(rip, name.clone());
        }
        name
    }
}
