//! The port bus and the memory bus: who answers an access that left the guest.
//!
//! Where nothing is, reads give all ones and writes vanish, as on a PC; each such place is logged
//! once at debug level, and all are counted.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::devices::{Action, MmioDevice, PortDevice, RegisterNames};
use super::layout::{Ports, Range};
use crate::trace::devices::{self, DeviceMap};

/// The most places without a device that are remembered; a guest could touch any number.
const MAX_REMEMBERED: usize = 1024;

/// A device that the bus shares with whoever else needs it.
pub type SharedDevice = Arc<Mutex<dyn PortDevice>>;

/// The I/O ports and the memory-mapped devices of the machine, and what has no device behind it.
#[derive(Default)]
pub struct Bus {
    /// Devices by their first port, ascending and free of overlap.
    devices: Vec<(Ports, SharedDevice)>,
    /// Memory-mapped devices by their first address, ascending and free of overlap.
    mapped: Vec<(Range, Arc<dyn MmioDevice>)>,
    unclaimed: Unclaimed,
}

impl Bus {
    /// Puts a device on its ports. The layout keeps them from overlapping.
    pub fn insert(&mut self, ports: Ports, device: impl PortDevice + 'static) {
        self.insert_shared(ports, Arc::new(Mutex::new(device)));
    }

    /// As [`Bus::insert`], for a device that somebody else uses too.
    pub fn insert_shared(&mut self, ports: Ports, device: SharedDevice) {
        let at = self.devices.partition_point(|(other, _)| other.start < ports.start);
        self.devices.insert(at, (ports, device));
    }

    /// Puts a memory-mapped device at its addresses. The layout keeps them from overlapping.
    pub fn insert_mapped(&mut self, gpa: Range, device: Arc<dyn MmioDevice>) {
        let at = self.mapped.partition_point(|(other, _)| other.start < gpa.start);
        self.mapped.insert(at, (gpa, device));
    }

    /// A guest's `in`: `data` is one or (for string instructions) several accesses of `size` bytes.
    pub fn port_in(&self, port: u16, size: usize, data: &mut [u8]) {
        data.fill(0xFF);
        let Some((ports, device)) = self.find(port) else {
            return self.unclaimed.note(Place::Port(port));
        };
        // A device that panicked while it held its lock has ended the machine already.
        let mut device = device.lock().unwrap_or_else(PoisonError::into_inner);
        for access in data.chunks_mut(size.max(1)) {
            if let Some(access) = access.get_mut(..within(ports, port, size)) {
                device.read(port - ports.start, access);
            }
        }
    }

    /// A guest's `out`: `data` is one or several accesses of `size` bytes.
    pub fn port_out(&self, port: u16, size: usize, data: &[u8]) -> Action {
        let Some((ports, device)) = self.find(port) else {
            self.unclaimed.note(Place::Port(port));
            return Action::Continue;
        };
        let mut device = device.lock().unwrap_or_else(PoisonError::into_inner);
        data.chunks(size.max(1))
            .filter_map(|access| access.get(..within(ports, port, size)))
            .map(|access| device.write(port - ports.start, access))
            .find(|action| *action != Action::Continue)
            .unwrap_or(Action::Continue)
    }

    /// A guest's load from where there is no memory.
    pub fn mmio_read(&self, gpa: u64, data: &mut [u8]) {
        match self.find_mapped(gpa, data.len()) {
            Some((offset, device)) => device.read(offset, data),
            None => {
                data.fill(0xFF);
                self.unclaimed.note(Place::Memory(gpa));
            }
        }
    }

    /// A guest's store to where there is no memory.
    pub fn mmio_write(&self, gpa: u64, data: &[u8]) {
        match self.find_mapped(gpa, data.len()) {
            Some((offset, device)) => device.write(offset, data),
            None => self.unclaimed.note(Place::Memory(gpa)),
        }
    }

    /// Who answers where, by name.
    pub fn map(&self) -> DeviceMap {
        let ports = self.devices.iter().map(|(ports, device)| {
            let device = device.lock().unwrap_or_else(PoisonError::into_inner);
            let range = (ports.start.into(), ports.count.into());
            named(device.name(), range, &device.registers())
        });
        let mapped = self.mapped.iter().map(|(range, device)| {
            named(device.name(), (range.start, range.size()), &device.registers())
        });
        DeviceMap { ports: ports.collect(), mapped: mapped.collect() }
    }

    /// How many accesses found no device.
    pub fn unclaimed(&self) -> u64 {
        self.unclaimed.count.load(Ordering::Relaxed)
    }

    fn find(&self, port: u16) -> Option<(Ports, &SharedDevice)> {
        let after = self.devices.partition_point(|(ports, _)| ports.start <= port);
        let (ports, device) = self.devices.get(after.checked_sub(1)?)?;
        (port - ports.start < ports.count).then_some((*ports, device))
    }

    /// The device that an access lies in altogether, and where in it. KVM splits accesses at page
    /// ends, so none that a processor makes hangs over the end of a device.
    fn find_mapped(&self, gpa: u64, size: usize) -> Option<(u64, &dyn MmioDevice)> {
        let after = self.mapped.partition_point(|(range, _)| range.start <= gpa);
        let (range, device) = self.mapped.get(after.checked_sub(1)?)?;
        let access = Range::sized(gpa, u64::try_from(size).ok()?)?;
        range.contains(access).then(|| (gpa - range.start, device.as_ref()))
    }
}

fn named(name: &str, (start, size): (u64, u64), registers: &[RegisterNames]) -> devices::Device {
    let registers = registers
        .iter()
        .map(|(offset, read, write)| (*offset, ((*read).to_owned(), (*write).to_owned())));
    devices::Device { name: name.to_owned(), start, size, registers: registers.collect() }
}

/// How many of an access' `size` bytes at `port` lie on the device's ports.
fn within(ports: Ports, port: u16, size: usize) -> usize {
    size.min(usize::from(ports.count - (port - ports.start)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Port(u16),
    Memory(u64),
}

#[derive(Default)]
struct Unclaimed {
    count: AtomicU64,
    seen: Mutex<HashSet<Place>>,
}

impl Unclaimed {
    fn note(&self, place: Place) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if !log::log_enabled!(log::Level::Debug) {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MAX_REMEMBERED && seen.insert(place) {
            match place {
                Place::Port(port) => log::debug!("bus: no device at port {port:#x}"),
                Place::Memory(gpa) => log::debug!("bus: no memory and no device at GPA {gpa:#x}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Log = Arc<Mutex<Vec<(u16, Vec<u8>)>>>;

    struct Probe(Log);

    impl PortDevice for Probe {
        fn read(&mut self, offset: u16, data: &mut [u8]) {
            data.fill(u8::try_from(offset).unwrap());
        }
        fn write(&mut self, offset: u16, data: &[u8]) -> Action {
            self.0.lock().unwrap().push((offset, data.to_vec()));
            if data == [0xEE] { Action::Reset } else { Action::Continue }
        }
    }

    fn bus() -> (Bus, Log) {
        let mut bus = Bus::default();
        let log = Log::default();
        bus.insert(Ports { start: 0x100, count: 4 }, Probe(log.clone()));
        bus.insert(Ports { start: 0x80, count: 1 }, Probe(log.clone()));
        (bus, log)
    }

    #[test]
    fn an_access_reaches_its_device_by_offset() {
        let (bus, log) = bus();
        let mut data = [0; 2];
        bus.port_in(0x102, 2, &mut data);
        assert_eq!(data, [2, 2]);
        assert_eq!(bus.port_out(0x103, 1, &[7]), Action::Continue);
        assert_eq!(*log.lock().unwrap(), [(3, vec![7])]);
        assert_eq!(bus.unclaimed(), 0);
    }

    #[test]
    fn nobody_home_reads_all_ones_and_is_counted() {
        let (bus, _) = bus();
        let mut data = [0; 4];
        bus.port_in(0x104, 4, &mut data);
        assert_eq!(data, [0xFF; 4]);
        bus.mmio_read(0xD000_0000, &mut data);
        bus.mmio_write(0xD000_0000, &[0]);
        assert_eq!(bus.unclaimed(), 3);
    }

    #[test]
    fn an_access_that_hangs_over_the_end_reads_ones_there() {
        let (bus, log) = bus();
        let mut data = [0; 4];
        bus.port_in(0x102, 4, &mut data);
        assert_eq!(data, [2, 2, 0xFF, 0xFF]);
        let _ = bus.port_out(0x103, 4, &[1, 2, 3, 4]);
        assert_eq!(*log.lock().unwrap(), [(3, vec![1])]);
    }

    #[test]
    fn a_string_instruction_is_many_accesses_up_to_the_first_action() {
        let (bus, log) = bus();
        assert_eq!(bus.port_out(0x80, 1, &[1, 2, 0xEE, 4]), Action::Reset);
        assert_eq!(log.lock().unwrap().len(), 3);
    }

    struct Mapped(Mutex<Vec<(u64, usize)>>);

    impl MmioDevice for Mapped {
        fn read(&self, offset: u64, data: &mut [u8]) {
            self.0.lock().unwrap().push((offset, data.len()));
            data.fill(0xAB);
        }
        fn write(&self, offset: u64, data: &[u8]) {
            self.0.lock().unwrap().push((offset, data.len()));
        }
    }

    #[test]
    fn a_mapped_device_sees_offsets_and_only_what_lies_in_it() {
        let mut bus = Bus::default();
        let devices = [0x3000, 0x1000].map(|start| {
            let device = Arc::new(Mapped(Mutex::default()));
            bus.insert_mapped(Range { start, end: start + 0x1000 }, device.clone());
            device
        });
        let mut data = [0; 4];
        bus.mmio_read(0x1FFC, &mut data);
        assert_eq!(data, [0xAB; 4]);
        bus.mmio_write(0x3000, &[1, 2]);
        for gpa in [0xFFF, 0x1FFD, 0x2000, 0x2FFF, 0x4000, 0, u64::MAX] {
            bus.mmio_read(gpa, &mut data);
            assert_eq!(data, [0xFF; 4], "{gpa:#x}");
        }
        assert_eq!(bus.unclaimed(), 7);
        assert_eq!(*devices[1].0.lock().unwrap(), [(0xFFC, 4)]);
        assert_eq!(*devices[0].0.lock().unwrap(), [(0, 2)]);
    }

    proptest! {
        #[test]
        fn no_access_panics(port: u16, size in 0..9_usize, mut data: Vec<u8>) {
            let (bus, _) = bus();
            bus.port_in(port, size, &mut data);
            let _ = bus.port_out(port, size, &data);
        }
    }
}
