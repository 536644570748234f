//! 16550 UART on COM1. The registers are vm-superio's; this adds pacing: when the guest can take
//! input, so that nothing typed or pasted is lost.

use std::io::{self, Write};
use std::sync::Arc;

use vm_superio::serial::SerialEvents;
use vm_superio::{Serial, Trigger};
use vmm_sys_util::eventfd::EventFd;

use super::{Action, PortDevice, RegisterNames};
use crate::trace::boot::{Phase, Recorder};

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const LINE_CONTROL: u16 = 3;
/// IER: interrupt when data was received.
const RECEIVED_DATA: u8 = 1 << 0;
/// LCR: offsets 0 and 1 are the baud rate divisor.
const DIVISOR_LATCH: u8 = 1 << 7;

/// Says on an eventfd that the guest has room for input again.
pub struct RoomForInput(EventFd);

impl SerialEvents for RoomForInput {
    fn buffer_read(&self) {}
    fn out_byte(&self) {}
    fn tx_lost_byte(&self) {}

    fn in_buffer_empty(&self) {
        // The counter can't overflow: the console drains it. A lost wake-up would need that.
        let _ = self.0.write(1);
    }
}

/// The serial port of the machine.
pub struct SerialPort<T: Trigger<E = io::Error>, W: Write> {
    uart: Serial<T, RoomForInput, W>,
    recorder: Arc<Recorder>,
    line_control: u8,
    /// Whether the guest's driver listens now.
    listening: bool,
    /// Whether it ever did. Until then a driver that polls may be at work.
    has_listened: bool,
}

impl<T: Trigger<E = io::Error>, W: Write> SerialPort<T, W> {
    /// A port that raises `interrupt`, writes what the guest sends to `out`, and says on `room`
    /// when the guest can take more input.
    pub fn new(interrupt: T, room: EventFd, out: W, recorder: Arc<Recorder>) -> Self {
        SerialPort {
            uart: Serial::with_events(interrupt, RoomForInput(room), out),
            recorder,
            line_control: 0,
            listening: false,
            has_listened: false,
        }
    }

    /// How many bytes of input the guest can take now.
    ///
    /// A driver that opens the port first throws away what is in the FIFO. So input waits until
    /// the driver has enabled the receive interrupt; only a person at a terminal, who sees what
    /// happens, reaches a guest that has never done so and may be polling.
    pub fn room(&self, from_terminal: bool) -> usize {
        let reaches = self.listening || from_terminal && !self.has_listened;
        if reaches { self.uart.fifo_capacity() } else { 0 }
    }

    /// Gives the guest input, at most [`SerialPort::room`] bytes; returns how many it took. In
    /// loopback mode, while a driver tests the port, it takes none.
    pub fn receive(&mut self, input: &[u8]) -> usize {
        self.uart.enqueue_raw_bytes(input).unwrap_or(0)
    }

    fn write_register(&mut self, offset: u16, value: u8) {
        let data = self.line_control & DIVISOR_LATCH == 0;
        match offset {
            LINE_CONTROL => self.line_control = value,
            INTERRUPT_ENABLE if data => {
                let was_listening =
                    std::mem::replace(&mut self.listening, value & RECEIVED_DATA != 0);
                self.has_listened |= self.listening;
                if self.listening && !was_listening {
                    self.uart.events().in_buffer_empty();
                }
            }
            DATA if data => self.recorder.reached(Phase::FirstSerialByte),
            _ => {}
        }
        // Output that nobody takes any more is lost, as on a line that was unplugged, and an
        // interrupt that cannot be raised is one that is pending already: the guest goes on.
        let offset = u8::try_from(offset).unwrap_or(u8::MAX);
        if let Err(error) = self.uart.write(offset, value) {
            log::debug!("serial: {error}");
        }
    }
}

impl<T: Trigger<E = io::Error> + Send, W: Write + Send> PortDevice for SerialPort<T, W> {
    fn name(&self) -> &'static str {
        "serial"
    }

    fn registers(&self) -> Vec<RegisterNames> {
        vec![
            (DATA.into(), "receive", "transmit"),
            (INTERRUPT_ENABLE.into(), "interrupt enable", "interrupt enable"),
            (2, "interrupt identification", "FIFO control"),
            (LINE_CONTROL.into(), "line control", "line control"),
            (4, "modem control", "modem control"),
            (5, "line status", "line status"),
            (6, "modem status", "modem status"),
            (7, "scratch", "scratch"),
        ]
    }

    fn read(&mut self, offset: u16, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            *byte = self.uart.read(u8::try_from(at).unwrap_or(u8::MAX));
        }
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Action {
        for (at, value) in (offset..).zip(data) {
            self.write_register(at, *value);
        }
        Action::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoInterrupt;

    impl Trigger for NoInterrupt {
        type E = io::Error;
        fn trigger(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn port() -> (SerialPort<NoInterrupt, Vec<u8>>, EventFd) {
        let room = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let recorder = Arc::new(Recorder::start_now());
        (SerialPort::new(NoInterrupt, room.try_clone().unwrap(), Vec::new(), recorder), room)
    }

    #[test]
    fn output_arrives() {
        let (mut port, _) = port();
        for byte in b"hello" {
            let _ = port.write(DATA, &[*byte]);
        }
        assert_eq!(port.uart.writer(), b"hello");
        assert!(port.recorder.at(Phase::FirstSerialByte).is_some());
    }

    #[test]
    fn a_pipe_waits_until_the_driver_listens_and_a_person_does_not() {
        let (mut port, room) = port();
        assert_eq!((port.room(false), port.room(true)), (0, 64));
        let _ = port.write(INTERRUPT_ENABLE, &[RECEIVED_DATA]);
        assert_eq!((port.room(false), port.room(true)), (64, 64));
        assert!(room.read().is_ok());
        let _ = port.write(INTERRUPT_ENABLE, &[0]);
        assert_eq!((port.room(false), port.room(true)), (0, 0));
    }

    #[test]
    fn the_divisor_latch_is_not_the_interrupt_enable_register() {
        let (mut port, _) = port();
        let _ = port.write(LINE_CONTROL, &[DIVISOR_LATCH]);
        let _ = port.write(INTERRUPT_ENABLE, &[RECEIVED_DATA]);
        assert_eq!(port.room(false), 0);
    }

    #[test]
    fn input_never_exceeds_the_fifo_and_room_is_announced() {
        let (mut port, room) = port();
        let _ = port.write(INTERRUPT_ENABLE, &[RECEIVED_DATA]);
        let _ = room.read();
        assert_eq!(port.receive(&[b'x'; 100]), 64);
        assert_eq!((port.room(false), port.receive(b"y")), (0, 0));
        let mut byte = [0];
        for _ in 0..64 {
            port.read(DATA, &mut byte);
            assert_eq!(byte, *b"x");
        }
        assert!(room.read().is_ok());
        assert_eq!(port.room(false), 64);
    }
}
