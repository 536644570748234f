//! Who suffers from a neighbour: a small server that is asked again and again.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk::Ledger;
use crate::json::{self, Object};
use crate::memory::Memory;
use crate::system::{Child, Failure, ms, quantile, rate, timed};

/// Memory that a request takes.
const WORKING: usize = 256 << 10;
/// Steps that a request computes.
const STEPS: u32 = 100_000;

/// Serves so many requests, one after the other: each computes, takes memory and gives it back, has a child,
/// and, where there is a directory for that, writes a page so that it lasts.
pub(crate) fn serve(requests: u64, directory: Option<&Path>) -> Result<(), Failure> {
    let mut ledger = directory.map(Ledger::new).transpose()?;
    // What each part takes of a request; the whole comes last.
    let mut times: [(&str, Vec<Duration>); 5] =
        ["compute", "memory", "fork", "disk", "request"].map(|part| (part, Vec::new()));
    let start = Instant::now();
    for _ in 0..requests.max(1) {
        let parts = [
            timed(|| Ok(compute()))?,
            timed(|| Memory::new(WORKING).map(|memory| memory.touch(1)))?,
            timed(|| Child::start(|| Ok(()))?.end())?,
            ledger.as_mut().map_or(Ok(Duration::ZERO), Ledger::enter)?,
        ];
        let whole = parts.iter().sum();
        for ((_, times), time) in times.iter_mut().zip(parts.into_iter().chain([whole])) {
            times.push(time);
        }
    }
    let mut line = Object::new().number("throughput", rate(requests.max(1), start.elapsed()));
    for (part, times) in &mut times {
        times.sort_unstable();
        line = line.number(part, ms(quantile(times, 500)));
        line = line.number(&format!("{part}_p99"), ms(quantile(times, 990)));
    }
    json::say(&line.finish())
}

fn compute() -> u64 {
    let mut state = std::hint::black_box(1_u64);
    for _ in 0..STEPS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) ^ (state >> 29);
    }
    std::hint::black_box(state)
}
