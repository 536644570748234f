//! `--timing`: where a boot's time went, as a table or as JSON.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use crate::trace::boot::{Phase, Recorder};
use crate::vm::session::Outcome;

/// Prints the phases and the exits on stderr: stdout is the guest's console.
///
/// # Errors
/// Only where JSON cannot be made of numbers and names: never.
pub(super) fn print(
    recorder: &Recorder,
    outcome: &Outcome,
    json: bool,
) -> Result<(), serde_json::Error> {
    if json {
        eprintln!("{}", serde_json::to_string(&as_json(recorder, outcome))?);
    } else {
        eprint!("{}", as_text(recorder, outcome));
    }
    Ok(())
}

fn as_json(recorder: &Recorder, outcome: &Outcome) -> serde_json::Value {
    let phases: Vec<_> = Phase::ALL
        .into_iter()
        .filter_map(|phase| Some(json!({ "phase": phase, "ns": nanoseconds(recorder.at(phase)?) })))
        .collect();
    json!({
        "phases": phases,
        "bytes_mapped": outcome.loaded.mapped,
        "bytes_copied": outcome.loaded.copied,
        "exits": outcome.exits,
        "unclaimed_accesses": outcome.unclaimed,
    })
}

fn as_text(recorder: &Recorder, outcome: &Outcome) -> String {
    let mut phases = Table::new();
    phases.load_style(presets::NOTHING).set_header(["phase", "at ms", "took ms"]);
    let mut reached: Vec<_> =
        Phase::ALL.into_iter().filter_map(|phase| Some((recorder.at(phase)?, phase))).collect();
    // A guest may reach user space before it prints its first byte.
    reached.sort_by_key(|(at, _)| *at);
    let mut before = Duration::ZERO;
    for (at, phase) in reached {
        let took = at.saturating_sub(before);
        phases.add_row([phase.describe().to_owned(), milliseconds(at), milliseconds(took)]);
        before = at;
    }
    let mut exits = Table::new();
    exits.load_style(presets::NOTHING).set_header(["exits to user space", "count"]);
    for (reason, count) in outcome.exits.rows().into_iter().filter(|(_, count)| *count > 0) {
        exits.add_row([reason.to_owned(), count.to_string()]);
    }
    exits.add_row(["total".to_owned(), outcome.exits.total().to_string()]);
    for table in [&mut phases, &mut exits] {
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let loaded = outcome.loaded;
    format!(
        "\n{}\n\nkernel and initrd: {} bytes mapped, {} copied\naccesses without a device: {}\n\n{}\n",
        phases.trim_fmt(),
        loaded.mapped,
        loaded.copied,
        outcome.unclaimed,
        exits.trim_fmt(),
    )
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
