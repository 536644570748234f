//! How long it takes to start a command: in a container of duplex, of crun, runc and podman, behind
//! `unshare`, and without any wall. `cargo run --release --example start-figures -- --help`.
//!
//! All contenders start the same static program on the same root file system; the observer times each
//! from outside, from just before its exec to the first line on a pipe, and to its end. They take turns, in
//! an order that is drawn anew for each round, so that what disturbs the machine disturbs all alike.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod contenders;
mod figures;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use contenders::{Contender, LINE, contenders};
use figures::Figures;

/// Rounds that are not counted: files come into memory, directories of state are made.
const WARM_UP: usize = 3;

/// Times starts of containers, all contenders in turn
#[derive(Parser)]
struct Args {
    /// How many rounds
    #[arg(long, default_value_t = 100)]
    runs: usize,
    /// The program under test [default: the duplex beside this program]
    #[arg(long)]
    duplex: Option<PathBuf>,
    /// Only contenders of these names. Can be given again
    #[arg(long)]
    only: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// What the order is drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One start, seen from outside.
struct Run {
    first_line: Duration,
    exit: Duration,
}

fn main() {
    let args = Args::parse();
    let place = tempfile::tempdir().unwrap();
    leave_hybrid();
    let duplex = args.duplex.clone().unwrap_or_else(beside);
    let mut contenders = contenders(&duplex, place.path());
    contenders.retain(|contender| {
        args.only.is_empty() || args.only.iter().any(|name| name == contender.name)
    });
    let mut figures: Vec<Figures> =
        contenders.iter().map(|contender| Figures::of(contender.name)).collect();
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    let mut state = args.seed.max(1);
    for round in 0..WARM_UP + args.runs {
        shuffle(&mut order, &mut state);
        for &index in &order {
            let run = time(&contenders[index], round);
            if round >= WARM_UP {
                figures[index].add(run.first_line, run.exit);
            }
        }
    }
    if args.json {
        println!("{}", figures::as_json(&figures, args.runs));
    } else {
        print!("{}", figures::as_text(&figures, args.runs));
    }
}

/// The duplex that was built with this program.
fn beside() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("duplex")
}

/// crun refuses hosts that have control groups of both versions: in mounts of this process's own, the
/// second is taken away, for all contenders alike.
fn leave_hybrid() {
    let unified = Path::new("/sys/fs/cgroup/unified");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    if !mounts.contains(" /sys/fs/cgroup/unified ") {
        return;
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let left = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(None::<&str>, "/", None::<&str>, private, None::<&str>))
        .and_then(|()| umount2(unified, MntFlags::empty()));
    if let Err(error) = left {
        eprintln!("{} stays: {error}; crun may refuse this host", unified.display());
    }
}

/// Starts it once.
fn time(contender: &Contender, number: usize) -> Run {
    let argv = contender.argv(number);
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).envs(contender.env.clone());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let first_line = start.elapsed();
    let status = child.wait().unwrap();
    let exit = start.elapsed();
    let mut said = String::new();
    if line != LINE || !status.success() {
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        panic!("{}: {status}, wrote {line:?}, and said: {said}", contender.name);
    }
    Run { first_line, exit }
}

/// Fisher and Yates', with Marsaglia's xorshift.
fn shuffle(order: &mut [usize], state: &mut u64) {
    for last in (1..order.len()).rev() {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        let bound = u64::try_from(last + 1).unwrap();
        order.swap(last, usize::try_from(*state % bound).unwrap());
    }
}
