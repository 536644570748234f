//! pvpanic (QEMU, docs/specs/pvpanic.rst): a port on which a guest reports its own panic.

use super::{Action, PortDevice, RegisterNames};

/// The guest has panicked and the host is to deal with it.
const PANICKED: u8 = 1 << 0;
/// The guest has panicked and deals with it itself, by its crash kernel.
const CRASH_LOADED: u8 = 1 << 1;

/// The panic port.
#[derive(Default)]
pub struct Pvpanic;

impl PortDevice for Pvpanic {
    fn name(&self) -> &'static str {
        "pvpanic"
    }

    fn registers(&self) -> Vec<RegisterNames> {
        vec![(0, "events", "event")]
    }

    /// Reads as the events that are understood.
    fn read(&mut self, _offset: u16, data: &mut [u8]) {
        data.fill(PANICKED | CRASH_LOADED);
    }

    fn write(&mut self, _offset: u16, data: &[u8]) -> Action {
        match data {
            [event] if event & PANICKED != 0 => Action::Panic,
            _ => Action::Continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reported_panic_is_passed_on() {
        assert_eq!(Pvpanic.write(0, &[PANICKED]), Action::Panic);
        assert_eq!(Pvpanic.write(0, &[CRASH_LOADED]), Action::Continue);
    }
}
