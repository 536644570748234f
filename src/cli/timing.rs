//! `--timing`: where a start's time went, as a table or as JSON.

use std::time::Duration;

use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{report, table};
use crate::testbed::Counts;
use crate::trace::boot::{Phase, Recorder};
use crate::trace::steps::SharedStamps;
use crate::vm::session::Figures;

/// What the clock counts. On the counting machine of the testbed a nanosecond is an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub(super) enum Unit {
    /// Time.
    Milliseconds,
    /// Million instructions.
    Instructions,
}

/// The most letters of a step in a table.
const WIDEST: usize = 64;

/// How to say where the time went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timing {
    pub(super) unit: Unit,
    pub(super) json: bool,
}

/// Prints the phases and the exits on stderr: stdout is the guest's console.
///
/// # Errors
/// Only where JSON cannot be made of numbers and names: never.
pub(super) fn print(
    recorder: &Recorder,
    figures: &Figures,
    unit: Unit,
    json: bool,
) -> Result<(), serde_json::Error> {
    if json {
        report(serde_json::to_string(&as_json(recorder, figures))? + "\n");
    } else {
        report(as_text(recorder, figures, unit));
    }
    Ok(())
}

fn as_json(recorder: &Recorder, figures: &Figures) -> serde_json::Value {
    let phases = phases_as_json(recorder);
    json!({
        "phases": phases,
        "bytes_mapped": figures.loaded.mapped,
        "bytes_copied": figures.loaded.copied,
        "exits": figures.exits,
        "unclaimed_accesses": figures.unclaimed,
    })
}

fn as_text(recorder: &Recorder, figures: &Figures, unit: Unit) -> String {
    let mut phases = match unit {
        Unit::Milliseconds => table(&["PHASE", "AT MS", "TOOK MS"]),
        Unit::Instructions => table(&["PHASE", "AT M INSTR", "TOOK M INSTR"]),
    };
    let mut reached: Vec<_> = reached(recorder).collect();
    // A guest may reach user space before it prints its first byte.
    reached.sort_by_key(|(at, _)| *at);
    let mut before = Duration::ZERO;
    for (at, phase) in reached {
        let took = at.saturating_sub(before);
        phases.add_row([phase.describe().to_owned(), milliseconds(at), milliseconds(took)]);
        before = at;
    }
    let mut exits = table(&["EXITS TO USER SPACE", "COUNT"]);
    for (reason, count) in figures.exits.rows().into_iter().filter(|(_, count)| *count > 0) {
        exits.add_row([reason.to_owned(), count.to_string()]);
    }
    exits.add_row(["total".to_owned(), figures.exits.total().to_string()]);
    align_numbers(&mut phases);
    align_numbers(&mut exits);
    let loaded = figures.loaded;
    format!(
        "\n{}\n\nkernel and initrd: {} bytes mapped, {} copied\naccesses without a device: {}\n\n{}\n",
        phases.trim_fmt(),
        loaded.mapped,
        loaded.copied,
        figures.unclaimed,
        exits.trim_fmt(),
    )
}

fn reached(recorder: &Recorder) -> impl Iterator<Item = (Duration, Phase)> {
    Phase::ALL.into_iter().filter_map(|phase| Some((recorder.at(phase)?, phase)))
}

fn phases_as_json(recorder: &Recorder) -> Vec<serde_json::Value> {
    reached(recorder).map(|(at, phase)| json!({ "phase": phase, "ns": nanoseconds(at) })).collect()
}

/// Prints on stderr when duplex reached what, and when a container's PID 1 had taken each of `steps`,
/// which it has stamped.
///
/// # Errors
/// Only where JSON cannot be made of numbers and names: never.
pub(super) fn print_steps(
    recorder: &Recorder,
    steps: &[String],
    stamps: &SharedStamps,
    Timing { unit, json }: Timing,
) -> Result<(), serde_json::Error> {
    let inside: Vec<(Duration, &str)> = stamps
        .times()
        .zip(steps)
        .filter_map(|(time, step)| Some((recorder.since_start(time?), step.as_str())))
        .collect();
    if json {
        let steps: Vec<_> = inside
            .iter()
            .map(|(at, step)| json!({ "step": step, "ns": nanoseconds(*at) }))
            .collect();
        let both = json!({ "phases": phases_as_json(recorder), "steps": steps });
        report(serde_json::to_string(&both)? + "\n");
        return Ok(());
    }
    let mut rows = match unit {
        Unit::Milliseconds => table(&["PHASE", "AT MS", "DUPLEX TOOK", "PID 1 TOOK"]),
        Unit::Instructions => table(&["PHASE", "AT M INSTR", "DUPLEX TOOK", "PID 1 TOOK"]),
    };
    let outside = reached(recorder).map(|(at, phase)| (at, false, phase.describe()));
    let mut all: Vec<_> =
        outside.chain(inside.into_iter().map(|(at, step)| (at, true, step))).collect();
    all.sort_by_key(|(at, ..)| *at);
    let mut before_outside = Duration::ZERO;
    // PID 1 begins to be made then.
    let mut before_inside = recorder.at(Phase::GroupMade).unwrap_or_default();
    for (at, is_inside, what) in all {
        let before = if is_inside { &mut before_inside } else { &mut before_outside };
        let took = milliseconds(at.saturating_sub(*before));
        *before = at;
        let nothing = String::new();
        let [duplex, pid1] = if is_inside { [nothing, took] } else { [took, nothing] };
        // Some steps tell all that they do.
        let what = what.chars().take(WIDEST).collect();
        rows.add_row([what, milliseconds(at), duplex, pid1]);
    }
    align_numbers(&mut rows);
    report(format_args!("\n{}\n", rows.trim_fmt()));
    Ok(())
}

/// Prints on stderr what the observer outside of duplex counted, its own start included.
///
/// # Errors
/// Only where JSON cannot be made of numbers and names: never.
pub(super) fn print_counts(counts: &Counts, json: bool) -> Result<(), serde_json::Error> {
    if json {
        report(serde_json::to_string(counts)? + "\n");
        return Ok(());
    }
    let mut seen = table(&["SEEN FROM OUTSIDE", "AT M INSTR"]);
    let rows = [
        ("first byte on stdout", counts.first_byte),
        ("first line on stdout", counts.first_line),
        ("exit", Some(counts.end)),
    ];
    for (event, count) in rows {
        let count = count.map(|count| milliseconds(Duration::from_nanos(count)));
        seen.add_row([event.to_owned(), count.unwrap_or_else(|| "never".to_owned())]);
    }
    align_numbers(&mut seen);
    report(format_args!("\n{}\n", seen.trim_fmt()));
    Ok(())
}

fn align_numbers(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
