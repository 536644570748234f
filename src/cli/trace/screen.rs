//! One picture of a trace that is being made, as lines that fit a window.

use crate::cli::harmless;
use crate::trace::live::{Counts, Live};
use crate::trace::summary::{duration, grouped, percent};

/// How long without an exit makes a vCPU quiet, in nanoseconds.
const QUIET: u64 = 1_000_000_000;
/// The fewest lines that the last exits get.
const LEAST_EXITS: usize = 4;

/// What the picture is of, beside the trace itself.
pub(super) struct View<'a> {
    /// The file's name.
    pub(super) file: &'a str,
    /// How long the moment was that is shown, in nanoseconds.
    pub(super) moment: u64,
    /// How late it is, in nanoseconds since the process started.
    pub(super) now: u64,
}

/// As many lines as the window has rows, each no longer than it has columns.
pub(super) fn picture(live: &Live, view: &View<'_>, rows: usize, columns: usize) -> Vec<String> {
    let mut lines = head(live, view, columns);
    let room = rows.saturating_sub(lines.len() + LEAST_EXITS + 2);
    lines.extend(vcpus(live, view, room / 2));
    let room = rows.saturating_sub(lines.len() + LEAST_EXITS + 2);
    lines.extend(registers(live, view, room.min(3 + rows / 4)));
    let room = rows.saturating_sub(lines.len());
    lines.extend(exits(live, room, columns));
    lines.truncate(rows);
    lines.resize(rows, String::new());
    lines.iter().map(|line| fit(line, columns)).collect()
}

fn head(live: &Live, view: &View<'_>, columns: usize) -> Vec<String> {
    let state = if live.ended { "ended" } else { "running" };
    let left = format!("{}  {state}  {}", view.file, duration(view.now));
    let right = "q quits";
    let gap = columns.saturating_sub(left.chars().count() + right.len());
    let exits: u64 = live.vcpus.values().map(|vcpu| vcpu.moment.exits).sum();
    let rates = format!(
        "{} exits/s  {} requests/s  {} interrupts/s   {} events, {} dropped",
        rate(exits, view),
        rate(live.requests, view),
        rate(live.interrupts, view),
        grouped(live.events),
        grouped(live.dropped),
    );
    vec![
        format!("{left}{}{right}", " ".repeat(gap)),
        live.about.command.clone(),
        String::new(),
        rates,
    ]
}

fn vcpus(live: &Live, view: &View<'_>, room: usize) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        format!(
            "{:>4} {:>10} {:>8} {:>8}  {:<24} {:>12}",
            "VCPU", "EXITS/S", "GUEST", "VMM", "STATE", "EXITS"
        ),
    ];
    let shown = room.saturating_sub(lines.len() + 1).max(1);
    for (number, vcpu) in live.vcpus.iter().take(shown) {
        let Counts { exits, guest, vmm } = vcpu.moment;
        let time = guest.saturating_add(vmm);
        let quiet = view.now.saturating_sub(vcpu.entered);
        let state = if live.ended {
            "ended".to_owned()
        } else if exits == 0 || quiet >= QUIET {
            format!("guest or halted, {}", duration(quiet))
        } else if vmm > guest {
            "mostly in the VMM".to_owned()
        } else {
            "mostly in the guest".to_owned()
        };
        let [guest, vmm] = match time {
            0 => [String::new(), String::new()],
            _ => [percent(guest, time), percent(vmm, time)],
        };
        lines.push(format!(
            "{number:>4} {:>10} {guest:>8} {vmm:>8}  {state:<24} {:>12}",
            rate(exits, view),
            grouped(vcpu.total.exits),
        ));
    }
    let hidden = live.vcpus.len().saturating_sub(shown);
    if hidden > 0 {
        lines.push(format!("     and {hidden} more"));
    }
    lines
}

fn registers(live: &Live, view: &View<'_>, room: usize) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        format!("{:<40} {:>6} {:>10} {:>12}", "DEVICE: REGISTER", "", "PER S", "IN THE VMM"),
    ];
    for (register, counts) in live.registers.iter().take(room.saturating_sub(lines.len())) {
        let access = format!("{:?}", register.access).to_lowercase();
        let vmm = duration(counts.vmm);
        let (text, rate) = (register.text(), rate(counts.exits, view));
        lines.push(format!("{:<40} {access:>6} {rate:>10} {vmm:>12}", fit(&text, 40)));
    }
    // The last exits stay where they are.
    lines.resize(room.max(2), String::new());
    lines
}

fn exits(live: &Live, room: usize, columns: usize) -> Vec<String> {
    let wide = columns.saturating_sub(38).max(20);
    let function = wide / 3;
    let what = wide - function;
    let mut lines = vec![
        String::new(),
        format!(
            "{:>10} {:>4} {:>9} {:>9}  {:<what$} {}",
            "AT", "VCPU", "GUEST", "VMM", "LAST EXITS", "IN"
        ),
    ];
    let shown = room.saturating_sub(lines.len());
    let skipped = live.recent.len().saturating_sub(shown);
    for recent in live.recent.iter().skip(skipped) {
        lines.push(format!(
            "{:>10} {:>4} {:>9} {:>9}  {:<what$} {}",
            duration(recent.at),
            recent.vcpu,
            duration(recent.exit.guest),
            duration(recent.exit.vmm),
            fit(&recent.what, what),
            fit(&recent.function, function),
        ));
    }
    lines
}

/// So many of a moment, as of a second.
fn rate(count: u64, view: &View<'_>) -> String {
    let rate = u128::from(count) * 1_000_000_000 / u128::from(view.moment.max(1));
    grouped(u64::try_from(rate).unwrap_or(u64::MAX))
}

/// Harmless, and no longer than that.
fn fit(text: &str, columns: usize) -> String {
    // Characters of two columns would break the picture; names of registers and functions have none.
    let text = harmless(text).replace(['\n', '\t'], " ");
    if text.chars().count() <= columns {
        return text;
    }
    text.chars().take(columns.saturating_sub(1)).chain((columns > 0).then_some('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fills_its_window_and_goes_nowhere_beyond() {
        let mut live = Live::default();
        live.about.command = "duplex boot --kernel \u{1b}[2Jvmlinux ".repeat(20);
        for number in 0..32 {
            live.vcpus.entry(number).or_default().total.exits = u64::MAX;
        }
        for (rows, columns) in [(24, 80), (50, 200), (1, 1), (5, 20), (0, 0), (10, 300)] {
            let view = View { file: "boot.trace", moment: 500_000_000, now: 12_300_000_000 };
            let lines = picture(&live, &view, rows, columns);
            assert_eq!(lines.len(), rows);
            for line in lines {
                assert!(line.chars().count() <= columns, "{line}");
                assert!(!line.contains('\u{1b}'));
            }
        }
    }
}
