//! A disk for the mock driver, and requests to it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::path::PathBuf;

use duplex::vm::devices::virtio::block::Block;
use duplex::vm::devices::virtio::block::backing::Backing;
use duplex::workload::{Disk, DiskEngine};
use vm_memory::{Bytes, GuestAddress};

use crate::driver::{ARENA, Desc, Driver, WRITE, desc};

pub(crate) const IN: u32 = 0;
pub(crate) const OUT: u32 = 1;
pub(crate) const FLUSH: u32 = 4;
pub(crate) const GET_ID: u32 = 8;
pub(crate) const DISCARD: u32 = 11;
pub(crate) const WRITE_ZEROES: u32 = 13;

pub(crate) const OK: u8 = 0;
pub(crate) const IOERR: u8 = 1;
pub(crate) const UNSUPP: u8 = 2;

pub(crate) const F_FLUSH: u64 = 1 << 9;
/// All that a driver can accept.
pub(crate) const ALL: u64 = u64::MAX;

pub(crate) const ENGINES: [DiskEngine; 2] = [DiskEngine::IoUring, DiskEngine::Threads];
/// How many bytes of memory each request has, by its head.
pub(crate) const STRIDE: u64 = 0x1_0000;

/// A file in a directory of its own.
pub(crate) struct Image {
    pub(crate) _directory: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

pub(crate) fn image(bytes: u64) -> Image {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    File::create(&path).unwrap().set_len(bytes).unwrap();
    Image { _directory: directory, path }
}

impl Image {
    pub(crate) fn disk(&self, engine: DiskEngine) -> Disk {
        Disk { engine: Some(engine), ..Disk::new(&self.path) }
    }
}

pub(crate) fn device(disk: &Disk) -> Box<Block> {
    let backing = Backing::open(&disk.path, disk.read_only).unwrap();
    Box::new(Block::new(disk, 0, backing).unwrap())
}

/// What a request reads or writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Data<'a> {
    None,
    Out(&'a [u8]),
    In(u32),
}

/// Where the request with this head keeps its header, status and data.
pub(crate) fn place(head: u16) -> (u64, u64, u64) {
    let start = ARENA + u64::from(head) * STRIDE;
    (start, start + 16, start + 0x100)
}

impl Driver {
    /// Writes a request's header, data and (poisoned) status; returns the chain.
    pub(crate) fn prepare(&self, head: u16, kind: u32, sector: u64, data: Data<'_>) -> Vec<Desc> {
        let (header, status, at) = place(head);
        self.put(header, kind);
        self.put(header + 4, 0_u32);
        self.put(header + 8, sector);
        self.put(status, 0xEE_u8);
        let mut chain = vec![desc(header, 16, 0, 0)];
        match data {
            Data::None => {}
            Data::Out(bytes) => {
                self.memory.write_slice(bytes, GuestAddress(at)).unwrap();
                chain.push(desc(at, u32::try_from(bytes.len()).unwrap(), 0, 0));
            }
            Data::In(len) => chain.push(desc(at, len, WRITE, 0)),
        }
        chain.push(desc(status, 1, WRITE, 0));
        chain
    }

    /// Makes one request on queue 0 and waits for it: its status, how many bytes the device says it
    /// wrote, and the data.
    pub(crate) fn request(&mut self, kind: u32, sector: u64, data: Data<'_>) -> (u8, u32, Vec<u8>) {
        let chain = self.prepare(0, kind, sector, data);
        self.send(0, 0, &chain);
        let (id, written) = self.wait_used(0);
        assert_eq!(id, 0);
        let (_, status, at) = place(0);
        let len = if let Data::In(len) = data { len } else { 0 };
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        self.memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        (self.get(status), written, bytes)
    }

    pub(crate) fn status_of(&mut self, kind: u32, sector: u64, data: Data<'_>) -> u8 {
        self.request(kind, sector, data).0
    }
}

/// The one segment of a discard or write-zeroes.
pub(crate) fn segment(sector: u64, sectors: u32, flags: u32) -> Vec<u8> {
    [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat()
}
