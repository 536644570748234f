//! The network device (virtio 1.2, section 5.1): one pair of queues on a link to the host.
//!
//! | file | idea |
//! |---|---|
//! | `header` | what is left open of a packet, checked |
//! | `config` | features and the configuration space |
//! | `link` | what a device needs of the host's side |
//! | `tap`, `stream`, `passt` | links: a tap; a stream socket, and the program at its other end |
//! | `tuntap` | what Linux's driver for taps is told |
//! | `window` | the driver's buffers for what will be received |
//! | `work` | both directions |
//! | `counters` | what went through |

mod config;
mod counters;
pub mod header;
pub mod link;
pub mod passt;
pub mod stream;
pub mod tap;
pub mod tuntap;
mod window;
mod work;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use virtio_bindings::virtio_ids::VIRTIO_ID_NET;
use virtio_bindings::virtio_net::VIRTIO_NET_F_MRG_RXBUF;

use super::chain::Chain;
use super::event_thread::{Employed, EventThread};
use super::iovecs::IoVecs;
use super::queue::has;
use super::rate::RateLimiter;
use super::throttle::Throttle;
use super::{ActivateError, Activation, VirtioDevice, read_space};
use crate::workload::{MacAddress, Offload};
pub use counters::{Counter, Counters};
use header::{Header, Offloads};
use link::Link;
use window::Window;
use work::{Receiver, Sender, Work};

/// receiveq1 and transmitq1 (section 5.1.2).
const QUEUE_SIZES: [u16; 2] = [256, 256];
const RECEIVE: u16 = 0;
/// What a frame has besides the MTU: addresses and type, and perhaps a VLAN tag.
const FRAMING: u64 = 18;

/// What an interface is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it is called in messages: "tap tap0".
    pub name: String,
    /// Its address.
    pub mac: MacAddress,
    /// The largest packet.
    pub mtu: u16,
    /// The most bytes a second, each way.
    pub bytes_per_second: Option<u64>,
    /// The most packets a second, each way.
    pub packets_per_second: Option<u64>,
    /// Which packets may have work left open, where the link can have them.
    pub offload: Offload,
}

/// What the transport's side and the working side share.
struct Shared {
    name: String,
    /// Taken by one side at a time: work holds it while it goes on, others while there is none.
    link: Mutex<Box<dyn Link>>,
    up: AtomicBool,
    counters: Arc<Counters>,
}

impl Shared {
    fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }
}

/// A network interface.
pub struct Net {
    thread: EventThread,
    work: Option<Employed>,
    shared: Arc<Shared>,
    settings: Settings,
    features: u64,
}

impl Net {
    /// The interface number `number` of the machine.
    ///
    /// # Errors
    /// No thread left.
    pub fn new(settings: Settings, number: usize, link: Box<dyn Link>) -> io::Result<Net> {
        let thread = EventThread::start(&format!("net{number}"))?;
        let features =
            config::features(if link.offloads() { settings.offload } else { Offload::Off });
        let shared = Shared {
            name: settings.name.clone(),
            link: Mutex::new(link),
            up: AtomicBool::new(true),
            counters: Arc::default(),
        };
        Ok(Net { thread, work: None, shared: Arc::new(shared), settings, features })
    }

    /// What went through it, over all its life.
    pub fn counters(&self) -> Arc<Counters> {
        self.shared.counters.clone()
    }

    fn throttle(&self) -> Result<Throttle, ActivateError> {
        let (bytes, packets) = (self.settings.bytes_per_second, self.settings.packets_per_second);
        Throttle::new(RateLimiter::new(bytes, packets, Instant::now()))
            .map_err(|error| ActivateError::Resources("file descriptors", error))
    }
}

impl VirtioDevice for Net {
    fn device_type(&self) -> u32 {
        VIRTIO_ID_NET
    }

    fn features(&self) -> u64 {
        self.features
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let space = config::space(self.settings.mac, self.settings.mtu, self.shared.is_up());
        read_space(&space, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let features = activation.features;
        let driver = Offloads::of_driver(features);
        if let Ok(mut link) = self.shared.link.lock()
            && let Err(error) = link.start(driver)
        {
            return Err(ActivateError::Resources("a link that can be set up", error));
        }
        let merges = has(features, VIRTIO_NET_F_MRG_RXBUF);
        // Where a frame cannot be spread, the first chain must do.
        let needed = match (merges, driver.segments()) {
            (false, _) => 1,
            (true, true) => (header::SIZE + link::MAX_FRAME) as u64,
            (true, false) => header::SIZE as u64 + u64::from(self.settings.mtu) + FRAMING,
        };
        let (mut receiver, mut sender) = (None, None);
        for queue in activation.queues {
            let throttle = self.throttle()?;
            if queue.index() == RECEIVE {
                let (window, room) = (Window::default(), IoVecs::default());
                receiver = Some(Receiver {
                    queue,
                    throttle,
                    offloads: driver,
                    needed,
                    merges,
                    window,
                    room,
                });
            } else {
                sender = Some(Sender {
                    queue,
                    throttle,
                    offloads: Offloads::of_device(features),
                    chain: Chain::default(),
                    frame: IoVecs::default(),
                    header: Header::default(),
                    pending: None,
                });
            }
        }
        let (shared, interrupt) = (self.shared.clone(), activation.interrupt);
        let work = Work { receiver, sender, shared, interrupt, broken: false };
        self.work = Some(self.thread.employ(Box::new(work))?);
        Ok(())
    }

    fn reset(&mut self) {
        if let Some(work) = self.work.take() {
            self.thread.dismiss(work);
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.reset();
        log::info!("{}: {}", self.settings.name, self.shared.counters);
    }
}
