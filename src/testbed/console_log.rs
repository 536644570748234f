//! The last words of the machine: what its console and the emulator wrote.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};

/// How much is kept.
const LIMIT: usize = 16 << 10;

/// How many lines are worth showing to somebody.
const LINES: usize = 10;

/// The newest part of an endless text.
#[derive(Debug, Default)]
pub(super) struct ConsoleLog(VecDeque<u8>);

impl ConsoleLog {
    /// Takes what `from` has now, if it talks without end no more than is kept; `false` at its end.
    pub(super) fn read(&mut self, from: &mut impl Read) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        for _ in 0..LIMIT / buffer.len() {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => self.push(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let excess = self.0.len().saturating_sub(LIMIT);
        self.0.drain(..excess);
    }

    /// The last lines, fit for a terminal: the machine may be in hostile hands, and its output must
    /// not reach the user's terminal as control sequences. Before them, whatever further back looks
    /// like the reason: a kernel that panics says why first, and then much else.
    pub(super) fn last_lines(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>())
            .filter(|line| !line.trim().is_empty() && !is_noise(line))
            .collect();
        let (before, last) = lines.split_at(lines.len().saturating_sub(LINES));
        let reasons = before.iter().filter(|line| is_reason(line)).take(LINES);
        reasons.chain(last).map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// What duplex itself says in the machine, and a kernel's first words when it panics.
fn is_reason(line: &str) -> bool {
    line.starts_with("duplex: ") || line.contains("Kernel panic") || line.contains("BUG:")
}

/// QEMU's remarks on features that the CPU model has and TCG lacks, many and harmless; virtiofsd's
/// surprise when the machine is gone; and what only a kernel developer can read.
fn is_noise(line: &str) -> bool {
    line.contains("warning: TCG doesn't support requested feature")
        || line.starts_with("virtio_loop: ")
        || ["RIP: ", "RSP: ", "RAX: ", "RDX: ", "RBP: ", "R10: ", "R13: ", "Code: "]
            .iter()
            .any(|register| line.contains(&format!("] {register}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_nothing_dangerous() {
        let mut log = ConsoleLog::default();
        log.push(&vec![b'x'; LIMIT]);
        log.push(b"\nfirst\r\n\n\x1b]0;title\x07second\n");
        log.push(b"qemu: warning: TCG doesn't support requested feature: x [bit 1]\n");
        assert_eq!(log.0.len(), LIMIT);
        let shown = log.last_lines();
        assert!(shown.ends_with("first\n]0;titlesecond"), "{shown}");
    }

    #[test]
    fn shows_the_reason_of_a_panic() {
        let mut log = ConsoleLog::default();
        log.push(b"[ 1.0] Kernel panic - not syncing: no reason\n");
        (0..50).for_each(|n| log.push(format!("[ 1.{n}]  function{n}\n").as_bytes()));
        log.push(b"[ 2.0] RAX: ffffffffffffffda RBX: 0\n");
        let shown = log.last_lines();
        assert!(shown.starts_with("[ 1.0] Kernel panic"), "{shown}");
        assert_eq!(shown.lines().count(), LINES + 1);
        assert!(shown.ends_with("function49"), "{shown}");
    }
}
