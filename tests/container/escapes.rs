//! Attempts to get out, `examples/escape`, on this host. Each fails.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::geteuid;

use super::attempts::{ATTEMPTS, Attempt, ON_TERMINAL};
use crate::common::containers::{among, end_of, has_containers};
use crate::common::process::Process;
use crate::common::terminal::Terminal;
use crate::common::{DUPLEX, image, soak, text};

/// Where cargo has put the example, beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples/escape")
}

/// An image with the attempts in it, once as a program that makes its user its owner. Nobody else may enter
/// the directory that it is in.
pub(crate) fn image_with_attempts() -> (tempfile::TempDir, PathBuf) {
    image_of(None)
}

fn image_of(owner: Option<u32>) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    for name in ["bin", "etc", "tmp/jail", "proc"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    for entry in fs::read_dir(image::busybox().join("etc")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), root.join("etc").join(entry.file_name())).unwrap();
    }
    for (name, mode) in [("escape", 0o755), ("raise", 0o4755)] {
        let path = root.join("bin").join(name);
        fs::copy(program(), &path).unwrap();
        chown(&path, owner, owner).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    chown(directory.path(), owner, owner).unwrap();
    chown(&root, owner, owner).unwrap();
    (directory, root)
}

/// What the attempts are after, on this host; gone with its process. It and the containers are of the same
/// user.
struct Target {
    directory: tempfile::TempDir,
    process: Process,
    /// Options that tell a container about it.
    facts: Vec<String>,
    /// If it is not this one.
    user: Option<u32>,
}

impl Target {
    fn start(user: Option<u32>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (name, mode) in [("inside", 0o755), ("state", 0o700)] {
            fs::create_dir(at(name)).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
            chown(at(name), user, user).unwrap();
        }
        chown(directory.path(), user, user).unwrap();
        for (program, name) in [(program(), "escape"), (DUPLEX.into(), "duplex")] {
            fs::copy(program, at(name)).unwrap();
        }
        // Only root can make nodes; without one there is less to attack.
        let mode = Mode::from_bits_truncate(0o666);
        let _ = mknod(&at("inside/zero"), SFlag::S_IFCHR, mode, makedev(1, 5));
        let mut command = as_user(user, &at("escape"));
        command.arg("target").arg(directory.path());
        let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let said = process.stdout.wait_for("ready\n");
        let facts = said.lines().filter(|line| line.contains('='));
        let facts = facts.flat_map(|fact| ["-e".to_owned(), fact.to_owned()]).collect();
        Self { directory, process, facts, user }
    }

    /// The attempt in a container.
    fn attempt(&self, attempt: &Attempt, image: &Path) -> Command {
        let at = |name: &str| self.directory.path().join(name);
        let mut command = as_user(self.user, &at("duplex"));
        command.env("XDG_RUNTIME_DIR", at("state")).args(["run", "--container"]);
        if self.user.is_none() {
            command.args(["--pids-limit", "20", "--memory", "64M"]);
        }
        let inside = at("inside");
        command.args(attempt.options.iter().map(|word| word.replace("INSIDE", text(&inside))));
        command.args(&self.facts).arg(image).args(["/bin/escape", attempt.name]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        drop(self.process.take_stdin());
        self.process.end();
    }
}

/// A program as another user, if one is named.
pub(crate) fn as_user(user: Option<u32>, program: &Path) -> Command {
    let Some(user) = user.map(|user| user.to_string()) else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(program);
    command
}

fn all_are_held(user: Option<u32>) {
    let (_directory, image) = image_of(user);
    let target = Target::start(user);
    let mut got_out = Vec::new();
    for attempt in ATTEMPTS {
        // An ordinary user's container has no other users.
        if user.is_some() && attempt.options.contains(&"-u") {
            continue;
        }
        let mut command = target.attempt(attempt, &image);
        let (status, said) = if attempt.name == ON_TERMINAL {
            let mut terminal = Terminal::start(&mut command);
            (terminal.end(), terminal.text())
        } else {
            let output = end_of(command);
            let said = [output.stdout, output.stderr].concat();
            (output.status, String::from_utf8_lossy(&said).into_owned())
        };
        if status.code() != Some(1) || !said.starts_with("held: ") {
            got_out.push(format!("{}: {status} {said}", attempt.name));
        }
    }
    assert!(got_out.is_empty(), "{}", got_out.join("\n"));
}

#[test]
fn every_attempt_is_held() {
    if has_containers() {
        all_are_held(None);
    }
}

#[test]
fn every_attempt_is_held_in_an_ordinary_users_container() {
    // Else the other test is that of an ordinary user.
    if has_containers() && geteuid().is_root() {
        all_are_held(Some(65534));
    }
}

/// While a neighbour with the same volume changes what the path of another leads to.
#[test]
fn links_that_change_lead_nowhere_else() {
    if !has_containers() {
        return;
    }
    let (_directory, image) = image_with_attempts();
    let [shared, volume, outside] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let start = |volumes: &[&str], command: &[&str]| {
        let mut duplex = among(&["run", "--container", "--pids-limit", "20", "--memory", "64M"]);
        for volume in volumes {
            duplex.args(["-v", volume]);
        }
        duplex.arg(&image).args(command);
        Process::start(&mut duplex)
    };
    let to_shared = format!("{}:/shared", text(shared.path()));
    let swap = ["/bin/escape", "swap", "/shared", text(outside.path())];
    let mut neighbour = start(&[&to_shared], &swap);
    neighbour.stdout.wait_for("ready\n");
    let below = format!("{}:/shared/data/new", text(volume.path()));
    for _ in 0..if soak() { 1000 } else { 20 } {
        // Where the path changes in between there is an error.
        start(&[&to_shared, &below], &["/bin/escape", "list"]).output();
    }
    fs::write(shared.path().join("stop"), "").unwrap();
    assert!(neighbour.end().success());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn every_attempt_has_its_row() {
    let list = Command::new(program()).arg("list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let mut there: Vec<_> = list.lines().collect();
    let mut rows: Vec<_> = ATTEMPTS.iter().map(|attempt| attempt.name).collect();
    there.sort_unstable();
    rows.sort_unstable();
    assert_eq!(there, rows);
    let documented = include_str!("../../docs/security.md");
    for Attempt { name, held_by, .. } in ATTEMPTS {
        let row = documented.lines().find(|line| line.starts_with(&format!("| {name} | ")));
        assert!(row.is_some_and(|row| row.contains(&format!(" | {held_by} | "))), "{name}");
    }
}
