//! Walls that are left out where somebody says so, and images that cannot be shown as they are.

use std::os::unix::process::CommandExt;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

use crate::common::containers::{among, command, end_of, has_containers, said, shell};
use crate::common::{image, say, text};

/// What a command may do, in a container with these options.
fn status(options: &[&str]) -> Vec<String> {
    let script = "awk '/^(NoNewPrivs|Seccomp):/ {print $2}' /proc/self/status; \
                  grep -c ' /proc/' /proc/self/mountinfo; true";
    said(shell(options, script)).lines().map(str::to_owned).collect()
}

#[test]
fn a_wall_is_left_out_where_asked_and_no_other() {
    if !has_containers() {
        return;
    }
    let default = status(&[]);
    let [privileges, filter, walls] = &default[..] else { panic!("{default:?}") };
    assert_eq!([privileges.as_str(), filter], ["1", "2"]);
    assert_ne!(walls, "0");
    let expect = |options: &[&str], expected: [&str; 3]| {
        assert_eq!(status(options), expected, "{options:?}");
    };
    let (seccomp, paths, new) =
        ("seccomp=unconfined", "systempaths=unconfined", "no-new-privileges=false");
    expect(&["--security-opt", seccomp], ["1", "0", walls]);
    expect(&["--security-opt", paths], ["1", "2", "0"]);
    expect(&["--security-opt", new], ["0", "2", walls]);
    expect(&["--security-opt", new, "--security-opt", seccomp], ["0", "0", walls]);
    expect(&["--security-opt", new, "--security-opt", "no-new-privileges"], ["1", "2", walls]);
}

#[test]
fn without_a_user_namespace_the_other_walls_stand() {
    if !has_containers() {
        return;
    }
    let script = "awk '{print $1, $2, $3}' /proc/self/uid_map; grep -c a80425fb /proc/self/status; \
                  mknod /disk b 254 0; mknod /dev/disk b 254 0; \
                  head -c 1 /disk; head -c 1 /dev/disk; \
                  head -c 1 /dev/zero | wc -c; touch /proc/sys/kernel/panic";
    let output = end_of(shell(&["--userns", "host"], script));
    let (stdout, stderr) = (output.stdout, output.stderr);
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if !geteuid().is_root() {
        assert!(stderr.contains("only root can make a container without"), "{stderr}");
        return;
    }
    // The host's users; three of the four sets are docker's default list; nothing of a disk.
    assert_eq!(stdout, "0 0 4294967295\n3\n1\n", "{stderr}");
    assert_eq!(stderr.matches("Permission denied").count(), 2, "{stderr}");
    assert!(stderr.contains("Read-only file system"), "{stderr}");
}

#[test]
fn control_groups_can_be_seen_where_asked() {
    if !has_containers() {
        return;
    }
    let outside = std::fs::read_link("/proc/self/ns/cgroup").unwrap();
    let inside = |options: &[&str]| said(command(options, &["stat", "-c", "%N", NAMESPACE]));
    const NAMESPACE: &str = "/proc/self/ns/cgroup";
    assert!(inside(&["--cgroupns", "host"]).contains(text(&outside)));
    assert!(!inside(&["--cgroupns", "private"]).contains(text(&outside)));
}

#[test]
fn a_guest_has_none_of_these_walls() {
    for options in
        [["--userns", "host"], ["--cgroupns", "host"], ["--security-opt", "seccomp=unconfined"]]
    {
        let mut run = among(&["run"]);
        let output = end_of_command(run.args(options).arg(image::busybox()));
        assert!(output.contains("a VM has none of these walls"), "{output}");
    }
    let mut run = among(&["run", "--container", "--security-opt", "label=disable"]);
    assert!(end_of_command(run.arg(image::busybox())).contains("is no option"));
}

/// Which must be refused; returns why.
fn end_of_command(command: &mut std::process::Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An overlay cannot be shown with other owners.
#[test]
fn an_image_whose_file_system_allows_no_idmapped_mounts_is_run_from_its_disk() {
    if !has_containers() {
        return;
    }
    if !geteuid().is_root() || !std::path::Path::new("/dev/loop-control").exists() {
        say("SKIPPED: images as disks in containers are for root, and take loop devices");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| place.path().join(name));
    for directory in [&upper, &work, &merged] {
        std::fs::create_dir(directory).unwrap();
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        text(image::busybox()),
        text(&upper),
        text(&work)
    );
    let mut run = among(&["run", "--container"]);
    run.env("XDG_CACHE_HOME", place.path());
    run.arg(&merged).args([
        "sh",
        "-c",
        "stat -c %u /bin/busybox; echo x > /bin/x; grep -c ' / / ' /proc/self/mountinfo",
    ]);
    let at = merged.clone();
    // SAFETY: system calls on what was made before, in a process that has one thread.
    unsafe {
        run.pre_exec(move || {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
            Ok(mount(Some("overlay"), &at, Some("overlay"), MsFlags::empty(), Some(&*options))?)
        });
    }
    let output = end_of(run);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n1\n", "{stderr}");
    // The device went with its last mount.
    let devices = std::fs::read_dir("/sys/block").unwrap().flatten();
    let files = devices.map(|device| device.path().join("loop/backing_file"));
    let mut shown = files.filter_map(|file| std::fs::read_to_string(file).ok());
    assert!(!shown.any(|file| file.starts_with(text(place.path()))));
}
