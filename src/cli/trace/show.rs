//! `duplex trace show`: where the time went.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::tables;
use crate::cli::say;
use crate::trace::calls::name;
use crate::trace::cost::CostJson;
use crate::trace::summary::{Register, Summary};

/// Say where the time went: by phase, vCPU, device and function of the guest; and what would save some
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex trace show boot.trace
  duplex trace show boot.trace --symbols ~/linux/vmlinux
  duplex trace show --live boot.trace       from another terminal, while the guest runs
  duplex trace show boot.trace --json | jq '.exits'

Without --symbols, System.map and a vmlinux with symbols are looked for beside the guest's kernel.")]
pub(super) struct Args {
    /// The trace
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the names of the guest's functions are: the System.map of its kernel, or its vmlinux
    #[arg(long, value_name = "FILE")]
    symbols: Option<PathBuf>,
    /// How many lines each table has at most
    #[arg(long, value_name = "N", default_value = "10")]
    top: usize,
    /// Show what happens while the trace is made, on the whole terminal: rates, vCPUs, devices and the
    /// last exits. 'q' quits
    #[arg(long, conflicts_with = "json")]
    live: bool,
    /// As JSON, times in nanoseconds
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let (mut reader, symbols) = super::open_with_symbols(&args.file, args.symbols.as_ref())?;
    if args.live {
        return super::follow::run(&args.file, reader, symbols);
    }
    let summary = Summary::of(&mut reader, symbols);
    let summary = summary.map_err(|error| super::named(&args.file, &error))?;
    for warning in warnings(&summary, reader.is_cut_off()) {
        say(format_args!("{}: {warning}", args.file.display()));
    }
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &as_json(&summary))?;
        writeln!(out)?;
    } else {
        out.write_all(tables::all(&summary, args.top).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is missing in it.
fn warnings(summary: &Summary, cut_off: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if cut_off {
        warnings.push(
            "it is cut off: whoever made it was killed, or makes it still; what is there is shown"
                .to_owned(),
        );
    } else if summary.has_end && !summary.whole {
        warnings.push(
            "the VMM was killed: what had happened in its last moments was not written".to_owned(),
        );
    }
    let dropped = summary.dropped();
    if dropped > 0 {
        warnings.push(format!(
            "{dropped} events found no room, because the file could not be written fast enough: counts and \
             sums are too low by them"
        ));
    }
    warnings
}

fn as_json(summary: &Summary) -> Value {
    let register = |register: &Register| json!({ "device": register.device, "register": register.register, "access": register.access });
    let with = |mut head: Value, cost| {
        let cost = serde_json::to_value(CostJson::from(cost));
        if let (Some(head), Ok(Value::Object(cost))) = (head.as_object_mut(), cost) {
            head.extend(cost);
        }
        head
    };
    let phases: Vec<Value> = summary
        .phases
        .iter()
        .map(|phase| {
            let reached = &phase.reached;
            let head =
                json!({ "phase": reached.phase, "at_ns": reached.at, "took_ns": phase.took });
            with(head, &phase.cost)
        })
        .collect();
    let vcpus: Vec<Value> = summary
        .vcpus
        .iter()
        .map(|(number, vcpu)| {
            let head = json!({
                "vcpu": number, "first_ns": vcpu.first, "last_ns": vcpu.last, "kvm": vcpu.counted,
            });
            with(head, &vcpu.cost)
        })
        .collect();
    let exits: Vec<Value> = summary
        .reasons
        .iter()
        .map(|(reason, cost)| with(json!({ "reason": reason }), cost))
        .collect();
    let registers: Vec<Value> = summary
        .registers
        .costliest()
        .into_iter()
        .map(|(r, cost)| with(register(r), cost))
        .collect();
    let functions: Vec<Value> = summary
        .functions
        .costliest()
        .into_iter()
        .map(|(function, cost)| with(json!({ "function": function }), cost))
        .collect();
    let samples: Vec<Value> = summary
        .samples
        .costliest()
        .into_iter()
        .map(|(function, cost)| json!({ "function": function, "count": cost.count }))
        .collect();
    let sites: Vec<Value> = summary
        .sites
        .costliest()
        .into_iter()
        .map(|((r, function), cost)| {
            let mut head = register(r);
            if let Some(head) = head.as_object_mut() {
                head.insert("function".into(), json!(function));
            }
            with(head, cost)
        })
        .collect();
    let queues: Vec<Value> = summary
        .queues
        .iter()
        .map(|(source, queue)| {
            json!({
                "queue": source.to_string(), "kicks": queue.kicks, "interrupts": queue.interrupts,
                "requests": queue.requests, "readable_bytes": queue.readable,
                "written_bytes": queue.written, "never_given_back": queue.in_hand(),
                "total_ns": queue.total,
                "p50_ns": queue.whole.permille(500), "p99_ns": queue.whole.permille(990),
                "longest_ns": queue.whole.most(),
            })
        })
        .collect();
    let calls: Vec<Value> = summary
        .calls
        .iter()
        .map(|(number, cost)| {
            json!({
                "call": name(*number), "count": cost.count, "took_ns": cost.vmm,
                "p50_ns": cost.spread.permille(500), "p99_ns": cost.spread.permille(990),
                "longest_ns": cost.spread.most(),
            })
        })
        .collect();
    let slowest = summary.slowest.as_ref().map(|slowest| {
        let mut found = register(&slowest.register);
        if let Some(found) = found.as_object_mut() {
            found.extend([
                ("at_ns".into(), json!(slowest.at)),
                ("vmm_ns".into(), json!(slowest.exit.vmm)),
                ("value".into(), json!(slowest.exit.value)),
            ]);
        }
        found
    });
    json!({
        "about": summary.about,
        "events": summary.events,
        "dropped": summary.dropped(),
        "whole": summary.whole,
        "wall_ns": summary.last,
        "phases": phases,
        "steps": summary.steps,
        "vcpus": vcpus,
        "exits": exits,
        "registers": registers,
        "functions": functions,
        "samples": samples,
        "sites": sites,
        "queues": queues,
        "interrupts": summary.interrupts,
        "calls": calls,
        "slowest_access": slowest,
        "suggestions": summary.suggestions(),
    })
}
