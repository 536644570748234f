//! `duplex stats`: what instances use.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::each::in_testbed;
use crate::instances::{self, Found, Status};
use crate::isolate::cgroups::Usage;

/// How long CPU time is counted for a share of it.
const INTERVAL: Duration = Duration::from_secs(1);

/// Clears a terminal and goes to its upper left corner (ECMA-48, ED and CUP).
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Show what instances use of CPUs, memory, tasks and block devices, again each second
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex stats
  duplex stats --no-stream web
  duplex stats --json web | jq '.[0].usage.memory.current'

What its control group counts is shown, so it wants one; `-` stands for what is not counted. Of a
VM that is what the guest, its devices and duplex itself use together.")]
pub(super) struct Args {
    /// Once, after a second in which CPU time is counted
    #[arg(long)]
    no_stream: bool,
    /// All that is counted, as JSON, once
    #[arg(long)]
    json: bool,
    /// Which, by name [default: all that run here]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Serialize)]
struct Sample<'a> {
    name: &'a str,
    /// CPU time for each second of it, in percent of one CPU.
    cpu_percent: Option<f64>,
    usage: Usage,
}

/// Shows it until interrupted, or once.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let named =
        args.names.iter().map(|name| instances::find(name)).collect::<Result<Vec<_>, _>>()?;
    if named.iter().any(|found| found.about.testbed) {
        return there(args, &named);
    }
    let mut before: Vec<(String, Usage)> = Vec::new();
    let mut since = Instant::now();
    loop {
        let now = sample(args)?;
        let elapsed = since.elapsed();
        since = Instant::now();
        let first = before.is_empty();
        let samples: Vec<_> =
            now.iter().map(|(name, usage)| compare(name, usage, &before, elapsed)).collect();
        if args.json && !first {
            let mut out = io::stdout().lock();
            serde_json::to_writer_pretty(&mut out, &samples)?;
            writeln!(out)?;
            return Ok(ExitCode::SUCCESS);
        }
        if !args.json && (!first || !args.no_stream) {
            show(&samples, !args.no_stream)?;
        }
        if now.is_empty() || (args.no_stream && !first) {
            return Ok(ExitCode::SUCCESS);
        }
        before = now;
        thread::sleep(INTERVAL);
    }
}

/// All at once, where they are.
fn there(args: &Args, named: &[Found]) -> Result<ExitCode, Box<dyn Error>> {
    let here = named.iter().find(|found| !found.about.testbed);
    if let Some(here) = here {
        let name = &here.about.name;
        return Err(format!(
            "{name} runs here, others in the testbed, and they cannot be shown together: name either"
        )
        .into());
    }
    let mut arguments: Vec<OsString> = vec!["stats".into()];
    arguments.extend(args.no_stream.then(|| "--no-stream".into()));
    arguments.extend(args.json.then(|| "--json".into()));
    arguments.extend(args.names.iter().map(Into::into));
    match named.first() {
        Some(first) => Ok(in_testbed(first, arguments)?.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// What is counted now. One that ends is left out, unless it was named.
fn sample(args: &Args) -> Result<Vec<(String, Usage)>, instances::Error> {
    if args.names.is_empty() {
        let mut samples = Vec::new();
        for found in instances::all()? {
            if !found.about.testbed && !matches!(found.status()?, Status::Ended(_)) {
                let usage = found.usage().unwrap_or_default();
                samples.push((found.about.name, usage));
            }
        }
        return Ok(samples);
    }
    let named = |name: &String| {
        let found = instances::find(name)?;
        Ok((name.clone(), found.usage()?))
    };
    args.names.iter().map(named).collect()
}

fn compare<'a>(
    name: &'a str,
    usage: &Usage,
    before: &[(String, Usage)],
    elapsed: Duration,
) -> Sample<'a> {
    let earlier = before.iter().find(|(known, _)| known == name);
    let spent =
        earlier.and_then(|(_, earlier)| usage.cpu.total_us?.checked_sub(earlier.cpu.total_us?));
    #[expect(clippy::cast_precision_loss, reason = "exact for a thousand years")]
    let percent = |spent: u64| spent as f64 / elapsed.as_secs_f64() / 10_000.0;
    Sample { name, cpu_percent: spent.map(percent), usage: usage.clone() }
}

fn show(samples: &[Sample<'_>], again: bool) -> io::Result<()> {
    let mut table = super::table(&[
        "NAME",
        "CPU %",
        "THROTTLED",
        "MEMORY",
        "PEAK",
        "LIMIT",
        "OOM KILLS",
        "TASKS",
        "READ",
        "WRITTEN",
    ]);
    for Sample { name, cpu_percent, usage } in samples {
        let bytes = |number: Option<u64>| number.map(size);
        let io = usage.io.as_ref();
        let cells = [
            Some((*name).to_owned()),
            cpu_percent.map(|percent| format!("{percent:.1}")),
            usage
                .cpu
                .throttled_us
                .map(|us| format!("{:.1} s", Duration::from_micros(us).as_secs_f64())),
            bytes(usage.memory.current),
            bytes(usage.memory.peak),
            bytes(usage.memory.limit),
            usage.memory.oom_kills.map(|number| number.to_string()),
            usage.tasks.current.map(|number| number.to_string()),
            bytes(io.map(|io| io.read_bytes)),
            bytes(io.map(|io| io.written_bytes)),
        ];
        table.add_row(cells.map(|cell| cell.unwrap_or_else(|| "-".into())));
    }
    let mut out = io::stdout().lock();
    if again && out.is_terminal() {
        write!(out, "{CLEAR}")?;
    }
    writeln!(out, "{table}")?;
    out.flush()
}

/// A number of bytes, as one reads it.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "rounded anyway")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{value:.digits$} {}", UNITS.get(unit).unwrap_or(&"B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (1 << 60, "1048576.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_share_is_of_one_cpu() {
        let at = |total| Usage {
            cpu: crate::isolate::cgroups::Cpu { total_us: total, ..Default::default() },
            ..Usage::default()
        };
        let before = [("a".to_owned(), at(Some(1_000_000)))];
        let second = Duration::from_secs(2);
        let share = |name, usage: &Usage| compare(name, usage, &before, second).cpu_percent;
        assert_eq!(share("a", &at(Some(2_000_000))), Some(50.0));
        assert_eq!(share("a", &at(None)), None);
        assert_eq!(share("b", &at(Some(5))), None);
    }
}
