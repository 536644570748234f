//! How fast it computes, and how fast its kernel serves it: a given amount of each kind of work.
//!
//! All of it happens on one processor, so that a VM with one vCPU and a process on a host with many do
//! the same. What is set up before, and given back after, is not timed.

use std::hint::black_box;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::json::{self, Object};
use crate::memory::{Memory, PAGE};
use crate::system::{self, Again, Child, Failure, rate, timed};

/// A kind of work.
struct Kind {
    name: &'static str,
    /// What one operation moves, where bytes a second are of interest.
    bytes: Option<u64>,
    /// Does so many operations; returns how long they took.
    work: fn(u64) -> io::Result<Duration>,
}

const KINDS: [Kind; 9] = [
    Kind { name: "integer", bytes: None, work: integer },
    Kind { name: "floating_point", bytes: None, work: floating_point },
    Kind { name: "memory", bytes: Some(BLOCK as u64), work: memory },
    Kind { name: "system_call", bytes: None, work: system_call },
    Kind { name: "context_switch", bytes: None, work: context_switch },
    Kind { name: "page_fault", bytes: None, work: page_fault },
    Kind { name: "fork_exec", bytes: None, work: fork_exec },
    Kind { name: "pipe", bytes: Some(BLOCK as u64), work: through_pipe },
    Kind { name: "contention", bytes: None, work: contention },
];

/// What is copied at a time, and goes through a pipe at a time.
const BLOCK: usize = 64 << 10;
/// Copied from and to: more than most processors' caches have, together.
const COPIED: usize = 16 << 20;
/// Pages that are touched again and again.
const TOUCHED: usize = 4 << 20;
/// Threads that want the same lock.
const THREADS: u64 = 4;
/// No calibration asks for more.
const MOST: u64 = 1 << 36;

/// Does what was asked for, in that order, and prints operations or bytes a second.
pub(crate) fn measure(counts: &[&str]) -> Result<(), Failure> {
    system::stay();
    let mut line = Object::new();
    for argument in counts {
        let (name, count) =
            argument.split_once('=').ok_or_else(|| format!("'{argument}' is not KIND=COUNT"))?;
        let kind = KINDS
            .iter()
            .find(|kind| kind.name == name)
            .ok_or_else(|| format!("'{name}' is no kind of work"))?;
        let count = system::number(count)?.max(1);
        let took = (kind.work)(count).map_err(|error| format!("{name}: {error}"))?;
        line = line.number(name, rate(count, took) * kind.bytes.unwrap_or(1) as f64);
    }
    json::say(&line.finish())
}

/// Prints how many operations of each kind take about that long here.
pub(crate) fn calibrate(milliseconds: u64) -> Result<(), Failure> {
    system::stay();
    let goal = Duration::from_millis(milliseconds.max(1));
    let mut line = Object::new();
    for kind in KINDS {
        let mut count = 1_u64;
        let took = loop {
            let took = (kind.work)(count).map_err(|error| format!("{}: {error}", kind.name))?;
            if took >= goal / 8 || count >= MOST {
                break took;
            }
            count *= 2;
        };
        let scaled = rate(count, took) * goal.as_secs_f64();
        line = line.plain(kind.name, format_args!("{:.0}", scaled.clamp(1.0, MOST as f64)));
    }
    json::say(&line.finish())
}

/// One operation: a step of a generator of random numbers, each of which needs the one before.
fn integer(count: u64) -> io::Result<Duration> {
    timed(|| {
        let mut state = black_box(1_u64);
        for _ in 0..count {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) ^ (state >> 29);
        }
        black_box(state);
        Ok(())
    })
}

/// One operation: a multiplication and an addition, each of which needs the one before.
fn floating_point(count: u64) -> io::Result<Duration> {
    timed(|| {
        let (mut value, factor) = (black_box(1.0_f64), black_box(0.999_999));
        for _ in 0..count {
            value = value * factor + 1.0;
        }
        black_box(value);
        Ok(())
    })
}

/// One operation: a block is copied.
fn memory(count: u64) -> io::Result<Duration> {
    let (mut from, mut to) = (Memory::new(COPIED)?, Memory::new(COPIED)?);
    from.bytes().fill(1);
    to.bytes().fill(2);
    let (from, to) = (from.bytes(), to.bytes());
    timed(|| {
        let mut at = 0;
        for _ in 0..count {
            to[at..at + BLOCK].copy_from_slice(black_box(&from[at..at + BLOCK]));
            at = (at + BLOCK) % COPIED;
        }
        black_box(to);
        Ok(())
    })
}

/// One operation: getppid(2), which does next to nothing.
fn system_call(count: u64) -> io::Result<Duration> {
    timed(|| {
        for _ in 0..count {
            // SAFETY: changes nothing and touches no memory.
            unsafe { libc::syscall(libc::SYS_getppid) };
        }
        Ok(())
    })
}

/// One operation: the processor goes from one process to another, who wait for each other's byte.
fn context_switch(count: u64) -> io::Result<Duration> {
    let (here, mut there) = pipe()?;
    let (mut back, away) = pipe()?;
    let rounds = count.div_ceil(2);
    let child = Child::start(|| echo(here, away, rounds))?;
    let took = timed(|| {
        let mut byte = [0];
        for _ in 0..rounds {
            there.write_all(&byte)?;
            back.read_exact(&mut byte)?;
        }
        Ok(())
    })?;
    child.end()?;
    Ok(took)
}

fn echo(mut from: PipeReader, mut to: PipeWriter, rounds: u64) -> io::Result<()> {
    let mut byte = [0];
    for _ in 0..rounds {
        from.read_exact(&mut byte)?;
        to.write_all(&byte)?;
    }
    Ok(())
}

/// One operation: a page is touched that is not there. The same pages each time, and once before, so that a
/// guest has them from its host.
fn page_fault(count: u64) -> io::Result<Duration> {
    let memory = Memory::new(TOUCHED)?;
    memory.touch(1);
    let pages = (TOUCHED / PAGE) as u64;
    let passes = count.div_ceil(pages);
    let mut took = Duration::ZERO;
    for _ in 0..passes {
        memory.give_back()?;
        took += timed(|| {
            memory.touch(1);
            Ok(())
        })?;
    }
    // Whole passes were made; the time is that of what was asked for.
    Ok(took.mul_f64(count as f64 / (passes * pages) as f64))
}

/// One operation: a child is made, executes this program, and ends.
fn fork_exec(count: u64) -> io::Result<Duration> {
    let again = Again::with("nothing")?;
    timed(|| (0..count).try_for_each(|_| again.run()))
}

/// One operation: a block goes to another process.
fn through_pipe(count: u64) -> io::Result<Duration> {
    let (mut from, mut to) = pipe()?;
    let child = Child::start(move || {
        let mut buffer = vec![0; BLOCK];
        let mut left = count * BLOCK as u64;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            left -= match from.read(&mut buffer[..most])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => read as u64,
            };
        }
        Ok(())
    })?;
    let block = vec![1; BLOCK];
    let start = Instant::now();
    for _ in 0..count {
        to.write_all(&block)?;
    }
    match child.end()? {
        0 => Ok(start.elapsed()),
        status => Err(io::Error::other(format!("the reader ended with status {status}"))),
    }
}

/// One operation: one of several threads takes a lock that all want, lets others run, who find it taken, and
/// lets go of it.
fn contention(count: u64) -> io::Result<Duration> {
    let taken = Mutex::new(0_u64);
    timed(|| {
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (taken, share) =
                    (&taken, count / THREADS + u64::from(thread < count % THREADS));
                scope.spawn(move || {
                    for _ in 0..share {
                        let mut times = taken.lock().unwrap_or_else(PoisonError::into_inner);
                        thread::yield_now();
                        *times += 1;
                    }
                });
            }
        });
        Ok(())
    })
}
