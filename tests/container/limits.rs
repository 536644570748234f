//! Limits, each met by a program that tries to pass it, and what the host keeps of the groups.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, major, minor, mknod};

use crate::common::containers::{among, end_of, has_containers, said, shell};
use crate::common::groups::{cpu_share, groups};
use crate::common::process::{self, Process};
use crate::common::{has_testbed, say, soak, testbed, text};

/// A name that no other run of these tests has: groups are the host's.
fn own(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Ends it, with all that is its.
fn end(mut process: Process) {
    process.signal(Signal::SIGTERM);
    process.end();
}

/// Whether limits can be set here; says so where they cannot.
fn has_limits() -> bool {
    if !has_containers() {
        return false;
    }
    let output = end_of(shell(&["--memory", "64M", "--pids-limit", "20", "--cpus", "1"], "true"));
    let there = output.status.success();
    if !there {
        say(&format!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr)));
    }
    there
}

#[test]
fn memory_beyond_the_limit_kills_and_is_told() {
    if !has_limits() {
        return;
    }
    // The shell itself grows, by doubling a variable, to four times the limit at most.
    let script = "x=0123456789abcdef; while [ ${#x} -lt 134217728 ]; do x=$x$x; done; echo passed";
    let output = end_of(shell(&["--memory", "32M", "--memory-swap", "32M"], script));
    assert_eq!(output.status.code(), Some(137));
    assert_eq!(output.stdout, b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("ran out of memory"), "{stderr}");
}

#[test]
fn no_more_processes_than_allowed() {
    if !has_limits() {
        return;
    }
    // Thirty at most; none lives on.
    let script = "n=0; while [ $n -lt 30 ]; do sleep 100 & n=$((n+1)); done; echo $n";
    let output = end_of(shell(&["--pids-limit", "12"], script));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("fork"), "{stderr}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_command_too_many_ends_nothing_else() {
    if !has_limits() {
        return;
    }
    let name = &own("full");
    // The subshell ends when it can start no more, which leaves room for one.
    let script = "trap 'exit 7' TERM; (while :; do sleep 1000 & done) 2>/dev/null
                  sleep 1000 & echo full; wait";
    // Detached: nobody reads what its PID 1 says.
    let options = ["--detach", "--name", name, "--pids-limit", "8"];
    assert_eq!(said(shell(&options, script)), format!("{name}\n"));
    let mut logs = Process::start(&mut among(&["logs", "--follow", name]));
    logs.stdout.wait_for("full\n");
    for _ in 0..2 {
        let output = end_of(among(&["exec", name, "true"]));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{stderr}");
        assert!(stderr.contains("can start no more processes"), "{stderr}");
    }
    assert_eq!(said(among(&["stop", name])), format!("{name}\n"));
    assert_eq!(said(among(&["wait", name])), "7\n");
    logs.end();
    assert_eq!(said(among(&["rm", name])), format!("{name}\n"));
}

#[test]
fn a_share_of_a_processor_is_held() {
    if !has_limits() {
        return;
    }
    let name = &own("half-a-processor");
    let spin = "echo up; while :; do :; done";
    let mut process = Process::start(&mut shell(&["--cpus", "0.5", "--name", name], spin));
    process.stdout.wait_for("up\n");
    let groups = groups(name);
    // What is used up at once must pass before it is a share. A busy host has less to give, but not always.
    let (span, least, tries) = if soak() { (10, 0.475, 20) } else { (2, 0.2, 5) };
    let mut shares = Vec::new();
    while shares.last().is_none_or(|share| *share < least) {
        assert!(shares.len() < tries, "{shares:?}");
        let share = cpu_share(&groups, || thread::sleep(Duration::from_secs(span)));
        assert!(share < 0.525, "{share}");
        shares.push(share);
    }
    end(process);
}

/// A node of the disk that a file is on. It is only looked at: who may not open disks can limit them.
fn disk_of(file: &Path) -> Option<PathBuf> {
    let (node, device) = (file.with_file_name("disk"), fs::metadata(file).ok()?.dev());
    let known = format!("/sys/dev/block/{}:{}", major(device), minor(device));
    let known = Path::new(&known);
    if !known.exists() || known.join("partition").exists() {
        return None;
    }
    mknod(&node, SFlag::S_IFBLK, Mode::S_IRUSR, device).ok().map(|()| node)
}

#[test]
fn direct_reads_and_writes_are_as_slow_as_they_may_be() {
    if !has_limits() {
        return;
    }
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = place.path().join("data");
    fs::create_dir(&data).unwrap();
    let file = data.join("file");
    fs::write(&file, vec![1; 12 << 20]).unwrap();
    File::open(&file).unwrap().sync_all().unwrap();
    let Some(disk) = disk_of(&file) else {
        return say("SKIPPED: there is no disk");
    };
    let (rate, volume) = (format!("{}:4M", text(&disk)), format!("{}:/data", text(&data)));
    // Twelve at four a second, by the container's own clock, which has hundredths.
    for (option, copy) in [
        ("--device-read-bps", "dd if=/data/file of=/dev/null bs=256k iflag=direct"),
        (
            "--device-write-bps",
            "dd if=/dev/zero of=/data/file bs=256k count=48 oflag=direct conv=notrunc",
        ),
    ] {
        let script = format!(
            "read before rest </proc/uptime; {copy} 2>/dev/null && read after rest </proc/uptime && \
             echo $before $after"
        );
        let took = || {
            let output = said(shell(&[option, &rate, "-v", &volume], &script));
            let times: Vec<f64> =
                output.split_whitespace().map(|time| time.parse().unwrap()).collect();
            times[1] - times[0]
        };
        let mut slow = Vec::new();
        loop {
            let took = took();
            assert!(took > 2.7, "{option}: {took} s");
            if took < 3.3 {
                break;
            }
            // Others want the disk too, but not all the time.
            slow.push(took);
            assert!(slow.len() < 5, "{option}: {slow:?} s");
        }
    }
}

#[test]
fn resource_limits_are_each_commands() {
    if !has_limits() {
        return;
    }
    let limits = ["--ulimit", "nofile=30:40", "--ulimit", "core=0", "--ulimit", "fsize=4096"];
    let script = "ulimit -n; ulimit -Hn; ulimit -Hc; echo x >/f; { (dd if=/dev/zero of=/f bs=8192 count=1); \
                  echo $?; } 2>/dev/null; wc -c </f";
    assert_eq!(said(shell(&limits, script)), "30\n40\n0\n153\n4096\n");
    // Further commands have them too, and PID 1 does not.
    let name = &own("with-resource-limits");
    let options = [&limits[..], &["--name", name]].concat();
    let mut process = Process::start(&mut shell(&options, "echo up; sleep 1000"));
    process.stdout.wait_for("up\n");
    let further =
        ["exec", name, "sh", "-c", "ulimit -n; grep files /proc/1/limits | awk '{print $4}'"];
    let further = said(among(&further));
    assert!(further.starts_with("30\n") && !further.ends_with("\n30\n"), "{further}");
    end(process);
    // No more than this host has to give.
    let (_, hard) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    if !has_capability_to_raise() {
        let output = end_of(shell(&["--ulimit", &format!("nofile={}", hard + 1)], "true"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("ask for less") && output.status.code() == Some(125), "{stderr}");
    }
}

/// Whether this process may raise hard limits, capabilities(7).
fn has_capability_to_raise() -> bool {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    u64::from_str_radix(line, 16).unwrap() & SYS_RESOURCE != 0
}

#[test]
fn it_is_killed_before_others() {
    if !has_limits() {
        return;
    }
    let own: i16 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    let score = said(shell(
        &["--oom-score-adj", "900"],
        "cat /proc/self/oom_score_adj /proc/1/oom_score_adj",
    ));
    let wanted = own.max(900);
    assert_eq!(score, format!("{wanted}\n{wanted}\n"));
    let output = end_of(shell(&["--oom-score-adj", "-1"], "true"));
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn what_would_be_done_is_said_and_not_done() {
    if !has_limits() {
        return;
    }
    let name = &own("explained");
    let plan = said(shell(&["--name", name, "--pids-limit", "77", "--explain"], "true"));
    let (group, way) = plan.split_once("\nThe way to it:\n").unwrap();
    assert!(group.starts_with("Its control group:\n"), "{plan}");
    for step in [name.as_str(), "write 77 to "] {
        assert!(group.contains(step), "no '{step}' in:\n{plan}");
    }
    assert!(way.starts_with("  1. clone3 into the group"), "{plan}");
    assert!(groups(name).is_empty());
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    for (options, reason) in [
        (&["--memory-swap", "64M"][..], "give --memory too"),
        (&["--memory", "64M", "--memory-swap", "32M"], "give at least the 67108864 bytes"),
        (&["--memory", "1M"], "too little memory"),
        (&["--cpus", "0"], "is not a number of CPUs"),
        (&["--cpuset-cpus", "8191"], "8191"),
        (&["--device-read-bps", "/dev/null:1M"], "/dev/null"),
        (&["--hugetlb-limit", "3M:3M"], "limits no huge pages"),
        (&["--ulimit", "files=1"], "there is no ulimit 'files'"),
        (&["--shm-size", "0"], "nothing fits"),
        (&["--tmpfs", "/proc/x"], "no place for a tmpfs"),
        (&["--tmpfs", "/a", "--tmpfs", "/a/"], "two are to be at /a"),
        (&["--security-opt", "apparmor=mine"], "is no option"),
    ] {
        let output = end_of(shell(options, "true"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            stderr.contains(reason) && output.status.code() == Some(125),
            "{options:?}: {stderr}"
        );
    }
}

#[test]
fn groups_are_gone_with_the_instance() {
    if !has_limits() {
        return;
    }
    let name = &own("grouped");
    let mut process = Process::start(&mut shell(&["--name", name], "echo up; cat; sleep 1000"));
    process.stdout.wait_for("up\n");
    assert!(!groups(name).is_empty());
    process.kill();
    // It is found dead by the next one.
    end_of(among(&["ps"]));
    assert_eq!(groups(name), Vec::<PathBuf>::new());
}

#[test]
fn all_of_this_with_version_2_in_the_testbed() {
    if duplex::host::Hierarchies::find().legacy.is_empty() {
        return say("SKIPPED: this host has version 2");
    }
    if !has_testbed() {
        return;
    }
    // Images and volumes want a file system whose owners can be mapped, and limits a disk: the testbed's.
    let (place, this) = (env!("CARGO_TARGET_TMPDIR"), std::env::current_exe().unwrap());
    let script = format!(
        "mkfs.ext4 -q -F /dev/vda && mkdir -p {place} && mount /dev/vda {place} && \
         exec env XDG_RUNTIME_DIR= {} --test-threads 1 --nocapture limits::",
        text(&this)
    );
    let _disk = testbed::disk();
    let output = process::output(&mut testbed::in_testbed(&script));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(!stderr.contains("SKIPPED: /"), "{stderr}");
}
