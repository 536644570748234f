//! PCI configuration mechanism #1 (PCI Local Bus Specification 3.0, section 3.2.2.3.2) that
//! answers "nothing here", and the chipset's reset control register, which lies among its ports.

use super::{Action, PortDevice, RegisterNames};
use crate::vm::layout::{PCI_CONFIG, RESET_CONTROL};

/// Offset of the reset control register.
const RESET: u16 = RESET_CONTROL - PCI_CONFIG.start;
/// RST_CPU: a write with this bit set resets the processor.
const RST_CPU: u8 = 1 << 2;

/// Configuration ports of a machine without PCI. They read as all ones, the address port too, so
/// that an operating system sees at its first probe that there is no mechanism #1.
#[derive(Default)]
pub struct PciConfig;

impl PortDevice for PciConfig {
    fn name(&self) -> &'static str {
        "PCI configuration"
    }

    fn registers(&self) -> Vec<RegisterNames> {
        vec![
            (0, "address", "address"),
            (RESET.into(), "reset control", "reset control"),
            (2, "address", "address"),
            (4, "data", "data"),
        ]
    }

    fn read(&mut self, offset: u16, data: &mut [u8]) {
        data.fill(if offset == RESET && data.len() == 1 { 0 } else { 0xFF });
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Action {
        // Only a single byte is meant for that register; wider writes are PCI addresses.
        match (offset, data) {
            (RESET, [value]) if value & RST_CPU != 0 => Action::Reset,
            _ => Action::Continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_byte_written_to_the_reset_register_resets() {
        let mut device = PciConfig;
        assert_eq!(device.write(RESET, &[0x06]), Action::Reset);
        assert_eq!(device.write(RESET, &[0x02]), Action::Continue);
        assert_eq!(device.write(0, &[0x00, 0x06, 0x00, 0x80]), Action::Continue);
        assert_eq!(device.write(RESET, &[0x06, 0x00]), Action::Continue);
    }

    #[test]
    fn nothing_answers() {
        let mut data = [0; 4];
        PciConfig.read(4, &mut data);
        assert_eq!(data, [0xFF; 4]);
    }
}
