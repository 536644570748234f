//! CMOS real-time clock (Motorola MC146818A, as in the IBM PC/AT) with the host's time in UTC.
//!
//! The time is the host's and stays so: what a guest writes into the time registers is ignored.
//! There is no alarm and no interrupt.

use time::OffsetDateTime;

use super::{Action, PortDevice, RegisterNames};

const INDEX: u16 = 0;
const DATA: u16 = 1;
/// Bit 7 of the index port masks NMIs on a PC; the rest selects a register.
const INDEX_MASK: u8 = 0x7F;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY_OF_WEEK: u8 = 0x06;
const DAY_OF_MONTH: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0A;
const STATUS_B: u8 = 0x0B;
const STATUS_C: u8 = 0x0C;
const STATUS_D: u8 = 0x0D;
/// Where IBM PCs keep the century; FADT names it.
const CENTURY: u8 = 0x32;

/// Register A: a 32,768 Hz time base, and no update in progress: the time is read as one value.
const TIME_BASE_32K: u8 = 0x26;
/// Register B: 24 hours rather than 12 with a PM bit.
const HOURS_24: u8 = 1 << 1;
/// Register B: binary rather than BCD.
const BINARY: u8 = 1 << 2;
/// Register D: the battery is good.
const VALID: u8 = 1 << 7;
const PM: u8 = 1 << 7;

/// The clock, and 128 bytes of CMOS memory around it.
pub struct Rtc<C> {
    clock: C,
    index: u8,
    format: u8,
    memory: [u8; 128],
}

impl Rtc<fn() -> OffsetDateTime> {
    /// A clock that tells the host's time.
    pub fn host_time() -> Self {
        Rtc::new(OffsetDateTime::now_utc)
    }
}

impl<C: FnMut() -> OffsetDateTime> Rtc<C> {
    /// A clock that tells the time that `clock` returns.
    pub fn new(clock: C) -> Self {
        Rtc { clock, index: 0, format: HOURS_24, memory: [0; 128] }
    }

    fn register(&mut self) -> u8 {
        let now = (self.clock)();
        let year = now.year().unsigned_abs();
        let small = |value: u32| u8::try_from(value).unwrap_or(0);
        match self.index {
            SECONDS => self.encode(now.second()),
            MINUTES => self.encode(now.minute()),
            HOURS => self.hours(now.hour()),
            DAY_OF_WEEK => self.encode(now.weekday().number_from_sunday()),
            DAY_OF_MONTH => self.encode(now.day()),
            MONTH => self.encode(now.month().into()),
            YEAR => self.encode(small(year % 100)),
            CENTURY => self.encode(small(year / 100)),
            STATUS_A => TIME_BASE_32K,
            STATUS_B => self.format,
            // Interrupt flags: there are no interrupts.
            STATUS_C => 0,
            STATUS_D => VALID,
            other => self.memory.get(usize::from(other)).copied().unwrap_or(0),
        }
    }

    fn encode(&self, value: u8) -> u8 {
        if self.format & BINARY != 0 { value } else { value / 10 << 4 | value % 10 }
    }

    fn hours(&self, hour: u8) -> u8 {
        if self.format & HOURS_24 != 0 {
            return self.encode(hour);
        }
        let pm = if hour >= 12 { PM } else { 0 };
        self.encode((hour + 11) % 12 + 1) | pm
    }
}

impl<C: FnMut() -> OffsetDateTime + Send> PortDevice for Rtc<C> {
    fn name(&self) -> &'static str {
        "real-time clock"
    }

    fn registers(&self) -> Vec<RegisterNames> {
        vec![(INDEX.into(), "index", "index"), (DATA.into(), "data", "data")]
    }

    fn read(&mut self, offset: u16, data: &mut [u8]) {
        data.fill(0xFF);
        if let (DATA, Some(first)) = (offset, data.first_mut()) {
            *first = self.register();
        }
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Action {
        match (offset, data) {
            // A word to the index port is an index and its data.
            (INDEX, [index, rest @ ..]) => {
                self.index = index & INDEX_MASK;
                if !rest.is_empty() {
                    return self.write(DATA, rest);
                }
            }
            (DATA, [value, ..]) if self.index == STATUS_B => {
                self.format = value & (HOURS_24 | BINARY);
            }
            (DATA, [value, ..]) => {
                if let Some(byte) = self.memory.get_mut(usize::from(self.index)) {
                    *byte = *value;
                }
            }
            _ => {}
        }
        Action::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21, a Saturday, 15:04:05 UTC.
    fn rtc() -> Rtc<impl FnMut() -> OffsetDateTime + Send> {
        Rtc::new(|| OffsetDateTime::from_unix_timestamp(1_795_273_445).unwrap())
    }

    fn get(rtc: &mut impl PortDevice, index: u8) -> u8 {
        let _ = rtc.write(INDEX, &[index]);
        let mut data = [0];
        rtc.read(DATA, &mut data);
        data[0]
    }

    #[test]
    fn tells_the_time_in_bcd() {
        let mut rtc = rtc();
        let registers = [CENTURY, YEAR, MONTH, DAY_OF_MONTH, DAY_OF_WEEK, HOURS, MINUTES, SECONDS];
        let time = registers.map(|index| get(&mut rtc, index));
        assert_eq!(time, [0x20, 0x26, 0x11, 0x21, 0x07, 0x15, 0x04, 0x05]);
    }

    #[test]
    fn tells_the_time_in_binary_and_in_12_hours() {
        let mut rtc = rtc();
        let _ = rtc.write(INDEX, &[STATUS_B]);
        let _ = rtc.write(DATA, &[BINARY]);
        assert_eq!(get(&mut rtc, YEAR), 26);
        assert_eq!(get(&mut rtc, HOURS), PM | 3);
    }

    #[test]
    fn midnight_and_noon_are_12() {
        for (hour, expected) in [(0, 0x12), (11, 0x11), (12, PM | 0x12), (23, PM | 0x11)] {
            let rtc = Rtc { format: 0, ..Rtc::new(OffsetDateTime::now_utc) };
            assert_eq!(rtc.hours(hour), expected, "{hour}");
        }
    }

    #[test]
    fn cmos_memory_keeps_bytes_and_the_time_does_not() {
        let mut rtc = rtc();
        let _ = rtc.write(INDEX, &[0x40, 0xA5]);
        assert_eq!(get(&mut rtc, 0x40), 0xA5);
        let _ = rtc.write(INDEX, &[0x80 | MINUTES, 0x33]);
        assert_eq!(get(&mut rtc, MINUTES), 0x04);
    }
}
