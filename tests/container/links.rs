//! Links of an image, which its maker chose, and what PID 1 does at paths that they are on.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use tempfile::TempDir;

use super::escapes::as_user;
use crate::common::containers::{among, end_of, has_containers};
use crate::common::{DUPLEX, image, text};

/// Who runs containers, with a copy of duplex and a state directory of theirs.
struct Caller {
    user: Option<u32>,
    /// Options that its containers have.
    options: &'static [&'static str],
    place: TempDir,
}

impl Caller {
    fn new(user: Option<u32>, options: &'static [&'static str]) -> Self {
        let caller = Self { user, options, place: tempfile::tempdir().unwrap() };
        caller.give(caller.place.path());
        copy(Path::new(DUPLEX), &caller.place.path().join("duplex"));
        caller.make("state", 0o700);
        caller
    }

    /// Who this is and, if that is root, an ordinary user, and root in a container without other users.
    fn all() -> Vec<Self> {
        let mut all = vec![Self::new(None, &[])];
        if geteuid().is_root() {
            all.push(Self::new(Some(65534), &[]));
            all.push(Self::new(None, &["--userns", "host"]));
        }
        all
    }

    fn give(&self, path: &Path) {
        chown(path, self.user, self.user).unwrap();
    }

    /// A directory of theirs.
    fn make(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.place.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self.give(&path);
        path
    }

    /// An image with a program.
    fn image(&self, name: &str) -> PathBuf {
        let root = self.make(name, 0o755);
        self.make(&format!("{name}/bin"), 0o755);
        copy(&image::busybox().join("bin/busybox"), &root.join("bin/busybox"));
        root
    }

    /// What comes of a container that does nothing: its status and what it said.
    fn run(&self, options: &[&str], image: &Path) -> (Option<i32>, String) {
        let mut command = as_user(self.user, &self.place.path().join("duplex"));
        command.env("XDG_RUNTIME_DIR", self.place.path().join("state"));
        command.args(["run", "--container"]).args(self.options).args(options);
        command.arg(image).args(["/bin/busybox", "true"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = end_of(command);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// By another process: what a thread of this one has open to write, a child of another thread may still
/// have when the copy is executed (ETXTBSY).
fn copy(program: &Path, to: &Path) {
    assert!(Command::new("cp").args([program, to]).status().unwrap().success());
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn what_pid_1_has_open_leads_no_link_outside() {
    if !has_containers() {
        return;
    }
    for caller in Caller::all() {
        let outside = caller.make("outside", 0o777);
        let image = caller.image("image");
        // Its name's files are written there.
        let link = image.join("etc");
        for number in 3..=20 {
            symlink(format!("/proc/self/fd/{number}{}", text(&outside)), &link).unwrap();
            caller.run(&[], &image);
            assert!(is_empty(&outside), "{:?}: descriptor {number}", caller.options);
            fs::remove_file(&link).unwrap();
        }
    }
}

#[test]
fn the_callers_streams_lead_no_link_outside() {
    if !has_containers() {
        return;
    }
    let caller = Caller::new(None, &[]);
    let outside = caller.make("outside", 0o777);
    let image = caller.image("image");
    symlink("/proc/self/fd/0", image.join("etc")).unwrap();
    let with_stdin = |options: &[&str]| {
        let mut command = among(&["run", "--container"]);
        command.args(options).arg(&image).args(["/bin/busybox", "ls"]);
        command.stdin(fs::File::open(&outside).unwrap());
        String::from_utf8_lossy(&end_of(command).stdout).into_owned()
    };
    with_stdin(&[]);
    assert!(is_empty(&outside));
    fs::write(outside.join("mark"), "").unwrap();
    let said = with_stdin(&["-w", "/proc/self/fd/0"]);
    assert!(!said.contains("mark"), "{said}");
}

#[test]
fn no_directory_is_made_outside_for_a_mount() {
    if !has_containers() {
        return;
    }
    for caller in Caller::all() {
        let outside = caller.make("outside", 0o777);
        let image = caller.image("image");
        let volume = format!("{}:/srv/made", text(&caller.make("volume", 0o777)));
        let own = ["cwd".to_owned()].into_iter().chain((3..=20).map(|fd| format!("fd/{fd}")));
        for way in own {
            let link = image.join("srv");
            symlink(format!("/proc/self/{way}{}", text(&outside)), &link).unwrap();
            caller.run(&["-v", &volume], &image);
            caller.run(&["--tmpfs", "/srv/made"], &image);
            assert!(is_empty(&outside), "{:?}: {way}", caller.options);
            fs::remove_file(&link).unwrap();
        }
    }
}

#[test]
fn names_and_ways_up_lead_nowhere_but_into_the_container() {
    if !has_containers() {
        return;
    }
    let caller = Caller::new(None, &[]);
    let outside = caller.make("outside", 0o777);
    let volume = format!("{}:/data/made", text(&caller.make("volume", 0o777)));
    for (number, up) in ["", "../../../../../.."].into_iter().enumerate() {
        let image = caller.image(&format!("image-{number}"));
        symlink(format!("{up}{}", text(&outside)), image.join("data")).unwrap();
        caller.run(&["-v", &volume], &image);
        assert!(is_empty(&outside), "{up}");
    }
}

#[test]
fn the_kernels_file_systems_are_where_programs_expect_them() {
    if !has_containers() {
        return;
    }
    let caller = Caller::new(None, &[]);
    for name in ["proc", "dev", "sys"] {
        let image = caller.image(name);
        fs::create_dir(image.join("elsewhere")).unwrap();
        symlink("/elsewhere", image.join(name)).unwrap();
        let (status, said) = caller.run(&[], &image);
        assert_eq!(status, Some(125), "{said}");
        assert!(said.contains(&format!("cannot make /{name}: the image has a link")), "{said}");
    }
}

/// It overwrites its arguments, where the kernel says that they are, and nobody else.
#[test]
fn a_volume_over_proc_tells_pid_1_nothing() {
    if !has_containers() {
        return;
    }
    let caller = Caller::new(None, &["--security-opt", "apparmor=unconfined"]);
    let proc = caller.make("proc", 0o755);
    caller.make("proc/self", 0o755);
    let fields: Vec<_> = (3..=52).map(|field| if field == 49 { "8192" } else { "4096" }).collect();
    fs::write(proc.join("self/stat"), format!("1 (x) {}\n", fields.join(" "))).unwrap();
    let image = caller.image("image");
    symlink("/", image.join("data")).unwrap();
    let volume = format!("{}:/data/proc", text(&proc));
    assert_eq!(caller.run(&["-v", &volume], &image), (Some(0), String::new()));
}
