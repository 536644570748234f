//! How commands end, and what the caller sees of it.

use std::io;
use std::os::unix::process::CommandExt;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::common::containers::{among, command, end_of, has_containers, said, shell};
use crate::common::image;
use crate::common::process::Process;

#[test]
fn the_status_is_the_commands() {
    if !has_containers() {
        return;
    }
    for (script, status) in [
        ("exit 7", 7),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("kill -34 $$", 162),
        ("exit 255", 255),
    ] {
        assert_eq!(end_of(shell(&[], script)).status.code(), Some(status), "{script}");
    }
}

#[test]
fn a_command_that_cannot_be_started_is_named() {
    if !has_containers() {
        return;
    }
    for (argv, status, said) in [
        (["nosuch", ""], 127, "duplex: nosuch: No such file"),
        (["/etc/passwd", ""], 126, "duplex: /etc/passwd: Permission denied"),
        (["/bin", ""], 126, "duplex: /bin: "),
    ] {
        let output = end_of(command(&[], &argv[..1]));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{stderr}");
        assert!(stderr.starts_with(said), "{stderr}");
    }
}

/// What was prepared for it is handed over to nobody then.
#[test]
fn a_step_that_fails_early_is_named() {
    if !has_containers() {
        return;
    }
    let mut command = command(&[], &["true"]);
    // SAFETY: makes system calls only.
    unsafe { command.pre_exec(refuse_clocks) };
    let output = end_of(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(
        stderr.contains("cannot start a clock of its own: Operation not permitted"),
        "{stderr}"
    );
}

/// As some containers do in which duplex may run: unshare(CLONE_NEWTIME) is refused.
fn refuse_clocks() -> io::Result<()> {
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    // The number and the first argument of a call, as seccomp(2) shows them.
    let filter = [
        instruction(LOAD, 0, 0),
        instruction(UNLESS_EQUAL, u32::try_from(libc::SYS_unshare).unwrap(), 3),
        instruction(LOAD, 16, 0),
        instruction(UNLESS_EQUAL, libc::CLONE_NEWTIME.unsigned_abs(), 1),
        instruction(RETURN, refused, 0),
        instruction(RETURN, libc::SECCOMP_RET_ALLOW, 0),
    ];
    let length = u16::try_from(filter.len()).unwrap();
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: system calls; the program is alive and is only read.
    unsafe {
        Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        let mode = libc::SECCOMP_MODE_FILTER;
        Errno::result(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program))?;
    }
    Ok(())
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const UNLESS_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

fn instruction(code: u32, k: u32, skipped: u8) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap(), jt: 0, jf: skipped, k }
}

#[test]
fn what_cannot_be_is_refused() {
    if !has_containers() {
        return;
    }
    let volumes: Vec<String> = (0..9).map(|number| format!("/usr:/{number}")).collect();
    let too_many: Vec<&str> = volumes.iter().flat_map(|volume| ["-v", volume]).collect();
    for (options, said) in [
        (&["-u", "nobody-here"][..], "no user nobody-here"),
        (&["-w", "here"], "--workdir: give an absolute path"),
        (&["-u", "70000"], "a container has users and groups 0 to 65535"),
        (&["--keep", "x"], "--keep: "),
        (&["-v", "/nonesuch:/x"], "-v /nonesuch: No such file"),
        (&["-v", "/tmp:/proc"], "no place in a guest"),
        (&["--vm"], "cannot be used with"),
        (&too_many, "9 volumes are too many"),
    ] {
        let output = end_of(command(options, &["true"]));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
    let output = end_of(among(&["run", "--container", "/nonesuch", "true"]));
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("image /nonesuch: No such file"));
}

#[test]
fn a_signal_to_duplex_is_the_commands() {
    if !has_containers() {
        return;
    }
    let script = "trap 'echo term; exit 5' TERM; echo ready; while :; do sleep 1000 & wait; done";
    let mut process = Process::start(&mut shell(&[], script));
    process.stdout.wait_for("ready\n");
    process.signal(Signal::SIGTERM);
    process.stdout.wait_for("term\n");
    assert_eq!(process.end().code(), Some(5));
}

#[test]
fn what_the_command_leaves_running_ends_with_it() {
    if !has_containers() {
        return;
    }
    let output = end_of(shell(&[], "sleep 1000 & sleep 1000 & echo done"));
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"done\n"[..]));
}

/// Names and paths come from images, and what is said from whoever runs in a container.
#[test]
fn messages_do_nothing_to_a_terminal() {
    if !has_containers() {
        return;
    }
    for options in [&[][..], &["-d"]] {
        let mut run = among(&["run", "--container", "-u", "\x1b[2J\u{9b}x\r"]);
        let output = end_of({
            run.args(options).arg(image::busybox()).arg("true");
            run
        });
        assert_eq!(output.status.code(), Some(125));
        let stderr = String::from_utf8_lossy(&output.stderr);
        let said = "no user \u{fffd}[2J\u{fffd}x\u{fffd};";
        assert!(stderr.contains(said) && !stderr.contains(['\x1b', '\r', '\u{9b}']), "{stderr:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    if !has_containers() {
        return;
    }
    let mut full = shell(&[], "echo lost");
    full.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let output = full.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("output cannot be written: No space left"), "{stderr}");
}

#[test]
fn of_limits_of_a_kind_the_last_counts() {
    if !has_containers() {
        return;
    }
    let options = ["--ulimit", "nofile=100", "--ulimit", "core=0", "--ulimit", "nofile=200"];
    assert_eq!(said(shell(&options, "ulimit -n; ulimit -c")), "200\n0\n");
}
