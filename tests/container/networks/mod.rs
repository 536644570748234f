//! Networks of containers. Each test is a shell script in network and mount namespaces made for it: what
//! is the host there has nothing to do with this one's network.

mod bridges;
mod kinds;
mod ports;
mod rates;

use std::process::{Command, Stdio};

use crate::common::containers::{has_containers, runtime_directory};
use crate::common::process::Process;
use crate::common::{DUPLEX, find_program, image, say};

/// What every script begins with. Its shell is PID 1: nothing that it has started outlives it. `serve
/// NAME OPTIONS…` starts a container that answers on port 80, and returns when it does; `get URL` says
/// what is there, or "nothing".
const PRELUDE: &str = r#"
    mount -t tmpfs none /run
    ip link set lo up
    printf 'nameserver 127.0.0.1\nnameserver 10.9.8.1\nsearch duplex.test\n' >/run/resolv.conf
    mount --bind /run/resolv.conf /etc/resolv.conf
    cd /run
    run="$DUPLEX run --container"
    serve() {
        name=$1; shift; mkfifo "$name.up"
        $run --name "$name$ID" "$@" "$IMAGE" sh -c "mkdir /srv; hostname >/srv/index.html
            busybox httpd -p 80 -h /srv; echo up; exec sleep 1000" >"$name.up" &
        eval "$name=$!"
        read -r line <"$name.up"; [ "$line" = up ]
    }
    get() { timeout 5 busybox wget -q -O - "$1" 2>/dev/null || echo nothing; }
    got() { echo "$1: $(get "$2" | sed "s/$ID//")"; }
    # Everything that a network could leave behind.
    everything() { ip -br link | sed 's/ .*//'; nft list tables; ls /run/duplex-network 2>/dev/null || :; }
"#;

/// Runs a script to its end; returns what it says. None where this host lacks what it takes, which is
/// said.
fn scene(name: &str, script: &str) -> Option<String> {
    if !has_containers() {
        return None;
    }
    if !nix::unistd::geteuid().is_root() {
        say("SKIPPED: network namespaces for tests take root");
        return None;
    }
    for program in ["nft", "ip", "busybox", "unshare"] {
        if !find_program(program) {
            say(&format!("SKIPPED: {program} is not installed (make packages)"));
            return None;
        }
    }
    let mut command = Command::new("unshare");
    command.args([
        "-n",
        "-m",
        "-p",
        "-f",
        "--mount-proc",
        "sh",
        "-euc",
        &format!("{PRELUDE}\n{script}"),
    ]);
    command.env("DUPLEX", DUPLEX).env("IMAGE", image::busybox());
    command.env("ID", format!("-{name}-{}", std::process::id()));
    command.env("XDG_RUNTIME_DIR", runtime_directory());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = Process::start(&mut command).output();
    let all =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert_eq!(output.status.code(), Some(0), "{}", all.concat());
    Some(all.concat())
}

/// Asserts that all these lines are there.
fn has(all: &str, lines: &[&str]) {
    for line in lines {
        assert!(all.lines().any(|other| other == *line), "no line '{line}' in:\n{all}");
    }
}
