//! The static program that `duplex bench` runs behind every wall, and beside none.
//!
//! Without arguments it prints `ready`: the first byte of that is when a workload has started. Each
//! subcommand does an amount of work that its arguments bound, and prints one line of JSON with what its own
//! monotonic clock says about it. docs/bench-cases.md tells what the figures mean.

mod cpu;
mod disk;
mod escape;
mod hold;
mod init;
mod json;
mod look;
mod memory;
mod net;
mod noise;
mod system;
mod victim;

use std::io::{self, Write};
use std::process::ExitCode;

use system::Failure;

const HELP: &str = "\
duplex-probe                                     prints `ready`
duplex-probe nothing                             ends
duplex-probe cpu calibrate MILLISECONDS          how much of each kind of work takes that long
duplex-probe cpu KIND=COUNT...                   does it, prints how much a second
duplex-probe hold MIB                            idle; at each line of input: touches MIB, frees them, ends
duplex-probe disk DIRECTORY MIB OPERATIONS       reads, writes, makes durable, in a file there
duplex-probe net serve ADDRESS SECONDS           prints its port; serves `net call` for so long at most
duplex-probe net call ADDRESS PORT MIB ROUNDS    sends and receives MIB, takes turns ROUNDS times; the address
                                                 `gateway` is that of the default route
duplex-probe noise cpu|memory|disk|forks SECONDS AMOUNT [DIRECTORY]
                                                 a neighbour: AMOUNT threads, MiB, MiB, processes at a time
duplex-probe victim REQUESTS [DIRECTORY]         what a neighbour disturbs: computes, touches memory, forks, writes
duplex-probe as-init [--write PORT=BYTE] PROGRAM...
                                                 PID 1 of a guest: runs the program, switches the machine off
duplex-probe escape all NAME=VALUE... | target DIRECTORY | list | NAME
                                                 attempts to get out of here: those of docs/security.md
duplex-probe look                                what can be seen and reached from here
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == init::WORD) {
        return init::run(arguments.into_iter().skip(1));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["escape", rest @ ..] = &arguments[..] {
        return escape::run(rest);
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "duplex-probe: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), Failure> {
    match arguments {
        [] => json::say("ready"),
        ["nothing"] => Ok(()),
        ["cpu", "calibrate", milliseconds] => cpu::calibrate(system::number(milliseconds)?),
        ["cpu", counts @ ..] => cpu::measure(counts),
        ["hold", mib] => hold::hold(system::number(mib)?),
        ["disk", directory, mib, operations] => {
            disk::measure(directory.as_ref(), system::number(mib)?, system::number(operations)?)
        }
        ["net", "serve", address, seconds] => net::serve(address, system::number(seconds)?),
        ["net", "call", address, port, mib, rounds] => {
            let port = u16::try_from(system::number(port)?)?;
            net::call(address, port, system::number(mib)?, system::number(rounds)?)
        }
        ["noise", kind, seconds, amount, directory @ ..] => {
            let directory = directory.first().copied().unwrap_or(".");
            noise::make(kind, system::number(seconds)?, system::number(amount)?, directory.as_ref())
        }
        ["victim", requests, directory @ ..] => {
            victim::serve(system::number(requests)?, directory.first().map(AsRef::as_ref))
        }
        ["look"] => look::look(),
        _ => {
            io::stderr().write_all(HELP.as_bytes())?;
            Err("these arguments are none of the above".into())
        }
    }
}
