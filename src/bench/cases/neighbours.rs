//! A victim beside neighbours that want more than their share, all behind walls of the same kind.

use std::process::Command;

use super::asked::{Asker, job};
use super::density::room::available_memory;
use super::held::Held;
use super::yard::Yard;
use crate::bench::contender::{Contender, Job};
use crate::bench::ground::Ground;
use crate::bench::results::{Contender as Described, Place, Table, Unit, Wall};
use crate::bench::rounds::Measured;
use crate::bench::schedule::Schedule;

/// What a victim's requests are measured in.
const FIGURES: [(&str, Unit); 8] = [
    ("throughput", Unit::PerSecond),
    ("request", Unit::Milliseconds),
    ("request_p99", Unit::Milliseconds),
    ("compute", Unit::Milliseconds),
    ("compute_p99", Unit::Milliseconds),
    ("memory", Unit::Milliseconds),
    ("fork", Unit::Milliseconds),
    ("disk", Unit::Milliseconds),
];

/// The situation that others are compared with.
pub(in crate::bench) const ALONE: &str = "alone";

/// How many requests a victim serves, and how many seconds a neighbour makes noise at most: natively, and
/// emulated.
const REQUESTS: [&str; 2] = ["200", "40"];
const SECONDS: [&str; 2] = ["60", "300"];

/// What limited neighbours may use.
const LIMITED: Limits = Limits { cpus: 0.25, memory: 64 << 20, pids: 32 };

struct Limits {
    cpus: f64,
    memory: u64,
    pids: u64,
}

/// What a VM needs beside its workload.
const GUEST: u64 = 96 << 20;

/// Numbers of starts that a turn has for itself.
const NUMBERS: u64 = 64;

/// One neighbour: what it eats, and how much of it: threads, MiB, processes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) struct Neighbour {
    pub(in crate::bench) eats: &'static str,
    pub(in crate::bench) amount: u64,
}

impl Neighbour {
    /// How much it eats. Of memory no more than half of what it may have: beyond its limit it would be killed, and
    /// nobody would be beside the victim any more.
    fn eaten(&self, limited: bool) -> u64 {
        match limited && self.eats == "memory" {
            true => self.amount.min(LIMITED.memory >> 21),
            false => self.amount,
        }
    }
}

/// Who is beside the victim.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Situation {
    described: Described,
    neighbours: Vec<Neighbour>,
    limited: bool,
}

impl Situation {
    /// Nobody.
    pub(in crate::bench) fn alone() -> Self {
        Self::of(ALONE, "alone", Vec::new(), false)
    }

    /// These, called so in tables.
    pub(in crate::bench) fn of(
        id: &str,
        name: &str,
        neighbours: Vec<Neighbour>,
        limited: bool,
    ) -> Self {
        let (id, name) = (id.to_owned(), name.to_owned());
        let described = Described { id, name, wall: Wall::Process, version: None, missing: None };
        Self { described, neighbours, limited }
    }
}

/// Situations take turns as contenders do elsewhere.
impl Contender for Situation {
    fn described(&self) -> &Described {
        &self.described
    }

    fn command(&self, _job: &Job, _number: u64) -> Result<Command, String> {
        Err("a situation is no command".into())
    }
}

/// What a referee has to know of it.
pub(in crate::bench) fn how(place: Place) -> String {
    let [requests, seconds] =
        [REQUESTS, SECONDS].map(|pair| pair[usize::from(place != Place::Host)]);
    format!(
        "The victim serves {requests} requests one after the other and times each part by its own monotonic clock: it \
         computes 100,000 steps (compute), takes and touches 256 KiB (memory), has a child that ends (fork), and \
         writes 4 KiB so that they last (disk); request is the whole. Figures are medians of the requests, \
         request_p99 and compute_p99 their 99th percentiles (of less than a hundred, the greatest), throughput requests a second. Situations take turns in an order drawn \
         for each round; ratios are to the same victim alone in the same round. A neighbour says that it has begun \
         before the victim starts, and is ended after it; it makes noise for {seconds} s at most. Limited neighbours \
         have a quarter of a processor, 64 MiB (of which they eat half: beyond the limit they would be killed) and 32 tasks, \
         the others no limits of a control group (a VM has one \
         vCPU and as much memory as its noise takes). The victim has 256 MiB and the same file system."
    )
}

/// Gives each situation its turns, victim and neighbours behind the wall of `contender`.
pub(in crate::bench) fn stage(
    ground: &mut Ground<'_>,
    contender: &dyn Contender,
    (situations, rounds): (&[Situation], u32),
    table: &mut Table,
) -> Result<(), String> {
    let yard = Yard::prepare(ground)?;
    let asker = Asker::on(ground.place, ground.stop);
    let place = usize::from(ground.place != Place::Host);
    let all: Vec<&dyn Contender> = situations.iter().map(|one| one as &dyn Contender).collect();
    let schedule =
        Schedule { warm_up: 0, rounds: ground.schedule.rounds.min(rounds), ..ground.schedule };
    let found = ground.rounds_of(&all, schedule, Some(ALONE), |one, turn| {
        let situation = situations.iter().find(|known| known.described.id == one.described().id);
        let situation = situation.ok_or("no such situation")?;
        let first = turn.number * NUMBERS;
        let seen = scene(&asker, contender, situation, &yard, (first, place));
        (first..=first + NUMBERS - 1)
            .take(situation.neighbours.len() + 1)
            .for_each(|number| contender.clean_up(number));
        seen
    });
    table.baseline = Some(ALONE.to_owned());
    table.take(found);
    Ok(())
}

fn scene(
    asker: &Asker<'_>,
    contender: &dyn Contender,
    situation: &Situation,
    yard: &Yard,
    (first, place): (u64, usize),
) -> Result<Vec<Measured>, String> {
    let directory = yard.seen_by(contender);
    let is_vm = contender.described().wall == Wall::Vm;
    let mut neighbours = Vec::new();
    for (number, neighbour) in (first + 1..).zip(&situation.neighbours) {
        let amount = neighbour.eaten(situation.limited).to_string();
        let noise = job(&["noise", neighbour.eats, SECONDS[place], &amount, &directory]);
        let job = Job { data: Some(yard.data()), ..noise };
        let job = limited(job, neighbour, situation.limited, is_vm);
        let mut held = Held::start(asker, contender, job, number)?;
        while held.line(asker)?.trim() != "ready" {}
        neighbours.push(held);
    }
    let victim = job(&["victim", REQUESTS[place], &directory]);
    let answer = asker.ask(contender, &Job { data: Some(yard.data()), ..victim }, first)?;
    for (neighbour, held) in situation.neighbours.iter().zip(&neighbours) {
        if held.has_ended() {
            return Err(format!("the neighbour that eats {} had ended before", neighbour.eats));
        }
    }
    // Killed: it may have minutes of work before it.
    drop(neighbours);
    answer.figures(&FIGURES)
}

fn limited(job: Job, neighbour: &Neighbour, limited: bool, is_vm: bool) -> Job {
    if limited {
        let Limits { cpus, memory, pids } = LIMITED;
        return Job { cpus: Some(cpus), memory: Some(memory), pids: Some(pids), ..job };
    }
    let needs = if neighbour.eats == "memory" { neighbour.amount << 20 } else { 0 };
    Job { memory: is_vm.then_some(needs + GUEST), unlimited: true, ..job }
}

/// What of this machine's memory a neighbour may eat, in MiB: so much of what is available, in percent.
pub(in crate::bench) fn memory_share(percent: u64) -> u64 {
    (available_memory().unwrap_or(0) >> 20) * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_limited_has_no_limits_but_a_vm_its_size() {
        let neighbour = Neighbour { eats: "memory", amount: 100 };
        let of = |is_limited, is_vm| limited(Job::default(), &neighbour, is_limited, is_vm);
        assert!(of(false, false).unlimited && of(false, false).memory.is_none());
        assert_eq!(of(false, true).memory, Some(196 << 20));
        assert_eq!((of(true, false).cpus, of(true, false).unlimited), (Some(0.25), false));
        assert_eq!((neighbour.eaten(true), neighbour.eaten(false)), (32, 100));
    }

    #[test]
    fn a_share_of_memory_is_less_than_all() {
        assert!(memory_share(50) > 0 && memory_share(50) < memory_share(100));
    }
}
