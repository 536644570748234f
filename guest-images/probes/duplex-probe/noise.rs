//! A neighbour that wants more than its share, for a bounded time and up to a bounded amount.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::disk;
use crate::json;
use crate::memory::Memory;
use crate::system::{Child, Failure};

/// No neighbour makes noise for longer.
const LONGEST: u64 = 600;

/// Prints `ready`, and makes noise until the time is over. Processes that are refused to it it does without.
pub(crate) fn make(kind: &str, seconds: u64, amount: u64, directory: &Path) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_secs(seconds.min(LONGEST));
    let amount = amount.max(1);
    let noise: Box<dyn FnOnce() -> io::Result<()>> = match kind {
        "cpu" => Box::new(|| cpu(amount, until)),
        "memory" => Box::new(|| memory(amount, until)),
        "disk" => {
            let mut churn = disk::Churn::new(directory)?;
            Box::new(move || churn.go_on(amount, until))
        }
        "forks" => Box::new(|| forks(amount, until)),
        _ => return Err(format!("'{kind}' is no kind of noise: cpu, memory, disk or forks").into()),
    };
    json::say("ready")?;
    Ok(noise()?)
}

/// So many threads compute.
fn cpu(threads: u64, until: Instant) -> io::Result<()> {
    thread::scope(|scope| {
        for _ in 0..threads.min(256) {
            scope.spawn(|| {
                let mut state = 1_u64;
                while Instant::now() < until {
                    for _ in 0..10_000 {
                        state =
                            std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005) + 1);
                    }
                }
            });
        }
    });
    Ok(())
}

/// So many MiB, all of them written to again and again.
fn memory(mib: u64, until: Instant) -> io::Result<()> {
    let mut pieces = Vec::new();
    while (pieces.len() as u64) < mib && Instant::now() < until {
        let piece = Memory::new(1 << 20)?;
        piece.touch(0);
        pieces.push(piece);
    }
    for value in (0..=u8::MAX).cycle() {
        for piece in &pieces {
            piece.touch(value);
        }
        if Instant::now() >= until {
            break;
        }
    }
    Ok(())
}

/// Children that end at once, up to so many at a time, as fast as they can be made.
fn forks(most: u64, until: Instant) -> io::Result<()> {
    let mut living = Vec::new();
    while Instant::now() < until {
        while (living.len() as u64) < most {
            match Child::start(|| Ok(())) {
                Ok(child) => living.push(child),
                // As many as it may have.
                Err(_) => break,
            }
        }
        if living.is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        living.drain(..).try_for_each(|child| child.end().map(drop))?;
    }
    Ok(())
}
