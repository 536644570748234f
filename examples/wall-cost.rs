//! What the walls round a command cost: putting each up, in a process of its own, and what the filter
//! adds to system calls. `cargo run --release --example wall-cost`; behind `duplex testbed run
//! --count-instructions --` the nanoseconds are instructions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::ffi::CString;
use std::io::{Read, Write, pipe};
use std::time::Instant;

use duplex::isolate::capabilities::{Capabilities, CapabilitySets};
use duplex::isolate::hardening;
use duplex::isolate::landlock::{Abi, Landlock};
use duplex::isolate::seccomp::Filter;
use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Uid, fork};

const RUNS: usize = 51;
const CALLS: u32 = 100_000;

fn main() {
    let own = Capabilities::permitted().unwrap();
    let granted: Capabilities =
        Capabilities::DEFAULT.iter().filter(|&one| own.contains(one)).collect();
    let filter = Filter::new(granted);
    println!("{filter:?}");
    println!("{:36} {:>9} {:>9}", "step", "median ns", "least ns");
    step("nothing", || Ok(()));
    step("make the filter", || {
        std::hint::black_box(Filter::new(granted));
        Ok(())
    });
    timed("make it again", || {
        // The first time its code and data are mapped.
        std::hint::black_box(Filter::new(granted));
        let start = Instant::now();
        std::hint::black_box(Filter::new(granted));
        Ok(nanoseconds(start))
    });
    step("install the filter", || filter.install());
    step("capabilities", || CapabilitySets::of(Uid::from_raw(0), granted).apply());
    let abi = Abi::of_kernel();
    let scopes = Landlock { abstract_sockets: true, signals: true, ..Landlock::default() };
    step("Landlock: the kernel's version", || {
        std::hint::black_box(Abi::of_kernel());
        Ok(())
    });
    step("Landlock: scopes", || scopes.apply(abi));
    let writable = ["/dev", "/tmp", "/run"].map(|path| CString::new(path).unwrap());
    let files = Landlock { writable: Some(writable.to_vec()), ..scopes.clone() };
    step("Landlock: scopes, and three trees", || files.apply(abi));
    step("session keyring", hardening::own_session_keyring);
    step("OOM score", || hardening::raise_oom_score(500));
    step("not dumpable", hardening::not_dumpable);

    println!("\n{:36} {:>9} {:>9}", "system call", "without", "with");
    for (name, number, argument) in [
        ("getppid, always allowed", libc::SYS_getppid, 0),
        ("personality, by its argument", libc::SYS_personality, 0xffff_ffff_u64),
        ("close of nothing, always allowed", libc::SYS_close, 0xffff_ffff),
        ("keyctl of nothing, refused", libc::SYS_keyctl, 0xffff_ffff),
    ] {
        let per_call = |walled: bool| {
            least(|| {
                if walled {
                    filter.install()?;
                }
                let start = Instant::now();
                for _ in 0..CALLS {
                    // SAFETY: calls that change nothing and touch no memory.
                    unsafe { libc::syscall(number, argument, 0, 0, 0, 0) };
                }
                Ok(nanoseconds(start))
            }) / f64::from(CALLS)
        };
        println!("{name:36} {:9.1} {:9.1}", per_call(false), per_call(true));
    }
}

/// Times a step in fresh processes.
fn step(name: &str, act: impl Fn() -> Result<(), Errno>) {
    timed(name, || {
        let start = Instant::now();
        act()?;
        Ok(nanoseconds(start))
    });
}

fn timed(name: &str, act: impl Fn() -> Result<f64, Errno>) {
    let times = sorted(act);
    println!("{name:36} {:9.0} {:9.0}", times[RUNS / 2], times[0]);
}

fn least(act: impl Fn() -> Result<f64, Errno>) -> f64 {
    sorted(act)[0]
}

fn sorted(act: impl Fn() -> Result<f64, Errno>) -> Vec<f64> {
    let mut times: Vec<_> = (0..RUNS).map(|_| in_child(&act)).collect();
    times.sort_by(f64::total_cmp);
    times
}

fn nanoseconds(start: Instant) -> f64 {
    f64::from(u32::try_from(start.elapsed().as_nanos()).expect("under four seconds"))
}

fn in_child(act: impl Fn() -> Result<f64, Errno>) -> f64 {
    let (mut reader, mut writer) = pipe().unwrap();
    // SAFETY: this process has one thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let time = act().unwrap_or_else(|error| panic!("{error}"));
            writer.write_all(&time.to_ne_bytes()).unwrap();
            std::process::exit(0);
        }
        ForkResult::Parent { child } => {
            let mut time = [0; 8];
            reader.read_exact(&mut time).unwrap();
            waitpid(child, None).unwrap();
            f64::from_ne_bytes(time)
        }
    }
}
