//! Testbeds come and go, also by force, and leave nothing behind.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::process::{self, Process, output, status};
use common::testbed::{duplex, start_until_ready, state_directory, stdout_of};
use common::{has_testbed, soak};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Processes whose command line or environment names this directory, with that command line.
fn processes_of(state: &Path) -> BTreeMap<i32, String> {
    let needle = state.to_str().unwrap();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let text = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let (line, environment) = (text("cmdline"), text("environ"));
        let both = [line.clone(), environment].concat();
        if String::from_utf8_lossy(&both).contains(needle) {
            found.insert(pid, String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    found
}

/// The process that keeps the testbed: it has its orders from a pipe, but the state directory open.
fn keepers_of(state: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let lock = fs::read_link(entry.path().join("fd/4")).unwrap_or_default();
        if line.starts_with(b"duplex\0testbed\0keeper") && lock.starts_with(state) {
            found.push(pid);
        }
    }
    found
}

/// Waits until nothing of the testbeds in this directory runs or lies about.
fn assert_nothing_left(state: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left: BTreeSet<PathBuf> = fs::read_dir(state.join("duplex"))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        let files = left.iter().filter(|path| !path.ends_with("lock")).count();
        let (keepers, others) = (keepers_of(state), processes_of(state));
        if files == 0 && keepers.is_empty() && others.is_empty() {
            return;
        }
        // Only a process that still runs can remove what lies about.
        let running: Vec<Pid> =
            keepers.iter().chain(others.keys()).map(|pid| Pid::from_raw(*pid)).collect();
        let time = deadline.saturating_duration_since(Instant::now());
        let waited = !running.is_empty() && process::end_within(&running, time);
        assert!(waited, "left: {left:?} {keepers:?} {others:?}");
    }
}

#[test]
fn start_run_status_stop() {
    if !has_testbed() {
        return;
    }
    let state = state_directory("testbed-start");
    let testbed = |arguments: &[&str]| {
        let mut command = duplex(&state);
        command.arg("testbed").args(arguments);
        command
    };
    assert!(status(&mut testbed(&["start", "--cpus", "1", "--memory", "1G"])).success());
    let seen = stdout_of(testbed(&["run", "--", "sh", "-c", "nproc; grep MemTotal /proc/meminfo"]));
    let words: Vec<&str> = seen.split_whitespace().collect();
    let memory: u64 = words[2].parse().unwrap();
    assert!(words[0] == "1" && (900_000..1_048_576).contains(&memory), "{seen}");
    let shown = stdout_of(testbed(&["status", "--json"]));
    assert!(shown.contains("\"memory_mib\": 1024"), "{shown}");
    // The same again is no error; another is.
    assert!(status(&mut testbed(&["start", "--cpus", "1", "--memory", "1G"])).success());
    let other = output(&mut testbed(&["start", "--cpus", "2"]));
    assert_eq!(other.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&other.stderr).contains("duplex testbed stop"));
    assert!(status(&mut testbed(&["stop"])).success());
    assert_nothing_left(&state);
    assert!(status(&mut testbed(&["stop"])).success());
}

#[test]
fn one_for_a_single_command_leaves_nothing() {
    if !has_testbed() {
        return;
    }
    let state = state_directory("testbed-once");
    let mut command = duplex(&state);
    command.args(["testbed", "run", "--", "sh", "-c", "cat /proc/sys/kernel/hostname; exit 3"]);
    let output = output(&mut command);
    assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b"testbed\n"[..]));
    assert!(fs::read_dir(state.join("duplex")).unwrap().count() <= 1);
    assert_nothing_left(&state);
}

#[test]
fn killed_at_any_moment_it_leaves_nothing() {
    if !has_testbed() {
        return;
    }
    let state = state_directory("testbed-killed");
    // From its first steps to the middle of the command, which starts after some 5 s.
    for delay in [0, 3, 10, 30, 100, 300, 1000, 3000, 6000, 9000] {
        let mut command = duplex(&state);
        command.args(["testbed", "run", "--", "sleep", "600"]).stderr(Stdio::null());
        let mut process = Process::start(&mut command);
        std::thread::sleep(Duration::from_millis(delay));
        process.kill();
        // Whatever lives ends by itself; what lies about is the next command's to remove.
        stdout_of_status(&state);
        assert_nothing_left(&state);
    }
}

fn stdout_of_status(state: &Path) -> String {
    let mut command = duplex(state);
    command.args(["testbed", "status"]);
    stdout_of(command)
}

#[test]
fn a_killed_keeper_is_noticed_and_replaced() {
    if !has_testbed() {
        return;
    }
    let state = state_directory("testbed-keeper");
    let start = || {
        let mut command = duplex(&state);
        stdout_of({
            command.args(["testbed", "start"]);
            command
        });
    };
    start();
    let mut command = duplex(&state);
    command.args(["testbed", "run", "--", "sh", "-c", "echo ready; exec sleep 600"]);
    command.stderr(Stdio::piped());
    let process = start_until_ready(command);
    let keepers = keepers_of(&state);
    assert_eq!(keepers.len(), 1);
    kill(Pid::from_raw(keepers[0]), Signal::SIGKILL).unwrap();
    let output = process.output();
    assert_eq!(output.status.code(), Some(125));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("the testbed has stopped while the command ran"), "{message}");
    // The leftover directory is no obstacle.
    start();
    let mut command = duplex(&state);
    command.args(["testbed", "stop"]);
    assert!(status(&mut command).success());
    assert_nothing_left(&state);
}

#[test]
fn a_machine_that_dies_is_explained() {
    if !has_testbed() {
        return;
    }
    let state = state_directory("testbed-panic");
    let mut stays = duplex(&state);
    stays.args(["testbed", "start", "--foreground"]);
    let mut stays = Process::start(stays.stdout(Stdio::piped()).stderr(Stdio::piped()));
    assert_eq!(stays.stdout.wait_for("\n"), "the testbed is up\n");
    let mut command = duplex(&state);
    command.args(["testbed", "run", "--", "sh", "-c"]);
    command.arg("sleep 1; echo c > /proc/sysrq-trigger; sleep 9");
    // Both who runs a command in it and who waits for its end are told.
    for output in [output(&mut command), stays.output()] {
        assert_eq!(output.status.code(), Some(125));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            message.contains("Kernel panic") && message.contains("sysrq triggered crash"),
            "{message}"
        );
    }
    assert_nothing_left(&state);
}

/// Takes the time that a machine is given to say something.
#[test]
fn one_that_hangs_as_it_boots_is_replaced() {
    if !soak() || !has_testbed() {
        return;
    }
    let state = state_directory("testbed-hangs");
    // The first emulator to be started only sleeps; it runs as nobody.
    let programs = tempfile::tempdir().unwrap();
    let emulator = programs.path().join("qemu-system-x86_64");
    fs::write(&emulator, "#!/bin/sh\nrm \"$0\" && exec sleep 600\n").unwrap();
    for path in [programs.path(), &emulator] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut command = duplex(&state);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", programs.path().display()));
    command.args(["testbed", "run", "--", "echo", "up"]);
    let output = output(&mut command);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"up\n"[..]), "{message}");
    assert!(message.contains("starting another"), "{message}");
    assert_nothing_left(&state);
}

#[test]
fn an_ordinary_user_can_do_it_all() {
    if !has_testbed() {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        common::say("SKIPPED: the other tests of this file run as an ordinary user already");
        return;
    }
    // Reachable for that user, unlike a checkout in root's home.
    let place = tempfile::Builder::new().prefix("duplex-test-").tempdir().unwrap();
    let home = place.path().join("home");
    let program = place.path().join("duplex");
    fs::create_dir(&home).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_duplex"), &program).unwrap();
    let nobody = Some(65534);
    for path in [place.path(), &home] {
        std::os::unix::fs::chown(path, nobody, nobody).unwrap();
    }
    let cache = copy_of_cache(&home);
    let run = |script: &str, arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["testbed", "run"]).args(arguments).args(["--", "sh", "-c", script]);
        command.env("HOME", &home).env("XDG_RUNTIME_DIR", &home).env("DUPLEX_CACHE", &cache);
        command.current_dir(&home).uid(65534).gid(65534);
        output(&mut command)
    };
    let output = home.join("output");
    let script = "id -u; echo mine > output; (cat /etc/shadow) 2>&1; head -c 4 /bin/true | tail -c 3; \
                  test -w /dev/kvm && echo kvm";
    let ended = run(script, &["--write", output.to_str().unwrap()]);
    let stdout = String::from_utf8_lossy(&ended.stdout);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{stdout} {stderr}");
    assert!(stdout.starts_with("0\n") && stdout.ends_with("ELFkvm\n"), "{stdout}");
    // What this user may not read at home stays unreadable there, for root too.
    assert!(stdout.contains("Permission denied"), "{stdout}");
    assert_eq!(fs::read_to_string(&output).unwrap(), "mine\n");
    assert_nothing_left(&home);
    // Somebody else's directory is not used.
    fs::remove_dir_all(home.join("duplex")).unwrap();
    fs::create_dir(home.join("duplex")).unwrap();
    let refused = run("true", &[]);
    assert_eq!(refused.status.code(), Some(125));
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(message.contains("it belongs to user 0"), "{message}");
}

/// The kernel that this user has already, so that the other need not download it again.
fn copy_of_cache(home: &Path) -> PathBuf {
    let theirs = home.join("cache");
    let ours = std::env::var_os("DUPLEX_CACHE").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
        cache.map(|cache| cache.join("duplex"))
    });
    if let Some(ours) = ours.filter(|path| path.exists()) {
        let copied = status(Command::new("cp").arg("-a").arg(ours).arg(&theirs));
        assert!(copied.success());
        let owned = status(Command::new("chown").args(["-R", "65534:65534"]).arg(&theirs));
        assert!(owned.success());
    }
    theirs
}
