//! How long until the workload says something: `duplex bench start`.

mod caches;
mod phases;
mod tick;

use super::contender::{Contender, Job};
use super::ground::Ground;
use super::observer::{Bounds, Observation, observe};
use super::results::{Case, Place, Series, Table, Unit, Wall};
use super::rounds::{self, Measured, Turn};
use super::workshop::{PROBE, READY};

/// All get as much: a processor's time, and memory.
const CPUS: f64 = 1.0;
const MEMORY: u64 = 128 << 20;

/// Whom others are compared with.
const BASELINE: &str = "process";

/// How much of the standard error of a start with its timing is kept.
const TIMING: usize = 1 << 20;

/// What is appended to a metric from which the observer's own share has been subtracted.
pub const LESS_OBSERVER: &str = "_less_observer";

/// The job whose start is timed.
pub fn job() -> Job {
    Job { argv: vec![PROBE.to_owned()], cpus: Some(CPUS), memory: Some(MEMORY), ..Job::default() }
}

/// What is watched for, and for how long.
pub fn bounds() -> Bounds {
    Bounds { marker: READY.to_vec(), ..Bounds::default() }
}

/// One way of starting, with a table of its own.
struct Variant {
    word: &'static str,
    title: &'static str,
    how: &'static str,
    cold: bool,
}

const WARM: Variant = Variant {
    word: "warm",
    title: "Start, files in memory",
    how: "All that a start reads lies in the page cache, after the rounds of the warm-up.",
    cold: false,
};

const COLD: Variant = Variant {
    word: "cold",
    title: "Start, files not in memory",
    how: "Before each start the page cache forgets the image's files and the programs that the contender is called \
          by; on the host, what an engine starts beside them (a monitor, its runtime, a VMM's firmware) and its own \
          copy of the image stay.",
    cold: true,
};

const COUNTED: Variant = Variant {
    word: "",
    title: "Start, in instructions",
    how: "The clock of this machine advances by a nanosecond with each instruction that it executes, \
          host kernel, VMM and guest alike: a million instructions are one millisecond on it, and so is a \
          millisecond in which all wait. All files lie in its memory. It has one processor. Starts begin at places \
          that are spread evenly between two ticks of its kernel, for some of them wait for the next one.",
    cold: false,
};

/// All tables of this case that this place has.
pub fn tables(ground: &mut Ground<'_>) -> Vec<Table> {
    let variants: &[Variant] = match ground.place {
        Place::Counting => &[COUNTED],
        Place::Host | Place::Testbed => &[WARM, COLD],
    };
    let mut tables: Vec<Table> = Vec::new();
    for variant in variants {
        tables.push(starts(ground, variant));
    }
    if let Some(table) = consoles(ground) {
        tables.push(table);
    }
    if let Some(first) = tables.first_mut() {
        first.timelines = phases::timelines(ground);
    }
    tables
}

fn starts(ground: &mut Ground<'_>, variant: &Variant) -> Table {
    let how = format!("{} {METHOD}", variant.how);
    let mut table = ground.table(Case::Start, variant.word, variant.title, how);
    let job = job();
    let with_observer: Vec<&dyn Contender> =
        std::iter::once(ground.observer).chain(ground.contenders.iter().copied()).collect();
    let (workshop, place, stop) = (ground.workshop, ground.place, ground.stop);
    let take = |contender: &dyn Contender, turn: Turn| {
        if variant.cold {
            caches::forget(workshop, contender, place)?;
        }
        let mut command = contender.command(&job, turn.number)?;
        wait_for_turn(place, turn)?;
        let seen = observe(&mut command, &bounds(), stop);
        seen.map(|seen| figures(&seen, "", place)).map_err(|mishap| mishap.to_string())
    };
    table.take(ground.rounds_of(&with_observer, ground.schedule, None, take));
    let observers = ground.observer.described().id.clone();
    let less = less(&table.series, &observers);
    table.series.extend(less);
    rounds::summarize(&mut table.series, Some(BASELINE), ground.schedule.seed);
    table.baseline = Some(BASELINE.to_owned());
    table
}

const METHOD: &str = "The clock starts before the contender's process does. It is read when the first byte \
    that the probe writes has come to the observer's pipe (first_byte), and when the contender's process has \
    ended (exit). Containers and VMs are limited to one processor's time and 128 MiB where the contender has \
    limits; a VM has one processor and that much memory. The observer's own share is measured beside them, by \
    the least program there can be, and subtracted from each sample of the same round in the figures that are \
    called so.";

/// The figures of a start.
fn figures(seen: &Observation, prefix: &str, place: Place) -> Vec<Measured> {
    let unit = unit(place);
    let times = [("first_byte", seen.first_byte), ("exit", seen.exit)];
    times
        .map(|(metric, time)| {
            Measured::new(format!("{prefix}{metric}"), unit, time.as_secs_f64() * 1000.0)
        })
        .into()
}

/// Where instructions are counted: waits for this round's place between two ticks of the kernel.
fn wait_for_turn(place: Place, turn: Turn) -> Result<(), String> {
    match place {
        Place::Counting => tick::wait_for(turn.progress)
            .map_err(|error| format!("the clock cannot be waited for: {error}")),
        Place::Host | Place::Testbed => Ok(()),
    }
}

/// What a millisecond of a place's clock is.
fn unit(place: Place) -> Unit {
    match place {
        Place::Counting => Unit::MillionInstructions,
        Place::Host | Place::Testbed => Unit::Milliseconds,
    }
}

/// The same series without what the observer's own took in the same round.
fn less(series: &[Series], observer: &str) -> Vec<Series> {
    let of_observer =
        |metric: &str| series.iter().find(|one| one.contender == observer && one.metric == metric);
    let others = series.iter().filter(|one| one.contender != observer);
    let subtract = |one: &Series| {
        let share = of_observer(&one.metric)?;
        let pairs = one.samples.iter().zip(&share.samples);
        let samples = pairs.map(|(own, share)| Some(own.as_ref()? - share.as_ref()?)).collect();
        Some(Series {
            metric: format!("{}{LESS_OBSERVER}", one.metric),
            samples,
            summary: None,
            ratio: None,
            ..one.clone()
        })
    };
    others.filter_map(subtract).collect()
}

/// VMs whose kernel says what it does on the serial console, and the same without, in turns.
fn consoles(ground: &mut Ground<'_>) -> Option<Table> {
    let on = Job { serial_console: true, ..job() };
    let talks =
        |one: &&&dyn Contender| one.described().wall == Wall::Vm && one.command(&on, 0).is_ok();
    let vms: Vec<&dyn Contender> = ground.contenders.iter().filter(talks).copied().collect();
    let baseline = vms.first()?.described().id.clone();
    let how = format!(
        "In each turn the VM is started twice: once with the kernel's messages on the serial console \
         (console_on), once without (console_off); the probe's line comes over it in both. {METHOD}"
    );
    let mut table =
        ground.table(Case::Start, "console", "Start of a VM, serial console on and off", how);
    let (off, place, stop) = (job(), ground.place, ground.stop);
    let take = |contender: &dyn Contender, turn: Turn| {
        let mut all = Vec::new();
        let mut both = [(&on, "console_on."), (&off, "console_off.")];
        // What the first start warms the second finds warm.
        if turn.number.is_multiple_of(2) {
            both.reverse();
        }
        for (job, prefix) in both {
            let mut command = contender.command(job, turn.number)?;
            wait_for_turn(place, turn)?;
            let seen =
                observe(&mut command, &bounds(), stop).map_err(|mishap| mishap.to_string())?;
            all.extend(figures(&seen, prefix, place));
        }
        Ok(all)
    };
    table.take(ground.rounds_of(&vms, ground.schedule, Some(&baseline), take));
    table.baseline = Some(baseline);
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_observers_share_is_subtracted_round_by_round() {
        let series = |contender: &str, samples: Vec<Option<f64>>| Series {
            contender: contender.into(),
            metric: "exit".into(),
            unit: Unit::Milliseconds,
            samples,
            summary: None,
            ratio: None,
        };
        let all = [
            series("observer", vec![Some(1.0), Some(2.0), None]),
            series("crun", vec![Some(11.0), None, Some(9.0)]),
        ];
        let [found] = &less(&all, "observer")[..] else { panic!() };
        assert_eq!(
            (found.metric.as_str(), found.contender.as_str()),
            ("exit_less_observer", "crun")
        );
        assert_eq!(found.samples, [Some(10.0), None, None]);
    }
}
