//! The boot mark: a guest's init writes a byte to this port to say that user space was reached.

use std::sync::Arc;

use super::{Action, PortDevice, RegisterNames};
use crate::trace::boot::{Phase, Recorder};

/// The port that the mark is written to; reads as zero, so that a guest can tell it from a port
/// where nothing is.
pub struct BootMark(pub Arc<Recorder>);

impl PortDevice for BootMark {
    fn name(&self) -> &'static str {
        "boot mark"
    }

    fn registers(&self) -> Vec<RegisterNames> {
        vec![(0, "mark", "mark")]
    }

    fn read(&mut self, _offset: u16, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&mut self, _offset: u16, _data: &[u8]) -> Action {
        self.0.reached(Phase::UserSpace);
        Action::Continue
    }
}
