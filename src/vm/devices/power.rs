//! ACPI power management: the PM1a fixed hardware registers (ACPI 6.5, section 4.8.3) and the
//! reset register (section 4.8.3.6).

use super::{Action, PortDevice, RegisterNames};

/// The value that FADT tells guests to write into the reset register.
pub const RESET_VALUE: u8 = 1;
/// The value of SLP_TYP that `\_S5` in the DSDT gives for power-off.
pub const S5_SLEEP_TYPE: u8 = 5;

/// PM1 control: interrupts are ACPI's, not the firmware's. Always set: there is no firmware.
const SCI_EN: u16 = 1 << 0;
const SLP_TYP_SHIFT: u16 = 10;
const SLP_TYP_MASK: u16 = 7 << SLP_TYP_SHIFT;
const SLP_EN: u16 = 1 << 13;

/// PM1 event block: a status and an enable register. No fixed event ever happens, so the status
/// stays zero; what was enabled is remembered.
#[derive(Default)]
pub struct Pm1Event {
    enable: [u8; 2],
}

/// Offset of the enable register: the second half of the block.
const ENABLE: u16 = 2;

impl PortDevice for Pm1Event {
    fn name(&self) -> &'static str {
        "ACPI power"
    }

    fn registers(&self) -> Vec<RegisterNames> {
        vec![(0, "PM1 status", "PM1 status"), (ENABLE.into(), "PM1 enable", "PM1 enable")]
    }

    fn read(&mut self, offset: u16, data: &mut [u8]) {
        let registers = [0, 0, self.enable[0], self.enable[1]];
        for (byte, register) in data.iter_mut().zip(registers.iter().skip(offset.into())) {
            *byte = *register;
        }
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Action {
        for (at, value) in (offset..).zip(data) {
            if let Some(register) =
                at.checked_sub(ENABLE).and_then(|at| self.enable.get_mut(usize::from(at)))
            {
                *register = *value;
            }
        }
        Action::Continue
    }
}

/// PM1 control block: SLP_TYP and SLP_EN power the machine off.
#[derive(Default)]
pub struct Pm1Control {
    control: u16,
}

impl PortDevice for Pm1Control {
    fn name(&self) -> &'static str {
        "ACPI power"
    }

    fn registers(&self) -> Vec<RegisterNames> {
        vec![(0, "PM1 control", "PM1 control")]
    }

    fn read(&mut self, offset: u16, data: &mut [u8]) {
        // SLP_EN is write-only.
        let registers = (self.control & !SLP_EN | SCI_EN).to_le_bytes();
        for (byte, register) in data.iter_mut().zip(registers.iter().skip(offset.into())) {
            *byte = *register;
        }
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Action {
        let mut registers = self.control.to_le_bytes();
        for (register, value) in registers.iter_mut().skip(offset.into()).zip(data) {
            *register = *value;
        }
        let written = u16::from_le_bytes(registers);
        self.control = written & !SLP_EN;
        let sleep_type = (written & SLP_TYP_MASK) >> SLP_TYP_SHIFT;
        if written & SLP_EN != 0 && sleep_type == u16::from(S5_SLEEP_TYPE) {
            Action::PowerOff
        } else {
            Action::Continue
        }
    }
}

/// The register that FADT names as RESET_REG.
#[derive(Default)]
pub struct ResetRegister;

impl PortDevice for ResetRegister {
    fn name(&self) -> &'static str {
        "ACPI power"
    }

    fn registers(&self) -> Vec<RegisterNames> {
        vec![(0, "reset", "reset")]
    }

    fn read(&mut self, _offset: u16, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&mut self, _offset: u16, data: &[u8]) -> Action {
        if data == [RESET_VALUE] { Action::Reset } else { Action::Continue }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POWER_OFF: u16 = (S5_SLEEP_TYPE as u16) << SLP_TYP_SHIFT | SLP_EN;

    #[test]
    fn sleep_type_and_enable_power_off() {
        let mut device = Pm1Control::default();
        assert_eq!(device.write(0, &(POWER_OFF & !SLP_EN).to_le_bytes()), Action::Continue);
        assert_eq!(device.write(0, &POWER_OFF.to_le_bytes()), Action::PowerOff);
    }

    #[test]
    fn a_byte_to_the_upper_half_is_enough() {
        let mut device = Pm1Control::default();
        assert_eq!(device.write(1, &[POWER_OFF.to_le_bytes()[1]]), Action::PowerOff);
    }

    #[test]
    fn another_sleep_type_does_nothing() {
        let mut device = Pm1Control::default();
        assert_eq!(device.write(0, &(1 << SLP_TYP_SHIFT | SLP_EN).to_le_bytes()), Action::Continue);
    }

    #[test]
    fn acpi_mode_is_always_on() {
        let mut device = Pm1Control::default();
        let _ = device.write(0, &[0, 0]);
        let mut data = [0; 2];
        device.read(0, &mut data);
        assert_eq!(u16::from_le_bytes(data) & SCI_EN, SCI_EN);
    }

    #[test]
    fn events_never_happen_and_enables_are_kept() {
        let mut device = Pm1Event::default();
        let _ = device.write(0, &[0xFF, 0xFF, 0x20, 0x01]);
        let mut data = [0; 4];
        device.read(0, &mut data);
        assert_eq!(data, [0, 0, 0x20, 0x01]);
    }
}
