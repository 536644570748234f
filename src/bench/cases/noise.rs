//! How much a neighbour disturbs, without limits and with.

use super::neighbours::{Neighbour, Situation, how, memory_share, stage};
use crate::bench::contender::Contender;
use crate::bench::ground::Ground;
use crate::bench::results::{Case, Fact, Place, Table, Wall};

/// The most rounds, for each has nine situations, every one a start of two instances: the fewest whose extremes hold the
/// true median in 19 of 20 runs.
const ROUNDS: u32 = 6;
/// What neighbours eat in VMs whose processors are emulated: nine situations of two boots would take an hour.
const EATEN_EMULATED: [&str; 2] = ["cpu", "disk"];

/// What of the available memory a neighbour eats, in percent, and the most, in MiB.
const MEMORY: u64 = 20;
const MOST_MEMORY: u64 = 512;
/// MiB of a file that is written again and again.
const FILE: u64 = 32;
/// Processes that are there at a time.
const FORKS: u64 = 64;

/// A table for each half: the victim alone, and beside a neighbour of each kind.
pub fn run(ground: &mut Ground<'_>) -> Vec<Table> {
    let halves: Vec<&dyn Contender> = halves(ground);
    halves.into_iter().map(|half| beside(ground, half)).collect()
}

/// Of those that take part, those that noise is made behind.
pub(in crate::bench) fn halves<'a>(ground: &Ground<'a>) -> Vec<&'a dyn Contender> {
    let own =
        |one: &&&dyn Contender| ["duplex-container", "duplex-vm"].contains(&&*one.described().id);
    ground.contenders.iter().filter(own).copied().collect()
}

fn beside(ground: &mut Ground<'_>, half: &dyn Contender) -> Table {
    let id = half.described().id.clone();
    let title = format!("Noise of neighbours: {}", half.described().name);
    let mut table = ground.table(Case::Noise, &id, &title, how(ground.place));
    let emulated = ground.place != Place::Host;
    let mut kinds = kinds(memory_share(MEMORY).min(MOST_MEMORY)).to_vec();
    if emulated && half.described().wall == Wall::Vm {
        kinds.retain(|kind| EATEN_EMULATED.contains(&kind.eats));
    }
    if let Err(reason) = stage(ground, half, (&situations(&kinds), ROUNDS), &mut table) {
        table.failures.push(Fact { name: id, value: reason });
    }
    table
}

/// Nobody, and each kind, without limits and with.
fn situations(kinds: &[Neighbour]) -> Vec<Situation> {
    let mut all = vec![Situation::alone()];
    for &neighbour in kinds {
        let eats = neighbour.eats;
        let of = |id: &str, how: &str, limited| {
            let name = format!("beside one that eats {eats}, {how}");
            Situation::of(id, &name, vec![neighbour], limited)
        };
        all.push(of(eats, "without limits", false));
        all.push(of(&format!("{eats}-limited"), "limited", true));
    }
    all
}

/// A neighbour of each kind.
pub(in crate::bench) fn kinds(memory: u64) -> [Neighbour; 4] {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = u64::try_from(processors).unwrap_or(1) * 2;
    [("cpu", threads), ("memory", memory.max(1)), ("disk", FILE), ("forks", FORKS)]
        .map(|(eats, amount)| Neighbour { eats, amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_met_without_limits_and_with() {
        let kinds = kinds(100);
        let ids: Vec<String> =
            situations(&kinds).iter().map(|one| one.described().id.clone()).collect();
        assert_eq!(ids.len(), 9);
        assert_eq!(ids[..3], ["alone", "cpu", "cpu-limited"]);
    }
}
