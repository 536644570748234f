//! One container without limits starves its neighbours; then the same with control groups.

use std::collections::BTreeMap;

use crate::bench::cases::neighbours::{ALONE, Situation, how, memory_share, stage};
use crate::bench::cases::noise::{halves, kinds};
use crate::bench::ground::Ground;
use crate::bench::results::{Case, Fact, Finding, Table};

pub(super) const STORY: &str = "\
A server runs in a container. Beside it, four containers begin to eat: processors, memory, the disk, processes.
First they have no limits, as `duplex run --container --pids-limit -1` leaves them. Then each has limits of its
control group: --cpus 0.25 --memory 64M --pids-limit 32. What the server's requests take is measured each time.
";

const FREE: &str = "without-limits";
const LIMITED: &str = "with-limits";

/// What of the available memory the neighbour eats, in percent: enough to be felt, too little to make the kernel
/// choose whom to kill.
const MEMORY: u64 = 60;

const ROUNDS: u32 = 5;

pub(super) fn run(ground: &mut Ground<'_>) -> Table {
    let title = "Lab: a neighbour without limits, and the same with";
    let how =
        format!("Four neighbours at once: cpu, memory, disk and forks. {}", how(ground.place));
    let mut table = ground.table(Case::Lab, "resource-exhaustion", title, how);
    let Some(container) =
        halves(ground).into_iter().find(|one| one.described().id == "duplex-container")
    else {
        let value = "this lab needs it: do not leave it out with --only".into();
        table.failures.push(Fact { name: "duplex-container".into(), value });
        return table;
    };
    let all = kinds(memory_share(MEMORY)).to_vec();
    let situations = [
        Situation::alone(),
        Situation::of(FREE, "beside four without limits", all.clone(), false),
        Situation::of(LIMITED, "beside four with limits", all, true),
    ];
    if let Err(reason) = stage(ground, container, (&situations, ROUNDS), &mut table) {
        table.failures.push(Fact { name: "duplex-container".into(), value: reason });
    }
    table.findings = findings(&table);
    table
}

/// What each part of a request took, by situation.
fn findings(table: &Table) -> Vec<Finding> {
    let of = |metric: &str, meaning: &str| Finding {
        subject: metric.to_owned(),
        meaning: meaning.to_owned(),
        found: [ALONE, FREE, LIMITED]
            .into_iter()
            .filter_map(|situation| Some((situation.to_owned(), told(table, situation, metric)?)))
            .collect::<BTreeMap<_, _>>(),
    };
    vec![
        of(
            "throughput",
            "What the server gets done: this is the failure that its users see, and what limits mend.",
        ),
        of("request_p99", "Its slowest requests, which time-outs and retries follow."),
        of(
            "compute_p99",
            "What the neighbour's threads take from it; `--cpus` (cpu.max) gives it back.",
        ),
        of(
            "memory",
            "What it waits for pages; `--memory` (memory.max) keeps the neighbour from taking them.",
        ),
        of("fork", "What it waits for a child; `--pids-limit` (pids.max) ends a fork bomb."),
        of(
            "disk",
            "What it waits for the disk; --device-write-bps (io.max) limits a neighbour there, and is not set here: \
             what remains of this is what is left to mend.",
        ),
    ]
}

fn told(table: &Table, situation: &str, metric: &str) -> Option<String> {
    let series = table
        .series
        .iter()
        .find(|series| series.contender == situation && series.metric == metric)?;
    let median = series.summary.as_ref()?.median.value;
    let unit = if metric == "throughput" { "requests a second" } else { "ms" };
    let times = series
        .ratio
        .map_or(String::new(), |ratio| format!(", {:.2} times as alone", ratio.median.value));
    Some(format!("{median:.3} {unit}{times}"))
}
