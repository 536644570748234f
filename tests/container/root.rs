//! The root file system: layered, with what the kernel offers, and directories of the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Output;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::common::containers::{among, end_of, has_containers, said, shell};
use crate::common::{image, text};

#[test]
fn the_root_can_be_written_to_and_the_image_stays_as_it_is() {
    if !has_containers() {
        return;
    }
    let script = "echo changed > /etc/group; echo new > /new; cat /etc/group /new; rm -r /root; \
                  mkdir /root; ls -a /root | wc -l";
    assert_eq!(said(shell(&[], script)), "changed\nnew\n2\n");
    let image = image::busybox();
    assert!(fs::read_to_string(image.join("etc/group")).unwrap().starts_with("root"));
    assert!(!image.join("new").exists());
}

#[test]
fn a_read_only_root_cannot_be_written_to() {
    if !has_containers() {
        return;
    }
    let script =
        "touch /x 2>&1; touch /dev/shm/x && echo shm; touch /proc/sys/kernel/hostname 2>&1";
    let output = end_of(shell(&["--read-only"], script));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("touch: /x: Read-only file system\nshm\n"), "{said}");
}

#[test]
fn devices_are_the_harmless_ones() {
    if !has_containers() {
        return;
    }
    let script = "ls /dev; head -c 3 /dev/zero | wc -c; echo x > /dev/null; ls /dev/fd/ | wc -l; \
                  mknod /dev/sda b 8 0 2>&1 | grep -c Operation";
    let text = said(shell(&[], script));
    let (devices, rest) = text.split_once("zero\n").unwrap();
    let expected = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom";
    assert_eq!(devices.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    assert_eq!(rest, "3\n4\n1\n");
}

#[test]
fn a_volume_is_a_directory_of_the_host() {
    if !has_containers() {
        return;
    }
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("in"), "in\n").unwrap();
    let volume = format!("{}:/made/data", text(here.path()));
    assert_eq!(
        said(shell(&["-v", &volume], "cat /made/data/in; echo out > /made/data/out")),
        "in\n"
    );
    let out = here.path().join("out");
    assert_eq!(fs::read_to_string(&out).unwrap(), "out\n");
    // The container's root is the caller there.
    assert_eq!(fs::metadata(&out).unwrap().uid(), nix::unistd::geteuid().as_raw());
    let read_only = format!("{volume}:ro");
    let script = "touch /made/data/x 2>&1 | grep -c 'Read-only'";
    assert_eq!(said(shell(&["-v", &read_only], script)), "1\n");
}

/// An image with busybox alone.
fn small_image() -> TempDir {
    let image = tempfile::tempdir().unwrap();
    for directory in ["bin", "etc"] {
        fs::create_dir(image.path().join(directory)).unwrap();
    }
    let busybox = image::busybox().join("bin/busybox");
    fs::copy(busybox, image.path().join("bin/busybox")).unwrap();
    image
}

/// Runs a program of such an image.
fn run_of(image: &TempDir, argv: &[&str]) -> Output {
    let mut command = among(&["run", "--container"]);
    command.arg(image.path()).args(argv);
    end_of(command)
}

#[test]
fn a_list_of_users_that_is_no_file_is_not_waited_for() {
    if !has_containers() {
        return;
    }
    let image = small_image();
    let list = image.path().join("etc/passwd");
    mkfifo(&list, Mode::S_IRWXU).unwrap();
    let refused = |reason: &str| {
        let output = run_of(&image, &["/bin/busybox", "true"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{stderr}");
        assert!(stderr.contains(&format!("the image's /etc/passwd: {reason}")), "{stderr}");
    };
    refused("it is no regular file");
    fs::remove_file(&list).unwrap();
    // A terabyte that takes no room.
    fs::File::create(&list).unwrap().set_len(1 << 40).unwrap();
    refused("it is longer than");
}

#[test]
fn an_image_may_have_a_link_at_tmp_that_leads_nowhere() {
    if !has_containers() {
        return;
    }
    let image = small_image();
    symlink("/run/nonesuch", image.path().join("tmp")).unwrap();
    let output = run_of(&image, &["/bin/busybox", "readlink", "/tmp"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout, b"/run/nonesuch\n", "{stderr}");
}
