//! What a control group costs: `cgroup-cost [COUNT]` prints the plan for one, and how long each step of
//! its life takes, in microseconds: the median of COUNT times.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::time::Instant;

use duplex::isolate::Program;
use duplex::isolate::cgroups::{Cgroups, Group, Purpose};
use duplex::workload::Limits;

const NOTHING: &str = "nothing";

fn main() {
    // What it starts itself.
    if std::env::args().next().is_some_and(|name| name == NOTHING) {
        return;
    }
    let count: usize = std::env::args().nth(1).map_or(100, |text| text.parse().unwrap());
    let name = format!("duplex-cost-{}", std::process::id());
    let limits = Limits::default();
    let purpose = Purpose {
        limits: &limits,
        default_tasks: Some(4096),
        besides: Purpose::COUNTED,
        devices: None,
    };
    let mut times = [const { Vec::new() }; 6];
    for _ in 0..count {
        let mut last = Instant::now();
        let mut lap = |times: &mut Vec<u128>| {
            times.push(last.elapsed().as_micros());
            last = Instant::now();
        };
        let [find, plan, create, without, within, remove] = &mut times;
        let cgroups = Cgroups::find(&name).unwrap();
        lap(find);
        let steps = cgroups.plan("one", &purpose).unwrap();
        lap(plan);
        let group = steps.create().unwrap();
        lap(create);
        run(&Group::default());
        lap(without);
        run(&group);
        lap(within);
        group.remove().unwrap();
        lap(remove);
    }
    let cgroups = Cgroups::find(&name).unwrap();
    print!("{}", cgroups.plan("one", &purpose).unwrap());
    cgroups.remove_parent();
    let names = ["find", "plan", "create", "run without", "run within", "remove"];
    for (name, mut times) in names.into_iter().zip(times) {
        times.sort_unstable();
        println!("{name}: {} µs (least {})", times[times.len() / 2], times[0]);
    }
}

fn run(group: &Group) {
    let program = Program::new("/proc/self/exe", [NOTHING]).unwrap().in_group(group).unwrap();
    program.spawn().unwrap().wait().unwrap();
}
