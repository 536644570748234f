//! What an instance needs while it does nothing, while its workload has memory, and after it gave that back.

use std::thread;
use std::time::{Duration, Instant};

use super::asked::{Asker, job};
use super::held::Held;
use super::kernel_memory;
use super::processes::{Census, is_seen, of_guests, proportional};
use crate::bench::contender::{Contender, Job};
use crate::bench::ground::Ground;
use crate::bench::results::{Case, Table, Unit, Wall};
use crate::bench::rounds::Measured;

/// What the workload touches and frees, MiB.
const TOUCHED: u64 = 64;

/// How long what was freed may take to come back: Linux's free page reporting waits two seconds.
const SETTLING: Duration = Duration::from_secs(4);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(200);

/// The memory of all processes and of the kernel, at three moments of an instance's life.
pub fn run(ground: &mut Ground<'_>) -> Table {
    let how = format!(
        "An instance with the probe in it that waits. Counted are all processes that the start has brought \
         (for a VM its VMM and what serves it, for a container its monitors, in both cases the program that \
         was called, which waits too), adopted ones included, by their proportional set size (PSS: a page that \
         n processes share counts as 1/n). idle: the sum, when the workload has said that it runs. kernel: what \
         the control groups of the instance count as the host kernel's memory for it (memory.stat: kernel, or \
         its parts; version 1: memory.kmem.usage_in_bytes); contenders without a group of their own have no \
         such figure. guest_touched: what of a VM's memory it has touched, as the VMM's large writable mappings \
         have it in memory: part of idle. touched: the sum when the workload has written to each page of {TOUCHED} \
         MiB. after_free: the least that the sum comes to within {} s after the workload has given them back. \
         Workloads of daemons (docker's, containerd's) are not seen, and fail. Memory: 256 MiB.",
        SETTLING.as_secs()
    );
    let mut table = ground.table(Case::Memory, "", "Memory that an instance needs", how);
    table.baseline = ground.baseline();
    let asker = Asker::on(ground.place, ground.stop);
    let baseline = table.baseline.clone();
    let found = ground.rounds(ground.schedule, baseline.as_deref(), |one, turn| {
        life(&asker, one, job(&["hold".to_owned(), TOUCHED.to_string()]), turn.number)
    });
    table.take(found);
    table
}

fn life(
    asker: &Asker<'_>,
    contender: &dyn Contender,
    job: Job,
    number: u64,
) -> Result<Vec<Measured>, String> {
    let census = Census::take()?;
    let mut held = Held::start(asker, contender, job, number)?;
    held.answer(asker)?;
    let family = census.newcomers();
    is_seen(contender, &family)?;
    let mut found = Vec::new();
    let mut note = |metric, value: u64| {
        found.push(Measured::new(metric, Unit::Bytes, value as f64));
    };
    note("idle", proportional(&family)?);
    if let Some(kernel) = kernel_memory::of(&family) {
        note("kernel", kernel);
    }
    if contender.described().wall == Wall::Vm {
        note("guest_touched", of_guests(&family));
    }
    held.go_on()?;
    held.answer(asker)?;
    let family = census.newcomers();
    let touched = proportional(&family)?;
    note("touched", touched);
    held.go_on()?;
    held.answer(asker)?;
    note("after_free", after_free(asker, &family, touched)?);
    held.go_on()?;
    held.end(asker)?;
    Ok(found)
}

/// The least within the time; no longer than until nearly all is back.
fn after_free(asker: &Asker<'_>, family: &[i32], touched: u64) -> Result<u64, String> {
    let nearly_all = touched.saturating_sub((TOUCHED << 20) / 10 * 9);
    let start = Instant::now();
    let mut least = touched;
    loop {
        least = least.min(proportional(family)?);
        let over = start.elapsed() >= SETTLING || asker.stop.is_requested();
        if least <= nearly_all || over {
            return Ok(least);
        }
        thread::sleep(PAUSE);
    }
}
