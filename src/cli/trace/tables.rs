//! A summary as tables, for a terminal of 80 columns.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table};

use crate::cli::{harmless, table};
use crate::trace::calls::name;
use crate::trace::cost::{COLUMNS, Cost};
use crate::trace::file::about::{Half, Unit};
use crate::trace::summary::{Summary, Vcpu, duration, grouped, percent};

/// The widest name that is shown whole.
const WIDEST: usize = 32;
/// Fewer say nothing.
const FEWEST_SAMPLES: u64 = 20;
/// From nothing to the most.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// All of it.
pub(super) fn all(summary: &Summary, top: usize) -> String {
    let parts = [
        head(summary),
        phases(summary),
        steps(summary),
        vcpus(summary),
        reasons(summary),
        registers(summary, top),
        functions(summary, top),
        samples(summary, top),
        sites(summary, top),
        queues(summary, top),
        calls(summary, top),
        kvm(summary),
        suggestions(summary),
    ];
    // Names may come from a hostile file.
    harmless(&parts.into_iter().flatten().collect::<Vec<_>>().join("\n"))
}

fn head(summary: &Summary) -> Option<String> {
    let about = &summary.about;
    let half = match about.half {
        Half::Vm => "VM",
        Half::Container => "container",
    };
    let dropped = summary.dropped();
    let dropped = if dropped == 0 { "none".to_owned() } else { grouped(dropped) };
    let unit = match about.unit {
        Unit::Nanoseconds => "",
        Unit::Instructions => "\na nanosecond is an instruction: the clock counted them",
    };
    let events = grouped(summary.events);
    let lasted = duration(summary.last);
    Some(format!("{half}: {}\n{lasted}, {events} events, {dropped} dropped{unit}\n", about.command))
}

fn phases(summary: &Summary) -> Option<String> {
    let mut rows = table(&["PHASE", "AT", "TOOK", "EXITS", "IN THE VMM"]);
    for phase in &summary.phases {
        let cost = &phase.cost;
        let [exits, vmm] = if cost.count == 0 {
            ["".into(), "".into()]
        } else {
            [grouped(cost.count), duration(cost.vmm)]
        };
        rows.add_row([
            shortened(&phase.reached.text),
            duration(phase.reached.at),
            duration(phase.took),
            exits,
            vmm,
        ]);
    }
    (!summary.phases.is_empty()).then(|| finished(rows, 1))
}

fn steps(summary: &Summary) -> Option<String> {
    let mut rows = table(&["STEP OF PID 1", "AT", "TOOK"]);
    let mut before = None;
    for step in &summary.steps {
        let took =
            before.map_or_else(String::new, |before| duration(step.at.saturating_sub(before)));
        let text: String = step.step.chars().take(WIDEST + 20).collect();
        rows.add_row([text, duration(step.at), took]);
        before = Some(step.at);
    }
    (!summary.steps.is_empty()).then(|| finished(rows, 1))
}

/// Each vCPU's time: together with what came before and after it is the whole.
fn vcpus(summary: &Summary) -> Option<String> {
    let mut rows = table(&["VCPU", "EXITS", "BEFORE", "GUEST AND KVM", "VMM", "AFTER", "SUM"]);
    for (number, vcpu) in &summary.vcpus {
        let Vcpu { cost, first, last, .. } = vcpu;
        let after = summary.last.saturating_sub(*last);
        let time = cost.guest.saturating_add(cost.vmm);
        let part = |part| format!("{} ({})", duration(part), percent(part, time));
        rows.add_row([
            number.to_string(),
            grouped(cost.count),
            duration(*first),
            part(cost.guest),
            part(cost.vmm),
            duration(after),
            duration(first.saturating_add(time).saturating_add(after)),
        ]);
    }
    (!summary.vcpus.is_empty()).then(|| finished(rows, 0))
}

fn reasons(summary: &Summary) -> Option<String> {
    let mut rows =
        table(&["EXITS TO USER SPACE", "COUNT", "IN THE VMM", "P50", "P99", "1 µs … 16 ms"]);
    let mut reasons: Vec<_> = summary.reasons.iter().collect();
    reasons.sort_by_key(|(_, cost)| std::cmp::Reverse(cost.vmm));
    for (reason, cost) in reasons {
        let [count, vmm, p50, p99] = figures(cost);
        rows.add_row([shortened(reason), count, vmm, p50, p99, bars(&cost.spread.columns())]);
    }
    (!summary.reasons.is_empty()).then(|| finished(rows, 1))
}

/// How many, how long in all, and how that is spread.
fn figures(cost: &Cost) -> [String; 4] {
    let (p50, p99) = (cost.spread.permille(500), cost.spread.permille(990));
    [grouped(cost.count), duration(cost.vmm), duration(p50), duration(p99)]
}

fn registers(summary: &Summary, top: usize) -> Option<String> {
    let mut rows = table(&["DEVICE: REGISTER", "", "COUNT", "IN THE VMM", "P50", "P99"]);
    let all = summary.registers.costliest();
    for (register, cost) in all.iter().take(top) {
        let access = format!("{:?}", register.access).to_lowercase();
        let [count, vmm, p50, p99] = figures(cost);
        rows.add_row([shortened(&register.text()), access, count, vmm, p50, p99]);
    }
    let text = finished(rows, 2) + &more(all.len(), top);
    (!all.is_empty()).then_some(text)
}

fn functions(summary: &Summary, top: usize) -> Option<String> {
    let heading =
        if summary.symbols == 0 { "ADDRESS IN THE GUEST" } else { "FUNCTION OF THE GUEST" };
    let mut rows = table(&[heading, "EXITS", "GUEST BEFORE", "IN THE VMM", "P50", "P99"]);
    let all = summary.functions.costliest();
    for (function, cost) in all.iter().take(top) {
        let [count, vmm, p50, p99] = figures(cost);
        rows.add_row([shortened(function), count, duration(cost.guest), vmm, p50, p99]);
    }
    let text = finished(rows, 1) + &more(all.len(), top);
    (!all.is_empty()).then_some(text)
}

/// Where the guest was when it was kicked, which has nothing to do with what it did there.
fn samples(summary: &Summary, top: usize) -> Option<String> {
    let mut rows = table(&["SAMPLES OF THE GUEST'S TIME", "COUNT", "SHARE"]);
    let mut all: Vec<_> = summary.samples.iter().collect();
    all.sort_by(|(a, x), (b, y)| y.count.cmp(&x.count).then(a.cmp(b)));
    let samples = all.iter().map(|(_, cost)| cost.count).sum();
    for (function, cost) in all.iter().take(top) {
        let share = percent(cost.count, samples);
        rows.add_row([shortened(function), grouped(cost.count), share]);
    }
    let text = finished(rows, 1) + &more(all.len(), top);
    (samples >= FEWEST_SAMPLES).then_some(text)
}

fn sites(summary: &Summary, top: usize) -> Option<String> {
    let mut rows = table(&["COSTLIEST SITES", "IN", "COUNT", "IN THE VMM"]);
    let all = summary.sites.costliest();
    for ((register, function), cost) in all.iter().take(top) {
        let function: String = function.chars().take(24).collect();
        rows.add_row([
            shortened(&register.text()),
            function,
            grouped(cost.count),
            duration(cost.vmm),
        ]);
    }
    let mut text = finished(rows, 2) + &more(all.len(), top);
    if let Some(slowest) = &summary.slowest {
        let register = slowest.register.text();
        let (vmm, at) = (duration(slowest.exit.vmm), duration(slowest.at));
        let _ = writeln!(text, "slowest access: {register}, {vmm} in the VMM, at {at}");
    }
    (!all.is_empty() || summary.slowest.is_some()).then_some(text)
}

fn queues(summary: &Summary, top: usize) -> Option<String> {
    let mut rows = table(&["QUEUE", "REQUESTS", "KICKS", "IRQS", "READ", "WRITTEN", "P50", "P99"]);
    let mut used: Vec<_> =
        summary.queues.iter().filter(|(_, queue)| queue.kicks + queue.requests > 0).collect();
    used.sort_by_key(|(_, queue)| std::cmp::Reverse(queue.total));
    for (source, queue) in used.iter().take(top) {
        rows.add_row([
            source.to_string(),
            grouped(queue.requests),
            grouped(queue.kicks),
            grouped(queue.interrupts),
            size(queue.readable),
            size(queue.written),
            duration(queue.whole.permille(500)),
            duration(queue.whole.permille(990)),
        ]);
    }
    let text = finished(rows, 1) + &more(used.len(), top);
    (!used.is_empty()).then_some(text)
}

fn calls(summary: &Summary, top: usize) -> Option<String> {
    let mut rows = table(&["SYSTEM CALL", "COUNT", "TOOK", "P50", "P99", "LONGEST"]);
    let mut all: Vec<_> = summary.calls.iter().collect();
    all.sort_by_key(|(number, cost)| (std::cmp::Reverse(cost.vmm), **number));
    for (number, cost) in all.iter().take(top) {
        let [count, took, p50, p99] = figures(cost);
        rows.add_row([name(**number).into(), count, took, p50, p99, duration(cost.spread.most())]);
    }
    let text = finished(rows, 1) + &more(all.len(), top);
    (!all.is_empty()).then_some(text)
}

/// What KVM has counted itself, and what became of it.
fn kvm(summary: &Summary) -> Option<String> {
    let counted = |name: &str| -> u64 {
        let counts = summary.vcpus.values().filter_map(|vcpu| vcpu.counted.get(name));
        // A trace may come from anywhere.
        counts.copied().fold(0, u64::saturating_add)
    };
    let all = counted("exits");
    if all == 0 {
        return None;
    }
    let here = summary.exits();
    let inside = all.saturating_sub(here);
    let mut text = format!(
        "KVM counted {} exits of the processor: {} came to user space, and with {}\n({}) KVM dealt \
         itself. By its own kinds, which overlap:\n",
        grouped(all),
        grouped(here),
        grouped(inside),
        percent(inside, all),
    );
    let kinds = [
        ("halt_exits", "halts"),
        ("irq_exits", "interrupts of the host"),
        ("irq_window_exits", "waiting until an interrupt can be delivered"),
        ("nmi_window_exits", "waiting until an NMI can be delivered"),
        ("io_exits", "port accesses, also those of interrupt controllers and timer"),
        ("mmio_exits", "accesses to memory-mapped devices that came to user space"),
        ("hypercalls", "hypercalls"),
        ("pf_taken", "page faults of guest memory"),
        ("insn_emulation", "instructions that were emulated"),
        ("request_irq_exits", "to user space, to deliver an interrupt"),
        ("signal_exits", "to user space, by signals: kicks of the VMM"),
    ];
    for (name, what) in kinds {
        let count = counted(name);
        if count > 0 {
            let _ = writeln!(text, "  {:>10}  {name}: {what}", grouped(count));
        }
    }
    Some(text)
}

fn suggestions(summary: &Summary) -> Option<String> {
    let all = summary.suggestions();
    let mut text = "SUGGESTIONS\n".to_owned();
    for suggestion in &all {
        let mut line = "  -".to_owned();
        for word in suggestion.text.split(' ') {
            if line.chars().count() + word.chars().count() >= 79 {
                let _ = writeln!(text, "{line}");
                line = "   ".to_owned();
            }
            line = line + " " + word;
        }
        let _ = writeln!(text, "{line}");
    }
    (!all.is_empty()).then_some(text)
}

/// Where a column is empty nothing is drawn; the fullest reaches the top.
fn bars(columns: &[u64; COLUMNS]) -> String {
    let most = columns.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u64| match u128::from(*count) * 7 / u128::from(most) {
        _ if *count == 0 => ' ',
        height => {
            usize::try_from(height).ok().and_then(|height| BARS.get(height)).copied().unwrap_or(' ')
        }
    };
    columns.iter().map(bar).collect()
}

fn more(all: usize, top: usize) -> String {
    let left = all.saturating_sub(top);
    if left == 0 { String::new() } else { format!("… and {left} more: --top {all}\n") }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= WIDEST {
        return name.to_owned();
    }
    name.chars().take(WIDEST - 1).chain(['…']).collect()
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => grouped(bytes),
        10_240..10_485_760 => format!("{}K", bytes >> 10),
        10_485_760..10_737_418_240 => format!("{}M", bytes >> 20),
        _ => format!("{}G", bytes >> 30),
    }
}

/// Numbers to the right, from column `first` on.
fn finished(mut table: Table, first: usize) -> String {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    lines.concat()
}
