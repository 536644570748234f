//! One image, made by umoci and skopeo, and what it does under podman, crun and duplex.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use nix::unistd::geteuid;
use serde_json::{Value, json};

use crate::common::containers::{among, end_of, has_containers};
use crate::common::{find_program, image, say};

/// What the image says: a shell's script, in its own surroundings.
const CONFIG: &str = "--config.entrypoint /bin/sh --config.entrypoint -c --config.user ann \
                      --config.workingdir /srv/www --config.env A=1 --config.env PATH=/bin:/opt";
const SCRIPT: &str = "echo $A $PATH; id -u; id -g; pwd; cat /srv/www/page; stat -c '%a %u %g' /srv/www /opt/file; \
                      ls /opt; exit 3";

/// What is given in the place of the image's command, and what is printed, with the status.
const COMMANDS: [(&str, &str, i32); 4] = [
    (SCRIPT, "1 /bin:/opt\n1000\n100\n", 3),
    ("echo out; echo err >&2; sleep 9 & kill -9 $!; wait $!", "out\n", 137),
    ("nonesuch", "", 127),
    ("echo changed >/srv/www/page; cat /srv/www/page", "changed\n", 0),
];

fn run(directory: &Path, line: &str) -> Output {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let output = command.args(words).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A layout with an image of two layers in this directory, and an archive of docker's kind.
fn make(at: &Path) {
    run(at, "umoci init --layout layout");
    run(at, "umoci new --image layout:v1");
    run(at, "umoci unpack --image layout:v1 first");
    run(at, &format!("cp -a {}/. first/rootfs/", image::busybox().display()));
    let root = at.join("first/rootfs");
    fs::create_dir_all(root.join("srv/www")).unwrap();
    fs::create_dir_all(root.join("opt/gone")).unwrap();
    fs::write(root.join("srv/www/page"), "one\n").unwrap();
    run(at, "chown -R 1000:100 first/rootfs/srv/www");
    run(at, "umoci repack --image layout:v1 first");
    run(at, "umoci unpack --image layout:v1 second");
    let root = at.join("second/rootfs");
    fs::remove_dir(root.join("opt/gone")).unwrap();
    fs::write(root.join("opt/file"), "").unwrap();
    run(at, "umoci repack --image layout:v1 second");
    run(at, &format!("umoci config --image layout:v1 {CONFIG}"));
    run(at, "skopeo copy --quiet oci:layout:v1 docker-archive:image.tar:made:1");
}

/// Other engines know this host's control groups only where version 2 is not mounted beside version 1.
fn another(program: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh", program]);
    command
}

/// Under crun, from the bundle that umoci makes.
fn under_crun(at: &Path, number: usize, script: &str) -> Output {
    let bundle = at.join("bundle");
    if !bundle.exists() {
        run(at, "umoci unpack --image layout:v1 bundle");
    }
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/sh", "-c", script]);
    fs::write(&path, config.to_string()).unwrap();
    let mut crun = another("crun");
    crun.arg("--root").arg(at.join("crun")).args(["--cgroup-manager=cgroupfs", "run", "-b"]);
    crun.arg(bundle).arg(format!("duplex-test-{}-{number}", std::process::id()));
    crun.output().unwrap()
}

fn under_podman(at: &Path, script: &str) -> Output {
    let mut podman = another("podman");
    podman.arg("--root").arg(at.join("storage")).arg("--runroot").arg(at.join("run"));
    podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
    podman.args(["run", "--rm", "--network", "none", "--cgroups", "disabled"]);
    podman.args(["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=1000:1000"]);
    podman.args(["made:1", script]).output().unwrap()
}

fn result(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn an_image_does_the_same_under_podman_and_crun() {
    let programs = ["umoci", "skopeo", "podman", "crun"];
    let missing: Vec<_> = programs.iter().filter(|program| !find_program(program)).collect();
    if !missing.is_empty() || !geteuid().is_root() {
        say(&format!("SKIPPED: this wants root, and {programs:?}; not installed: {missing:?}"));
        return;
    }
    if !has_containers() {
        return;
    }
    // Its path must be short for podman.
    let place = tempfile::tempdir().unwrap();
    let at = place.path();
    make(at);
    run(
        at,
        &format!(
            "podman --root {0}/storage --runroot {0}/run --storage-driver vfs load -q -i image.tar",
            at.display()
        ),
    );
    let data = at.join("data");
    let ours = |arguments: &[&str]| {
        let mut command = among(arguments);
        command.env("XDG_DATA_HOME", &data);
        end_of(command)
    };
    let archive = at.join("image.tar");
    let imported = ours(&["image", "import", archive.to_str().unwrap(), "made:1"]);
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    for (number, (script, said, status)) in COMMANDS.into_iter().enumerate() {
        let podman = under_podman(at, script);
        let expected = result(&podman);
        assert_eq!(expected.0, Some(status), "{}", String::from_utf8_lossy(&podman.stderr));
        assert!(expected.1.starts_with(said), "podman: {script}: {}", expected.1);
        let crun = under_crun(at, number, script);
        assert_eq!(result(&crun), expected, "{}", String::from_utf8_lossy(&crun.stderr));
        let output = ours(&["run", "--container", "made:1", script]);
        assert_eq!(result(&output), expected, "{}", String::from_utf8_lossy(&output.stderr));
    }
}
