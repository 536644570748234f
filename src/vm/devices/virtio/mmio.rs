//! The virtio-mmio transport on the bus: registers, a device and its interrupt put together.
//!
//! Three ways lead here from the guest. Kicks do not, in a VM: QueueNotify is an ioeventfd. The
//! interrupt's registers, which every interrupt handler reads and writes, are atomics. All else goes
//! through a lock that no thread but a vCPU's ever takes, and that nothing hot needs.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use virtio_bindings::virtio_config::VIRTIO_CONFIG_S_NEEDS_RESET;
use virtio_bindings::virtio_mmio as reg;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::interrupt::Interrupt;
use super::queue::{QueueError, Virtqueue};
use super::registers::{Effect, Registers};
use super::{ActivateError, Activation, VirtioDevice, names};
use crate::trace::file::about::Source;
use crate::trace::ring::Ring;
use crate::trace::tracer::Tracer;
use crate::vm::devices::{MmioDevice, RegisterNames};

/// Where a driver rings: an ioeventfd for each queue goes here.
pub const QUEUE_NOTIFY: u64 = reg::VIRTIO_MMIO_QUEUE_NOTIFY as u64;

/// A virtio device on the bus.
pub struct Transport {
    interrupt: Arc<Interrupt>,
    kicks: Vec<EventFd>,
    state: Mutex<State>,
    device_type: u32,
    /// Where events of each queue go, if anybody wants to know.
    lanes: OnceLock<Vec<Arc<Ring>>>,
}

struct State {
    registers: Registers,
    device: Box<dyn VirtioDevice>,
    memory: GuestMemoryMmap,
}

impl Transport {
    /// Puts `device` into its transport.
    ///
    /// # Errors
    /// No file descriptor left.
    pub fn new(device: Box<dyn VirtioDevice>, memory: GuestMemoryMmap) -> io::Result<Transport> {
        let sizes = device.queue_sizes();
        let device_type = device.device_type();
        let registers = Registers::new(device_type, device.features(), sizes);
        let bell = |_| EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC);
        let kicks = sizes.iter().map(bell).collect::<io::Result<_>>()?;
        let state = Mutex::new(State { registers, device, memory });
        let (interrupt, lanes) = (Arc::new(Interrupt::new()?), OnceLock::new());
        Ok(Transport { interrupt, kicks, state, device_type, lanes })
    }

    /// Has what happens in its queues recorded, from the next activation on, as that of slot `slot`.
    pub fn trace(&self, tracer: &Tracer, slot: u16) {
        let device = names::device(self.device_type).to_owned();
        let source = |queue| Source::Queue { slot, device: device.clone(), queue };
        let rings = (0..).zip(&self.kicks).map(|(queue, _)| tracer.lane(source(queue)));
        let _ = self.lanes.set(rings.collect());
    }

    /// The device's interrupt, for whoever connects its line.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// The bell of each queue, for whoever connects them to [`QUEUE_NOTIFY`].
    pub fn kicks(&self) -> &[EventFd] {
        &self.kicks
    }

    /// Stops the device's work: what the host has in hand is waited for.
    pub fn stop(&self) {
        self.reset(&mut self.lock());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A vCPU that panicked has ended the machine.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_register(&self, offset: u32) -> u32 {
        match offset {
            reg::VIRTIO_MMIO_INTERRUPT_STATUS => self.interrupt.status(),
            reg::VIRTIO_MMIO_CONFIG_GENERATION => self.interrupt.generation(),
            reg::VIRTIO_MMIO_STATUS => {
                let status = self.lock().registers.read(offset);
                // After the lock: what broke a device that was reset meanwhile is forgotten.
                if self.interrupt.is_reset_needed() {
                    status | VIRTIO_CONFIG_S_NEEDS_RESET
                } else {
                    status
                }
            }
            _ => self.lock().registers.read(offset),
        }
    }

    fn write_register(&self, offset: u32, value: u32) {
        if offset == reg::VIRTIO_MMIO_INTERRUPT_ACK {
            return self.interrupt.acknowledge(value);
        }
        let mut state = self.lock();
        match state.registers.write(offset, value) {
            Effect::None => {}
            Effect::Notify(index) => {
                if let Some(kick) = self.kicks.get(usize::from(index)) {
                    // The counter cannot overflow: whoever is kicked empties it.
                    let _ = kick.write(1);
                }
            }
            Effect::Reset => self.reset(&mut state),
            Effect::Stop => {
                state.device.reset();
                self.interrupt.needs_reset();
            }
            Effect::Activate => {
                if let Err(error) = self.activate(&mut state) {
                    log::debug!("virtio: a device cannot start: {error}");
                    self.interrupt.needs_reset();
                }
            }
        }
    }

    fn reset(&self, state: &mut State) {
        state.device.reset();
        // Only now: nothing raises it any more.
        self.interrupt.reset();
        state.registers.reset();
    }

    fn activate(&self, state: &mut State) -> Result<(), CannotStart> {
        let features = state.registers.features();
        let mut queues = Vec::new();
        for (index, (queue, kick)) in (0..).zip(state.registers.queues().iter().zip(&self.kicks)) {
            if !queue.ready {
                continue;
            }
            let kick = kick.try_clone().map_err(|error| {
                CannotStart::Device(ActivateError::Resources("file descriptors", error))
            })?;
            let memory = state.memory.clone();
            let interrupt = self.interrupt.clone();
            let ready = Virtqueue::new(
                index,
                queue.max_size,
                queue.rings,
                features,
                memory,
                kick,
                interrupt,
            );
            let ready = ready.map_err(|error| CannotStart::Queue(index, error))?;
            let lane = self.lanes.get().and_then(|lanes| lanes.get(usize::from(index)));
            queues.push(ready.trace(lane.and_then(Ring::writer)));
        }
        let memory = state.memory.clone();
        let interrupt = self.interrupt.clone();
        let activation = Activation { memory, queues, interrupt, features };
        state.device.activate(activation).map_err(CannotStart::Device)
    }
}

/// Why a device that the driver calls ready does not work.
#[derive(Debug, thiserror::Error)]
enum CannotStart {
    #[error("queue {0}: {1}")]
    Queue(u16, #[source] QueueError),
    #[error(transparent)]
    Device(ActivateError),
}

impl MmioDevice for Transport {
    fn name(&self) -> &'static str {
        names::device(self.device_type)
    }

    fn registers(&self) -> Vec<RegisterNames> {
        names::registers()
    }

    fn read(&self, offset: u64, data: &mut [u8]) {
        if let Some(offset) = offset.checked_sub(reg::VIRTIO_MMIO_CONFIG.into()) {
            return self.lock().device.read_config(offset, data);
        }
        // Registers are read and written as a whole (section 4.2.2.2); all else finds nothing.
        match (register(offset), data) {
            (Some(offset), [a, b, c, d]) => {
                [*a, *b, *c, *d] = self.read_register(offset).to_le_bytes();
            }
            (_, data) => data.fill(0xFF),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let Some(offset) = offset.checked_sub(reg::VIRTIO_MMIO_CONFIG.into()) {
            return self.lock().device.write_config(offset, data);
        }
        if let (Some(offset), [a, b, c, d]) = (register(offset), data) {
            self.write_register(offset, u32::from_le_bytes([*a, *b, *c, *d]));
        }
    }
}

/// The register at `offset`, if one starts there.
fn register(offset: u64) -> Option<u32> {
    u32::try_from(offset).ok().filter(|offset| offset.is_multiple_of(4))
}
