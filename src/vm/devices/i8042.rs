//! 8042 keyboard controller (IBM PC/AT Technical Reference, "Keyboard Controller"): there for its
//! reset command, and complete enough that an operating system that probes it finds, quickly, a
//! working controller without a keyboard.

use super::{Action, PortDevice, RegisterNames};

const DATA: u16 = 0;
const COMMAND_STATUS: u16 = 4;

// Status register.
const OUTPUT_FULL: u8 = 1 << 0;
const SYSTEM_FLAG: u8 = 1 << 2;
const LAST_WAS_COMMAND: u8 = 1 << 3;
const KEYBOARD_UNLOCKED: u8 = 1 << 4;

// Controller commands.
const READ_COMMAND_BYTE: u8 = 0x20;
const WRITE_COMMAND_BYTE: u8 = 0x60;
const DISABLE_AUX: u8 = 0xA7;
const ENABLE_AUX: u8 = 0xA8;
const TEST_AUX: u8 = 0xA9;
const SELF_TEST: u8 = 0xAA;
const TEST_KEYBOARD: u8 = 0xAB;
const DISABLE_KEYBOARD: u8 = 0xAD;
const ENABLE_KEYBOARD: u8 = 0xAE;
const READ_OUTPUT_PORT: u8 = 0xD0;
const WRITE_OUTPUT_PORT: u8 = 0xD1;
const AUX_LOOP: u8 = 0xD3;
const PULSE_OUTPUT_PORT: u8 = 0xF0;

// Command byte.
const KEYBOARD_DISABLED: u8 = 1 << 4;
const AUX_DISABLED: u8 = 1 << 5;

// Output port: bit 0 is the processor's reset line, active low; bit 1 the A20 gate.
const NOT_RESET: u8 = 1 << 0;
const A20: u8 = 1 << 1;

const SELF_TEST_PASSED: u8 = 0x55;
const TEST_PASSED: u8 = 0x00;
/// "Clock line stuck high": nobody is there.
const NO_AUX: u8 = 0x02;

/// The keyboard controller, with nothing plugged in.
#[derive(Default)]
pub struct I8042 {
    command_byte: u8,
    status: u8,
    output: u8,
    /// The command whose operand the next byte on the data port is.
    pending: Option<u8>,
}

impl I8042 {
    fn answer(&mut self, value: u8) {
        self.output = value;
        self.status |= OUTPUT_FULL;
    }

    fn command(&mut self, command: u8) -> Action {
        self.status |= LAST_WAS_COMMAND;
        self.pending = None;
        match command {
            READ_COMMAND_BYTE => self.answer(self.command_byte),
            WRITE_COMMAND_BYTE | WRITE_OUTPUT_PORT | AUX_LOOP => self.pending = Some(command),
            DISABLE_AUX => self.command_byte |= AUX_DISABLED,
            ENABLE_AUX => self.command_byte &= !AUX_DISABLED,
            TEST_AUX => self.answer(NO_AUX),
            SELF_TEST => {
                self.status |= SYSTEM_FLAG;
                self.answer(SELF_TEST_PASSED);
            }
            TEST_KEYBOARD => self.answer(TEST_PASSED),
            DISABLE_KEYBOARD => self.command_byte |= KEYBOARD_DISABLED,
            ENABLE_KEYBOARD => self.command_byte &= !KEYBOARD_DISABLED,
            READ_OUTPUT_PORT => self.answer(NOT_RESET | A20),
            // The low four bits say which lines to pulse: a zero in bit 0 pulses reset.
            PULSE_OUTPUT_PORT.. if command & NOT_RESET == 0 => return Action::Reset,
            _ => {}
        }
        Action::Continue
    }

    fn operand(&mut self, value: u8) -> Action {
        self.status &= !LAST_WAS_COMMAND;
        match self.pending.take() {
            Some(WRITE_COMMAND_BYTE) => self.command_byte = value,
            Some(WRITE_OUTPUT_PORT) if value & NOT_RESET == 0 => return Action::Reset,
            // Comes back without the "from the auxiliary device" flag: there is none.
            Some(AUX_LOOP) => self.answer(value),
            // Without a pending command this is for the keyboard, and there is none.
            _ => {}
        }
        Action::Continue
    }
}

impl PortDevice for I8042 {
    fn name(&self) -> &'static str {
        "keyboard controller"
    }

    fn registers(&self) -> Vec<RegisterNames> {
        vec![
            (DATA.into(), "data", "data"),
            (1, "nothing", "nothing"),
            (COMMAND_STATUS.into(), "status", "command"),
        ]
    }

    fn read(&mut self, offset: u16, data: &mut [u8]) {
        data.fill(0);
        let Some(first) = data.first_mut() else { return };
        match offset {
            DATA => {
                *first = self.output;
                self.status &= !OUTPUT_FULL;
            }
            COMMAND_STATUS => *first = self.status | KEYBOARD_UNLOCKED,
            _ => data.fill(0xFF),
        }
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Action {
        match (offset, data) {
            (DATA, [value, ..]) => self.operand(*value),
            (COMMAND_STATUS, [command, ..]) => self.command(*command),
            _ => Action::Continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(device: &mut I8042, offset: u16) -> u8 {
        let mut data = [0];
        device.read(offset, &mut data);
        data[0]
    }

    #[test]
    fn the_reset_command_resets() {
        let mut device = I8042::default();
        assert_eq!(device.write(COMMAND_STATUS, &[0xFE]), Action::Reset);
        assert_eq!(device.write(COMMAND_STATUS, &[0xFF]), Action::Continue);
    }

    #[test]
    fn the_output_port_resets_when_its_reset_line_goes_low() {
        let mut device = I8042::default();
        assert_eq!(device.write(COMMAND_STATUS, &[WRITE_OUTPUT_PORT]), Action::Continue);
        assert_eq!(device.write(DATA, &[A20]), Action::Reset);
        // Without the command the same byte is a keyboard's, and nobody listens.
        assert_eq!(device.write(DATA, &[A20]), Action::Continue);
    }

    #[test]
    fn a_self_test_is_answered_once() {
        let mut device = I8042::default();
        let _ = device.write(COMMAND_STATUS, &[SELF_TEST]);
        assert_eq!(read(&mut device, COMMAND_STATUS) & OUTPUT_FULL, OUTPUT_FULL);
        assert_eq!(read(&mut device, DATA), SELF_TEST_PASSED);
        assert_eq!(read(&mut device, COMMAND_STATUS) & OUTPUT_FULL, 0);
    }

    #[test]
    fn the_command_byte_is_kept() {
        let mut device = I8042::default();
        let _ = device.write(COMMAND_STATUS, &[WRITE_COMMAND_BYTE]);
        let _ = device.write(DATA, &[0x43]);
        let _ = device.write(COMMAND_STATUS, &[READ_COMMAND_BYTE]);
        assert_eq!(read(&mut device, DATA), 0x43);
    }
}
