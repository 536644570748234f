//! How many instances can be started at once, how fast, and what each needs.

mod curves;
pub(in crate::bench) mod room;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use self::curves::{at, take_curves};
use self::room::Room;
use super::asked::{Asker, job};
use super::held::Held;
use super::processes::{Census, is_seen, proportional};
use crate::bench::contender::{Contender, Job};
use crate::bench::ground::Ground;
use crate::bench::results::{Case, Place, Table, Unit, Wall};
use crate::bench::rounds::{Measured, Turn};
use crate::bench::schedule::Schedule;
use crate::bench::statistics::quantile;

/// Memory of each: what a VM of the tuned kernel runs in, with room for the probe.
const MEMORY: u64 = 128 << 20;

/// The most rounds, for each starts hundreds of instances: the fewest whose extremes hold the true median in 19 of 20
/// runs.
const ROUNDS: u32 = 6;

/// More time for each instance that starts at the same moment, natively and emulated.
const EACH: Duration = Duration::from_secs(2);
const EACH_EMULATED: Duration = Duration::from_secs(15);

/// What the probe's output begins with when it waits.
const SAID: &[u8] = b"{\"state\"";

/// Numbers of starts that a turn has for itself.
const NUMBERS: u64 = 1 << 20;

/// Bursts of 1, 2, 4, … instances, up to as many as were asked for or the machine has room for.
pub fn run(ground: &mut Ground<'_>, instances: u32) -> Table {
    let schedule =
        Schedule { warm_up: 0, rounds: ground.schedule.rounds.min(ROUNDS), ..ground.schedule };
    let how = format!(
        "Bursts of 1, 2, 4, … instances, up to {instances}: all of a burst are started at the same moment, by a \
         thread each, and wait, when they have said that they run, until all have. latency: from an instance's \
         start (fork and exec of its caller included) to its first byte, the median of the burst; latency_p95: \
         that of the slowest twentieth; starts_per_second: instances divided by the time until the last had said \
         something; memory: the proportional set size of all processes that the burst brought, divided by the \
         instances, at that moment. {} rounds, contenders in an order drawn for each; curves show the medians of \
         the rounds, the other figures are of one instance and of the largest burst that all contenders \
         reached. Memory: 128 MiB each. A burst for which this machine may lack memory or descriptors is not \
         started; where a curve ends it says why.",
        schedule.rounds
    );
    let mut table = ground.table(Case::Density, "", "Many at once", how);
    let baseline = ground.baseline();
    let asker = Asker::on(ground.place, ground.stop);
    let place = ground.place;
    let ends: RefCell<BTreeMap<String, String>> = RefCell::default();
    let found = ground.rounds(schedule, baseline.as_deref(), |one, turn| {
        let (figures, end) = grow(&asker, one, place, turn, instances)?;
        ends.borrow_mut().insert(one.described().id.clone(), end);
        Ok(figures)
    });
    table.take(found);
    table.baseline = baseline;
    take_curves(&mut table, &ends.into_inner());
    table
}

/// One burst after the other; and why there is no larger one.
fn grow(
    asker: &Asker<'_>,
    contender: &dyn Contender,
    place: Place,
    turn: Turn,
    instances: u32,
) -> Result<(Vec<Measured>, String), String> {
    let mut room =
        Room::new(if contender.described().wall == Wall::Vm { MEMORY } else { MEMORY / 8 });
    let mut figures = Vec::new();
    let mut number = turn.number * NUMBERS;
    for size in sizes(instances) {
        if let Err(reason) = room.is_there_for(size) {
            return Ok((figures, format!("{size} were not started: {reason}")));
        }
        let asker = asker.clone().with_more(more_time(place, size));
        match burst(&asker, contender, MEMORY, number, size) {
            Ok(burst) => {
                room.needed(burst.memory);
                figures.extend(burst.figures());
            }
            Err(reason) if figures.is_empty() => return Err(reason),
            Err(reason) => return Ok((figures, format!("{size} did not start: {reason}"))),
        }
        number += u64::from(size);
    }
    Ok((figures, "all that were asked for".into()))
}

/// How much longer so many may take than one.
pub(in crate::bench) fn more_time(place: Place, size: u32) -> Duration {
    let each = if place == Place::Host { EACH } else { EACH_EMULATED };
    each * size
}

/// 1, 2, 4, … and the last.
fn sizes(most: u32) -> impl Iterator<Item = u32> {
    let doubled = std::iter::successors(Some(1_u32), |size| size.checked_mul(2));
    doubled.take_while(move |size| *size < most).chain(std::iter::once(most.max(1)))
}

/// One burst, seen from outside.
pub(in crate::bench) struct Burst {
    pub(in crate::bench) size: u32,
    /// From the first one's start until all had said something.
    all: Duration,
    /// From each one's own start to its first byte, sorted, in milliseconds.
    pub(in crate::bench) latencies: Vec<f64>,
    /// What each needs, in bytes.
    pub(in crate::bench) memory: f64,
}

impl Burst {
    fn figures(&self) -> [Measured; 4] {
        let rate = f64::from(self.size) / self.all.as_secs_f64();
        let of = |metric, unit, value| Measured::new(at(metric, self.size), unit, value);
        [
            of("latency", Unit::Milliseconds, quantile(&self.latencies, 0.5)),
            of("latency_p95", Unit::Milliseconds, quantile(&self.latencies, 0.95)),
            of("starts_per_second", Unit::PerSecond, rate),
            of("memory", Unit::Bytes, self.memory),
        ]
    }
}

/// Starts so many at once, numbered from `first` on, each with so much memory.
pub(in crate::bench) fn burst(
    asker: &Asker<'_>,
    contender: &dyn Contender,
    memory: u64,
    first: u64,
    size: u32,
) -> Result<Burst, String> {
    let numbers = first..first + u64::from(size);
    let job = Job { memory: Some(memory), input: true, ..job(&["hold", "0"]) };
    let commands: Result<Vec<Command>, String> =
        numbers.clone().map(|number| contender.command(&job, number)).collect();
    let mut asker = asker.clone();
    // A guest's kernel may say something before that on the console.
    asker.bounds.marker = SAID.to_vec();
    let seen = commands.and_then(|commands| watch(&asker, contender, commands, size));
    numbers.for_each(|number| contender.clean_up(number));
    seen
}

/// One of a burst that has said something.
struct Started {
    held: Held,
    begun: Instant,
    latency: Duration,
}

/// Starts them all, and ends them when all have said something.
fn watch(
    asker: &Asker<'_>,
    contender: &dyn Contender,
    commands: Vec<Command>,
    size: u32,
) -> Result<Burst, String> {
    let census = Census::take()?;
    let together = Barrier::new(commands.len() + 1);
    let started = thread::scope(|scope| {
        let together = &together;
        let threads: Vec<_> = commands
            .into_iter()
            .map(|mut command| {
                scope.spawn(move || {
                    together.wait();
                    let begun = Instant::now();
                    let mut held = Held::of(asker, &mut command)?;
                    let latency = held.first_byte(asker)?;
                    Ok(Started { held, begun, latency })
                })
            })
            .collect();
        together.wait();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err("a thread of the observer's ended".into())));
        joined.collect::<Vec<Result<Started, String>>>()
    });
    // Those that did start are ended by being dropped, if one did not.
    let mut started = started.into_iter().collect::<Result<Vec<_>, _>>()?;
    // By their own clocks: this thread may have been woken up after the first had begun.
    let first = started.iter().map(|one| one.begun).min();
    let last = started.iter().map(|one| one.begun + one.latency).max();
    let all = last.zip(first).map(|(last, first)| last - first).unwrap_or_default();
    let family = census.newcomers();
    // What is not seen cannot be kept within what this machine has room for.
    is_seen(contender, &family)?;
    let memory = proportional(&family)? as f64 / f64::from(size);
    let mut latencies: Vec<f64> =
        started.iter().map(|one| one.latency.as_secs_f64() * 1000.0).collect();
    latencies.sort_unstable_by(f64::total_cmp);
    started.iter_mut().for_each(|one| one.held.tell_to_end());
    started.into_iter().try_for_each(|one| one.held.end(asker))?;
    Ok(Burst { size, all, latencies, memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_double_up_to_the_last() {
        let of = |most| sizes(most).collect::<Vec<_>>();
        assert_eq!(of(1), [1]);
        assert_eq!(of(8), [1, 2, 4, 8]);
        assert_eq!(of(50), [1, 2, 4, 8, 16, 32, 50]);
    }
}
