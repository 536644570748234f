//! The device's work: packets between the queues and the switch.

use event_manager::{EventOps, Events, MutEventSubscriber};

use super::packet::{HEADER, Header};
use super::switch::Switch;
use crate::vm::devices::virtio::chain::{self, Chain};
use crate::vm::devices::virtio::event_thread::{Worker, watch};
use crate::vm::devices::virtio::queue::{QueueError, Virtqueue};

/// The most data of one packet: what Linux sends at most. More is no packet.
const MAX_DATA: usize = 64 << 10;
/// After so many rounds over the queues other devices have their turn.
const ROUNDS: usize = 8;

const RECEIVE: u32 = 0;
const TRANSMIT: u32 = 1;
const HOST: u32 = 2;

pub(super) struct Work {
    /// Buffers for packets to the guest.
    rx: Virtqueue,
    rx_chain: Chain,
    /// `rx_chain` was taken and has no packet yet.
    rx_held: bool,
    /// Packets from the guest.
    tx: Virtqueue,
    tx_chain: Chain,
    switch: Switch,
    packet: Vec<u8>,
    broken: bool,
}

impl Work {
    pub(super) fn new(rx: Virtqueue, tx: Virtqueue, switch: Switch) -> Work {
        let packet = vec![0; HEADER + MAX_DATA];
        let (rx_chain, tx_chain) = Default::default();
        Work { rx, rx_chain, rx_held: false, tx, tx_chain, switch, packet, broken: false }
    }

    fn serve(&mut self) -> Result<(), (u32, QueueError)> {
        for _ in 0..ROUNDS {
            let took = self.transmit().map_err(|error| (TRANSMIT, error))?;
            let gave = self.receive().map_err(|error| (RECEIVE, error))?;
            if !took && !gave {
                return Ok(());
            }
        }
        self.rx.kick_self();
        Ok(())
    }

    /// Takes packets from the guest, no more than a queue's worth. `false`: there are none, or none
    /// can be taken before the guest has taken some.
    fn transmit(&mut self) -> Result<bool, QueueError> {
        let mut taken = 0;
        self.tx.disable_kicks()?;
        while taken < self.tx.size() && self.switch.is_listening() {
            if !self.tx.pop(&mut self.tx_chain)? {
                if taken == 0 && self.tx.enable_kicks()? {
                    continue;
                }
                break;
            }
            self.take_packet();
            self.tx.push(self.tx_chain.head(), 0)?;
            taken += 1;
        }
        if taken > 0 {
            self.tx.notify()?;
        }
        Ok(taken > 0)
    }

    /// A packet that cannot be read, or is shorter than it says, is none.
    fn take_packet(&mut self) -> Option<()> {
        let (memory, buffers) = (self.tx.memory(), self.tx_chain.readable());
        let mut header = [0; HEADER];
        chain::read(memory, buffers, 0, &mut header)?;
        let header = Header::from_bytes(&header);
        let len = usize::try_from(header.len).ok()?;
        let data = self.packet.get_mut(..len).filter(|data| data.len() <= MAX_DATA)?;
        chain::read(memory, buffers, HEADER as u64, data)?;
        self.switch.receive(&header, data);
        Some(())
    }

    /// Gives the guest packets, no more than a queue's worth. `false`: there are none, or the guest
    /// has no buffers.
    fn receive(&mut self) -> Result<bool, QueueError> {
        let mut given = 0;
        self.rx.disable_kicks()?;
        while given < self.rx.size() && self.switch.has_packet() {
            if !self.rx_held && !self.rx.pop(&mut self.rx_chain)? {
                if self.rx.enable_kicks()? {
                    continue;
                }
                break;
            }
            self.rx_held = true;
            let head = self.rx_chain.head();
            let buffers = self.rx_chain.writable();
            let room = usize::try_from(chain::total(buffers)).unwrap_or(usize::MAX);
            let room = room.min(self.packet.len());
            let packet = self.packet.get_mut(..room).filter(|packet| packet.len() > HEADER);
            let packet = packet.ok_or(QueueError::NoRoom(head))?;
            let Some(len) = self.switch.next(packet) else { break };
            let packet = packet.get(..len).unwrap_or_default();
            // Its data has left the socket: a stream with a hole in it would be worse than none.
            chain::write(self.rx.memory(), buffers, 0, packet).ok_or(QueueError::NoRoom(head))?;
            self.rx.push(head, u32::try_from(len).unwrap_or(0))?;
            self.rx_held = false;
            given += 1;
        }
        if given > 0 {
            self.rx.notify()?;
        }
        Ok(given > 0)
    }
}

impl MutEventSubscriber for Work {
    fn init(&mut self, ops: &mut EventOps) {
        watch(ops, self.rx.kick(), RECEIVE);
        watch(ops, self.tx.kick(), TRANSMIT);
        watch(ops, &self.switch, HOST);
        // A kick from before was for whoever was here then.
        self.tx.kick_self();
    }

    fn process(&mut self, events: Events, ops: &mut EventOps) {
        match events.data() {
            RECEIVE => self.rx.take_kicks(),
            TRANSMIT => self.tx.take_kicks(),
            _ => self.switch.host_events(),
        }
        if self.broken {
            return;
        }
        if let Err((queue, error)) = self.serve() {
            self.broken = true;
            // Nothing is done for the sockets any more, so nobody must wake up for them.
            let switch =
                Events::new_raw(std::os::fd::AsRawFd::as_raw_fd(&self.switch), events.event_set());
            if let Err(error) = ops.remove(switch) {
                log::debug!("vsock: {error}");
            }
            if queue == RECEIVE { self.rx.broken(&error) } else { self.tx.broken(&error) }
        }
    }
}

impl Worker for Work {}
