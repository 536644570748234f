//! What commands may do that other users may not, and what PID 1 still can when that is little.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use duplex::isolate::capabilities::{Capabilities, Capability};
use nix::unistd::geteuid;

use crate::common::containers::{among, command, has_containers, said, shell};
use crate::common::terminal::Terminal;
use crate::common::{say, text};

/// Prints the inheritable, permitted, effective, bounding and ambient set.
const SETS: &str = "awk '/^Cap/ {print $2}' /proc/self/status";
const NOTHING: &str = "0000000000000000";

fn sets(command: Command) -> Vec<String> {
    said(command).lines().map(str::to_owned).collect()
}

fn can_have_other_users() -> bool {
    let can = geteuid().is_root();
    if !can {
        say("SKIPPED: an ordinary user's container has no other users");
    }
    can
}

#[test]
fn a_command_has_what_is_granted_and_no_more() {
    if !has_containers() {
        return;
    }
    assert_eq!(sets(shell(&["--cap-drop", "ALL"], SETS)), [NOTHING; 5]);
    for dropped in [Capability::SETUID, Capability::SETGID, Capability::KILL, Capability::CHOWN] {
        let name = dropped.to_string();
        let rest = Capabilities::DEFAULT.without(dropped.into());
        let bits: u64 = rest.iter().map(|one| 1 << one.number()).sum();
        let rest = format!("{bits:016x}");
        let expected = [NOTHING, &rest, &rest, &rest, NOTHING];
        assert_eq!(sets(shell(&["--cap-drop", &name], SETS)), expected, "{name}");
    }
}

#[test]
fn another_user_has_nothing() {
    if !has_containers() || !can_have_other_users() {
        return;
    }
    let sets_of = |options: &[&str]| sets(shell(&[&["-u", "1000"], options].concat(), SETS));
    assert_eq!(sets_of(&["--cap-drop", "ALL"]), [NOTHING; 5]);
    assert_eq!(sets_of(&[]), [NOTHING, NOTHING, NOTHING, "00000000a80425fb", NOTHING]);
}

#[test]
fn pid_1_ends_and_joins_other_users_commands_whatever_is_dropped() {
    if !has_containers() {
        return;
    }
    let name = "dropped";
    let mut options = vec!["-d", "--name", name, "--cap-drop", "ALL"];
    if can_have_other_users() {
        options.extend(["-u", "1000"]);
    }
    let server = "trap 'exit 7' TERM; touch /tmp/ready; while :; do sleep 1000 & wait $!; done";
    assert_eq!(said(shell(&options, server)), "dropped\n");
    let script = format!("until [ -e /tmp/ready ]; do sleep 0.1; done; {SETS}");
    assert_eq!(sets(among(&["exec", name, "sh", "-c", &script])), [NOTHING; 5]);
    assert_eq!(said(among(&["stop", name])), "dropped\n");
    assert_eq!(said(among(&["wait", name])), "7\n");
    said(among(&["rm", name]));
}

#[test]
fn other_users_have_their_terminal_and_directory_whatever_is_dropped() {
    if !has_containers() || !can_have_other_users() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let private = place.path().join("private");
    fs::create_dir(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&private, Some(1000), None).unwrap();
    let volume = format!("{}:/private", text(&private));
    let options = ["-t", "--cap-drop", "ALL", "-u", "1000", "-v", &volume, "-w", "/private"];
    let script = "echo $(stat -c %u $(tty)) $(pwd)";
    let mut terminal = Terminal::start(&mut command(&options, &["sh", "-c", script]));
    assert!(terminal.end().success(), "{}", terminal.text());
    assert!(terminal.text().contains("1000 /private"), "{}", terminal.text());
}
