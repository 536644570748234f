//! Commands in the testbed behave as they would at home: streams, signals, exit status, files.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::has_testbed;
use common::process::{Process, output};
use common::testbed::{duplex, in_testbed, run, shared, start_until_ready, stdout_of};
use nix::sys::signal::Signal;

/// Whatever only tests make, on a file system that the testbed sees.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// What was said once the command had a session: another test may have them all for a while, and duplex says so.
fn once_begun(stderr: &[u8]) -> &str {
    let text = std::str::from_utf8(stderr).unwrap();
    match text.split_once('\n') {
        Some((first, rest))
            if first.starts_with("duplex: ") && first.ends_with(": waiting for one to end") =>
        {
            rest
        }
        _ => text,
    }
}

#[test]
fn has_its_own_kernel_and_amd_v() {
    if !has_testbed() {
        return;
    }
    let seen =
        stdout_of(in_testbed("uname -r; test -c /dev/kvm && grep -o -m1 -w svm /proc/cpuinfo"));
    assert!(seen.starts_with("6.1."), "{seen}");
    assert!(seen.ends_with("\nsvm\n"), "{seen}");
}

#[test]
fn exit_status_is_exact() {
    if !has_testbed() {
        return;
    }
    assert_eq!(run("exit 0").status.code(), Some(0));
    assert_eq!(run("exit 7").status.code(), Some(7));
    assert_eq!(run("exit 255").status.code(), Some(255));
    assert_eq!(run("kill -KILL $$").status.code(), Some(137));
    assert_eq!(run("kill -SEGV $$").status.code(), Some(139));
    let status_of = |program: &str| {
        let output = output(duplex(shared()).args(["testbed", "run", "--", program]));
        (output.status.code(), once_begun(&output.stderr).to_owned())
    };
    let (status, message) = status_of("no-such-program");
    assert_eq!(status, Some(127), "{message}");
    assert!(message.starts_with("duplex: no-such-program: "), "{message}");
    let (status, message) = status_of("/etc/passwd");
    assert_eq!(status, Some(126), "{message}");
}

#[test]
fn bytes_pass_unchanged_in_both_directions() {
    if !has_testbed() {
        return;
    }
    let data: Vec<u8> = (0..1_000_000_u32).flat_map(|n| n.to_be_bytes()).collect();
    let mut command = in_testbed("cat; echo done >&2");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(&mut command);
    let mut stdin = process.take_stdin();
    let sent = data.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let output = process.output();
    writer.join().unwrap();
    assert!(output.stdout == data, "{} bytes of {}", output.stdout.len(), data.len());
    assert_eq!(once_begun(&output.stderr), "done\n");
}

#[test]
fn what_is_closed_stays_closed() {
    if !has_testbed() {
        return;
    }
    // The outer shell closes; the inner one tells what it finds.
    let outer = |redirection: &str, inner: &str| {
        let script = format!("exec \"$0\" testbed run -- sh -c '{inner}' {redirection}");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_duplex")])
            .env("XDG_RUNTIME_DIR", shared());
        output(&mut command)
    };
    let stdin = outer("<&-", "test -e /proc/self/fd/0 && echo open || echo closed");
    assert_eq!(stdin.stdout, b"closed\n");
    let null = outer("</dev/null", "test -e /proc/self/fd/0 && echo open || echo closed");
    assert_eq!(null.stdout, b"open\n");
    let stdout = outer(">&-", "echo text || exit 9");
    assert_eq!(stdout.status.code(), Some(9));
    let stderr = outer("2>&-", "test -e /proc/self/fd/2 && echo open || echo closed");
    assert_eq!(stderr.stdout, b"closed\n");
}

#[test]
fn environment_and_directory_are_the_callers() {
    if !has_testbed() {
        return;
    }
    let place = scratch();
    let mut command = in_testbed("pwd; printf '%s\\n' \"$GREETING\"");
    command.current_dir(place.path()).env("GREETING", "a 'b' \"c\" \u{e9}");
    let expected = format!("{}\na 'b' \"c\" \u{e9}\n", place.path().display());
    assert_eq!(stdout_of(command), expected);
}

#[test]
fn signals_reach_the_command() {
    if !has_testbed() {
        return;
    }
    let blocked = stdout_of(in_testbed("grep SigBlk /proc/self/status"));
    assert_eq!(blocked, "SigBlk:\t0000000000000000\n");
    let wait = "while :; do sleep 0.1; done";
    for (number, expected) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)]
    {
        let mut process = start_until_ready(in_testbed(&format!("echo ready; {wait}")));
        process.signal(number);
        assert_eq!(process.end().code(), Some(expected));
    }
    for number in [Signal::SIGUSR1, Signal::SIGQUIT, Signal::SIGTERM] {
        let name = number.as_str().strip_prefix("SIG").unwrap();
        let script = format!("trap 'echo caught; exit 3' {name}; echo ready; {wait}");
        let process = start_until_ready(in_testbed(&script));
        process.signal(number);
        let output = process.output();
        assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b"ready\ncaught\n"[..]));
    }
}

#[test]
fn a_signal_overtakes_input_that_nobody_reads() {
    if !has_testbed() {
        return;
    }
    let script = "trap 'exit 5' USR1; echo ready; while :; do sleep 0.1; done";
    let mut command = in_testbed(script);
    command.stdin(Stdio::piped());
    let mut process = start_until_ready(command);
    let mut stdin = process.take_stdin();
    // More than fits anywhere on the way: the writer is stuck until the command ends.
    let writer = std::thread::spawn(move || stdin.write_all(&vec![b'x'; 4 << 20]));
    std::thread::sleep(Duration::from_millis(300));
    process.signal(Signal::SIGUSR1);
    assert_eq!(process.end().code(), Some(5));
    assert!(writer.join().unwrap().is_err());
}

#[test]
fn a_closed_pipe_ends_the_command() {
    if !has_testbed() {
        return;
    }
    let mut process = Process::start(in_testbed("exec yes").stdout(Stdio::piped()));
    assert_eq!(process.stdout.read_exactly(4), b"y\ny\n");
    process.stdout.close();
    assert_eq!(process.end().code(), Some(128 + 13));
}

#[test]
fn background_children_end_with_the_command() {
    if !has_testbed() {
        return;
    }
    let before = Instant::now();
    let output = run("sleep 600 & echo started");
    assert_eq!(output.stdout, b"started\n");
    assert!(before.elapsed().as_secs() < 60);
}

#[test]
fn a_killed_client_takes_its_command_along() {
    if !has_testbed() {
        return;
    }
    let tick = "echo ready; while :; do cut -d' ' -f1 /proc/uptime >/run/tick; sleep 0.1; done";
    let mut process = start_until_ready(in_testbed(tick));
    // The file is there once the loop has been round.
    stdout_of(in_testbed("while ! test -s /run/tick; do sleep 0.1; done"));
    assert_eq!(process.kill().signal(), Some(9));
    let seen =
        stdout_of(in_testbed("sleep 1; cat /run/tick; sleep 1; cat /run/tick; rm /run/tick"));
    let times: Vec<_> = seen.lines().collect();
    assert!(times.len() == 2 && times[0] == times[1], "{seen}");
}

#[test]
fn many_commands_at_once() {
    if !has_testbed() {
        return;
    }
    shared();
    // More than there are sessions: some have to wait for others.
    let threads: Vec<_> = (0..40)
        .map(|number| {
            std::thread::spawn(move || {
                stdout_of(in_testbed(&format!("sleep 0.5; seq {number} {}", number + 1000)))
            })
        })
        .collect();
    for (number, thread) in threads.into_iter().enumerate() {
        let lines: Vec<usize> =
            thread.join().unwrap().lines().map(|l| l.parse().unwrap()).collect();
        assert_eq!(lines, (number..=number + 1000).collect::<Vec<_>>());
    }
}

#[test]
fn root_in_the_testbed_cannot_write_to_the_host() {
    if !has_testbed() {
        return;
    }
    let place = scratch();
    let victim = place.path().join("victim");
    fs::write(&victim, "unharmed").unwrap();
    // As itself; by mounting the export again, writable; by making the mount writable; through
    // the export of named files; and what it leaves out.
    let script = format!(
        "id -u
        victim={victim}
        echo gone > $victim && cat $victim
        mkdir -p /run/again && mount -t virtiofs duplex.root /run/again
        mount -o remount,rw /run/again
        (echo gone > /run/again$victim) 2>&1 | grep -o 'Read-only file system'
        (rm /run/again$victim) 2>&1 | grep -o 'Read-only file system'
        (touch /run/again/etc/duplex-was-here) 2>&1 | grep -o 'Read-only file system'
        (mknod /run/again$victim.node b 8 0) 2>&1 | grep -o 'Read-only file system'
        (chmod 777 /run/again$victim) 2>&1 | grep -o 'Read-only file system'
        ls /run/again/proc /run/again/sys /run/again/dev /run/again/run | grep -v :
        mkdir -p /run/named && mount -t virtiofs duplex.named /run/named && ls /run/named
        umount /run/again /run/named",
        victim = victim.display()
    );
    let seen = stdout_of(in_testbed(&script));
    let mut expected = String::from("0\ngone\n");
    expected.push_str(&"Read-only file system\n".repeat(5));
    expected.push_str("\n\n\n");
    assert_eq!(seen.trim_end(), expected.trim_end());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "unharmed");
    assert!(!Path::new("/etc/duplex-was-here").exists());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn named_files_and_directories_are_written() {
    if !has_testbed() {
        return;
    }
    let place = scratch();
    let (file, new, directory, other) = (
        place.path().join("file"),
        place.path().join("new"),
        place.path().join("directory"),
        place.path().join("other"),
    );
    fs::write(&file, "old").unwrap();
    fs::write(&other, "old").unwrap();
    fs::create_dir(&directory).unwrap();
    let mut command = duplex(shared());
    command.args(["testbed", "run"]);
    for path in [&file, &new, &directory] {
        command.arg("--write").arg(path);
    }
    command.args(["--", "sh", "-c", "echo -n 1 > file; echo -n 2 > new; echo -n 3 > directory/a; mv directory/a directory/b; echo 4 > other"]);
    command.current_dir(place.path());
    stdout_of(command);
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    assert_eq!((read(&file), read(&new), read(&other)), ("1".into(), "2".into(), "old".into()));
    assert_eq!(read(&directory.join("b")), "3");
    assert!(!directory.join("a").exists());
}

#[test]
fn inputs_come_from_anywhere() {
    if !has_testbed() {
        return;
    }
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let input = place.path().join("input");
    fs::write(&input, "from shared memory").unwrap();
    let mut command = duplex(shared());
    command.args(["testbed", "run", "--input"]).arg(&input).args(["--", "cat"]).arg(&input);
    assert_eq!(stdout_of(command), "from shared memory");
    // By number: a file without a name, and a pipe.
    let script = format!(
        "exec 5<<EOF 6< {}\ntext\nEOF\n\
         \"$0\" testbed run --input /dev/fd/5 --input /proc/self/fd/6 -- \
         sh -c 'cat /dev/fd/5; cat <&6'",
        input.display()
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_duplex")]).env("XDG_RUNTIME_DIR", shared());
    assert_eq!(stdout_of(command), "text\nfrom shared memory");
    // Read-only, also for root.
    let mut command = duplex(shared());
    command.args(["testbed", "run", "--input"]).arg(&input);
    command.args(["--", "sh", "-c", "echo x > $0"]).arg(&input);
    assert!(!output(&mut command).status.success());
    assert_eq!(fs::read_to_string(&input).unwrap(), "from shared memory");
}

#[test]
fn sees_what_has_just_changed_on_the_host() {
    if !has_testbed() {
        return;
    }
    let place = scratch();
    for round in 0..5 {
        let (edited, replaced) = (place.path().join("edited"), place.path().join("replaced"));
        fs::write(&edited, format!("edited {round}\n")).unwrap();
        let new = place.path().join("new");
        fs::write(&new, format!("replaced {round}\n")).unwrap();
        fs::rename(&new, &replaced).unwrap();
        fs::write(place.path().join(format!("made {round}")), "").unwrap();
        let mut command =
            in_testbed(&format!("cat edited replaced; ls 'made {round}' 'made 9' 2>&1"));
        command.current_dir(place.path());
        let output = output(&mut command);
        let seen = String::from_utf8(output.stdout).unwrap();
        let expected = format!("edited {round}\nreplaced {round}\n");
        assert!(
            seen.starts_with(&expected) && seen.ends_with(&format!("made {round}\n")),
            "{seen}"
        );
    }
}

#[test]
fn a_reader_that_does_not_read_is_not_waited_for_against_orders() {
    if !has_testbed() {
        return;
    }
    let mut command = in_testbed("head -c 200000 /dev/zero; echo done >&2");
    let mut process = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    process.stderr.wait_for("done\n");
    // More than the pipe holds is left to write, and nobody reads it.
    assert!(!process.ends_within(Duration::from_secs(1)));
    process.signal(Signal::SIGTERM);
    assert_eq!(process.end().code(), Some(0));
}
