//! How fast a workload computes, and is served by its kernel.

use serde_json::Value;

use super::asked::{Asker, job};
use crate::bench::ground::Ground;
use crate::bench::results::{Case, Fact, Place, Table, Unit};
use crate::bench::rounds::Measured;

/// How long a sample of each kind takes the first contender, in milliseconds.
const SAMPLE: u32 = 100;
/// The same where all is emulated, and a guest takes many times as long.
const SAMPLE_EMULATED: u32 = 30;

/// What is counted in bytes; everything else in operations.
const BYTES: [&str; 2] = ["memory", "pipe"];

/// Nine kinds of work behind every wall, each the same amount for all.
pub fn run(ground: &mut Ground<'_>) -> Table {
    let sample = if ground.place == Place::Host { SAMPLE } else { SAMPLE_EMULATED };
    let how = format!(
        "In each turn the probe is started once and does nine kinds of work, each the same number of operations \
         for all contenders: as many as took {sample} ms when the first contender was asked beforehand. Its own \
         monotonic clock times each, without what is set up before. All work is on one processor, to which the \
         probe binds itself, so that a VM with one vCPU does the same as a process on a host with more; memory \
         is limited to 256 MiB, processors' time is not. integer and floating_point: a chain of \
         multiplications and additions; memory: 64 KiB blocks copied within 32 MiB; system_call: getppid(2); \
         context_switch: two processes that wait for each other's byte; page_fault: 4 KiB pages touched anew, \
         which the guest has from its host already; fork_exec: a child that executes the probe and ends; \
         pipe: 64 KiB blocks to another process; contention: four threads that want the same lock. More is \
         better; the ratio to the plain process is what the wall leaves of it."
    );
    let mut table = ground.table(Case::Cpu, "", "Computing, and being served by the kernel", how);
    table.baseline = ground.baseline();
    let counts = match calibrate(ground, sample) {
        Ok(counts) => counts,
        Err(reason) => {
            table.failures.push(Fact { name: "all".into(), value: reason });
            return table;
        }
    };
    let job = job(&counts);
    let asker = Asker::on(ground.place, ground.stop);
    let baseline = table.baseline.clone();
    let found = ground.rounds(ground.schedule, baseline.as_deref(), |one, turn| {
        let answer = asker.ask(one, &job, turn.number)?;
        let kinds = counts.iter().filter_map(|word| word.split_once('='));
        let figure = |(kind, _): (&str, &str)| {
            let bytes = BYTES.contains(&kind);
            let unit = if bytes { Unit::BytesPerSecond } else { Unit::PerSecond };
            Ok(Measured::new(kind, unit, answer.number(kind)?))
        };
        kinds.map(figure).collect()
    });
    table.take(found);
    table
}

/// How many operations of each kind take that long behind the first wall, as arguments.
fn calibrate(ground: &Ground<'_>, sample: u32) -> Result<Vec<String>, String> {
    let first = ground.contenders.first().ok_or("nobody takes part")?;
    let question = job(&["cpu".to_owned(), "calibrate".to_owned(), sample.to_string()]);
    let answer = ground.asker().ask(*first, &question, 0);
    first.clean_up(0);
    arguments(&answer?.0)
}

fn arguments(counts: &Value) -> Result<Vec<String>, String> {
    let counts = counts.as_object().ok_or("the probe counted nothing")?;
    let arguments = counts.iter().map(|(kind, count)| format!("{kind}={count}"));
    Ok(std::iter::once("cpu".to_owned()).chain(arguments).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_arguments() {
        let counts = serde_json::json!({"integer": 12, "pipe": 3});
        assert_eq!(arguments(&counts).unwrap(), ["cpu", "integer=12", "pipe=3"]);
    }
}
