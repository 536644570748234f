//! Bytes as what a hostile client says to the GDB stub, about a guest that is not there. Shared by the fuzz
//! target and the tests.

use std::io;

use duplex::vm::gdb::inferior::{Point, Resume, Stop};
use duplex::vm::gdb::registers::Registers;
use duplex::vm::gdb::server;
use duplex::vm::gdb::{Inferior, View};

const CPUS: usize = 2;
const MEMORY: usize = 1 << 12;
/// The most points that a client can make it hold.
const POINTS: usize = 64;

/// Says each line of an input as a packet with a right checksum; or, if it begins with a zero, all as it is.
pub(crate) fn feed(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let said = if *kind == 0 {
        rest.to_vec()
    } else {
        rest.split(|b| *b == b'\n').flat_map(packet).collect()
    };
    let mut guest =
        Guest { memory: vec![0x90; MEMORY], points: Vec::new(), runs: false, stop: None };
    let view = if kind & 1 == 0 { View::Long } else { View::Real };
    server::feed(&mut guest, &[7; 300], view, &said);
    assert!(guest.points.len() <= POINTS);
}

fn packet(line: &[u8]) -> Vec<u8> {
    // Ctrl-C is no packet.
    if line == [3] {
        return vec![3];
    }
    let sum = line.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    [b"$", line, format!("#{sum:02x}").as_bytes()].concat()
}

struct Guest {
    memory: Vec<u8>,
    points: Vec<Point>,
    runs: bool,
    stop: Option<(usize, Stop)>,
}

impl Guest {
    fn place(&self, address: u64, size: usize) -> Option<std::ops::Range<usize>> {
        assert!(!self.runs, "a guest that runs is asked for its memory");
        let start = usize::try_from(address).ok()?;
        let end = start.checked_add(size)?;
        (end <= self.memory.len()).then_some(start..end)
    }
}

impl Inferior for Guest {
    fn count(&self) -> usize {
        CPUS
    }

    fn registers(&mut self, cpu: usize) -> io::Result<Registers> {
        if cpu < CPUS { Ok(Registers::default()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn set_registers(&mut self, cpu: usize, _: &Registers) -> io::Result<()> {
        self.registers(cpu).map(drop)
    }

    fn read(&mut self, _: usize, address: u64, data: &mut [u8]) -> usize {
        let Some(place) = self.place(address, data.len()) else { return 0 };
        data.copy_from_slice(&self.memory[place]);
        data.len()
    }

    fn write(&mut self, _: usize, address: u64, data: &[u8]) -> bool {
        let Some(place) = self.place(address, data.len()) else { return false };
        self.memory[place].copy_from_slice(data);
        true
    }

    fn insert(&mut self, point: Point) -> bool {
        let room = self.points.len() < POINTS;
        if room {
            self.points.push(point);
        }
        room
    }

    fn remove(&mut self, point: Point) -> bool {
        let at = self.points.iter().position(|other| *other == point);
        at.map(|at| self.points.swap_remove(at)).is_some()
    }

    fn resume(&mut self, resume: Resume) {
        self.runs = true;
        self.stop = match (resume, self.points.first()) {
            (Resume::Step(cpu), _) => Some((cpu, Stop::Step)),
            (_, Some(Point::Code(_))) => Some((1, Stop::Code)),
            (_, Some(Point::Register(_))) => Some((0, Stop::Register)),
            (_, Some(Point::Store(address, _))) => Some((0, Stop::Store(*address))),
            (_, None) => None,
        };
    }

    fn pause(&mut self) {
        self.runs = false;
    }

    fn stopped(&mut self) -> Option<(usize, Stop)> {
        let stop = self.stop.take();
        if stop.is_some() {
            self.runs = false;
        }
        stop
    }

    fn release(&mut self) {
        self.points.clear();
    }
}
