//! A burst of 50 instances: VMs of a distribution's kernel, tuned VMs, containers.

mod cold;

use std::cell::RefCell;
use std::collections::BTreeMap;

use self::cold::ColdVm;
use crate::bench::cases::asked::Asker;
use crate::bench::cases::density::room::Room;
use crate::bench::cases::density::{Burst, burst, more_time};
use crate::bench::contender::Contender;
use crate::bench::ground::Ground;
use crate::bench::results::{Case, Curve, Fact, Finding, Place, Table, Unit};
use crate::bench::rounds::Measured;
use crate::bench::schedule::Schedule;

pub(super) const STORY: &str = "\
Traffic has come, and 50 more instances are wanted at once: first as VMs that boot a distribution's kernel, then as
VMs with the tuned kernel and little memory, then as containers. What is measured is how long until the first, the
tenth, the last of them answers. Where this machine has no room for 50 of a kind, as many are started as it has.
";

/// How many are wanted.
const WANTED: u32 = 50;

/// How many VMs at most where all is emulated: two processors boot them one after the other.
const EMULATED: u32 = 6;

/// Rounds: a burst has as many samples as instances.
const ROUNDS: u32 = 3;
const ROUNDS_EMULATED: u32 = 1;

/// Memory of each: of a VM of a distribution's kernel, and of all others; and what of it is thought to be touched,
/// as a quarter.
const MEMORY_COLD: u64 = 512 << 20;
const MEMORY: u64 = 128 << 20;

/// Numbers of starts that a turn has for itself.
const NUMBERS: u64 = 1 << 20;

/// A VM's start with the tuned kernel, by the same command and console as the cold one's.
const TUNED: &str = "duplex-boot";
const CONTAINER: &str = "duplex-container";

pub(super) fn run(ground: &mut Ground<'_>, wanted: Option<u32>) -> Table {
    let wanted = wanted.unwrap_or(WANTED);
    let how = format!(
        "{wanted} instances are started at the same moment, by a thread each, and wait, when they have said that they \
         run, until all have; contenders in an order drawn for each round. first, median, last: from an instance's \
         start until its first byte, of the fastest, the one in the middle, and the slowest; the curve has all of \
         them: fewer than {wanted} where this machine has no more room (its end says why). {}: `duplex boot` with Debian's kernel and {} MiB; {TUNED}: the same with the tuned kernel \
         and {} MiB, the same initramfs and console; {CONTAINER}: {} MiB at most.",
        cold::ID,
        MEMORY_COLD >> 20,
        MEMORY >> 20,
        MEMORY >> 20
    );
    let mut table = ground.table(Case::Lab, "slow-scaling", "Lab: 50 more, at once", how);
    let is_in = |one: &&&dyn Contender| [TUNED, CONTAINER].contains(&&*one.described().id);
    let mut all: Vec<&dyn Contender> = ground.contenders.iter().filter(is_in).copied().collect();
    // Its guest is a VM as well, so it wants what others of them have.
    let vms = all.iter().any(|one| one.described().id == TUNED);
    let cold = vms.then(|| ColdVm::find(ground.workshop)).transpose();
    let cold = cold.unwrap_or_else(|value| {
        table.failures.push(Fact { name: cold::ID.into(), value });
        None
    });
    all.extend(cold.as_ref().map(|cold| cold as &dyn Contender));
    let (asker, place) = (Asker::on(ground.place, ground.stop), ground.place);
    let most = if place == Place::Host { ROUNDS } else { ROUNDS_EMULATED };
    let rounds = ground.schedule.rounds.min(most);
    let schedule = Schedule { warm_up: 0, rounds, ..ground.schedule };
    let curves: RefCell<BTreeMap<String, Curve>> = RefCell::default();
    let found = ground.rounds_of(&all, schedule, Some(CONTAINER), |one, turn| {
        let (burst, end) = largest(&asker, one, place, (turn.number * NUMBERS, wanted))?;
        let curve = curve(one, &burst, end);
        curves.borrow_mut().insert(one.described().id.clone(), curve);
        Ok(figures(&burst))
    });
    table.baseline = Some(CONTAINER.into());
    table.take(found);
    table.curves = curves.into_inner().into_values().collect();
    table.findings = findings(&table, wanted);
    table
}

fn memory_of(contender: &dyn Contender) -> u64 {
    if contender.described().id == cold::ID { MEMORY_COLD } else { MEMORY }
}

/// As many as there is room for; and why not all.
fn largest(
    asker: &Asker<'_>,
    contender: &dyn Contender,
    place: Place,
    (first, wanted): (u64, u32),
) -> Result<(Burst, String), String> {
    let memory = memory_of(contender);
    let is_container = contender.described().id == CONTAINER;
    let room = Room::new(if is_container { memory / 8 } else { memory / 4 + memory / 8 });
    let mut end = "all that were wanted".to_owned();
    let mut size = wanted;
    if !is_container && place != Place::Host && size > EMULATED {
        size = EMULATED;
        end = format!("no more than {EMULATED} VMs, for their processors are emulated");
    }
    while let Err(reason) = room.is_there_for(size) {
        if size == 1 {
            return Err(reason);
        }
        end = format!("no more: {reason}");
        size = size * 4 / 5;
    }
    let asker = asker.clone().with_more(more_time(place, size));
    burst(&asker, contender, memory, first, size).map(|burst| (burst, end))
}

fn figures(burst: &Burst) -> Vec<Measured> {
    let of = |metric, value| Measured::new(metric, Unit::Milliseconds, value);
    let at = |index: usize| burst.latencies.get(index).copied().unwrap_or_default();
    let last = burst.latencies.len().saturating_sub(1);
    vec![
        of("first", at(0)),
        of("median", at(last / 2)),
        of("last", at(last)),
        Measured::new("memory", Unit::Bytes, burst.memory),
    ]
}

/// How many answer by when.
fn curve(contender: &dyn Contender, burst: &Burst, end: String) -> Curve {
    Curve {
        contender: contender.described().id.clone(),
        metric: "answers_after".into(),
        unit: Unit::Milliseconds,
        points: (1..).zip(burst.latencies.iter().copied()).collect(),
        end,
    }
}

/// The same in words, with what mends it.
fn findings(table: &Table, wanted: u32) -> Vec<Finding> {
    let median = |id: &str, metric: &str| -> Option<f64> {
        let of = |one: &&crate::bench::results::Series| one.contender == id && one.metric == metric;
        Some(table.series.iter().find(of)?.summary.as_ref()?.median.value)
    };
    let told = |id: &str| {
        let curve = table.curves.iter().find(|curve| curve.contender == id)?;
        let count = f64::from(curve.points.last()?.0);
        let (first, last) = (median(id, "first")?, median(id, "last")?);
        let memory = median(id, "memory")?;
        Some(format!(
            "{count} instances: the first answers after {first:.0} ms, the last after {last:.0} ms ({:.0} ms for each), \
             {:.1} MiB each",
            last / count,
            memory / f64::from(1 << 20)
        ))
    };
    let found = [cold::ID, TUNED, CONTAINER]
        .into_iter()
        .filter_map(|id| Some((id.to_owned(), told(id)?)))
        .collect();
    vec![Finding {
        subject: format!("a burst of {wanted}"),
        meaning: "What mends a VM's slow start is what it does not do: a kernel without what a guest has no use for, \
                  and little memory to describe. What remains is the price of a kernel of one's own."
            .into(),
        found,
    }]
}
