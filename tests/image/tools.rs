//! Images that umoci, skopeo, buildah and podman from Debian's packages make.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use nix::unistd::geteuid;

use crate::common::{find_program, say};
use crate::layers::tree;
use crate::yard::Yard;

/// Whether these programs are there; says so where one is not.
fn has(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !find_program(program)).collect();
    if !geteuid().is_root() {
        say("SKIPPED: only root keeps owners, so that others could be compared");
    } else if !missing.is_empty() {
        say(&format!("SKIPPED: not installed: {missing:?}"));
    }
    missing.is_empty() && geteuid().is_root()
}

fn run(directory: &Path, line: &str) {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    let output = command.args(words).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Changes a root in every way, in two steps with a layer each.
fn change(root: &Path, step: usize) {
    match step {
        0 => {
            fs::create_dir_all(root.join("usr/bin")).unwrap();
            fs::create_dir_all(root.join("opt/old/deep")).unwrap();
            fs::write(root.join("opt/old/deep/file"), "1").unwrap();
            fs::write(root.join("opt/gone"), "").unwrap();
            fs::write(root.join("usr/bin/tool"), crate::samples::noise(100_000)).unwrap();
            fs::set_permissions(root.join("usr/bin/tool"), fs::Permissions::from_mode(0o4755))
                .unwrap();
            fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/linked")).unwrap();
            symlink("usr/bin", root.join("bin")).unwrap();
            xattr::set(root.join("usr/bin/tool"), "user.note", b"a\nb").unwrap();
            let device = nix::sys::stat::makedev(1, 3);
            let (kind, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::S_IRUSR);
            nix::sys::stat::mknod(&root.join("null"), kind, mode, device).unwrap();
            std::os::unix::fs::chown(root.join("opt/gone"), Some(1000), Some(100)).unwrap();
            fs::write(root.join(format!("opt/{}", "long".repeat(50))), "").unwrap();
        }
        _ => {
            fs::remove_file(root.join("opt/gone")).unwrap();
            fs::remove_dir_all(root.join("opt/old")).unwrap();
            fs::create_dir(root.join("opt/old")).unwrap();
            fs::write(root.join("opt/old/new"), "2").unwrap();
            fs::write(root.join("usr/bin/other"), "3").unwrap();
        }
    }
}

/// What a root holds, without times: not every program keeps their fractions, or those of directories
/// that it has not made.
fn timeless(root: &Path) -> Vec<String> {
    let without = |line: String| {
        let words = line.split(' ').enumerate().filter(|(at, _)| *at != 3);
        words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
    };
    tree(root).into_iter().map(without).collect()
}

#[test]
fn what_umoci_and_skopeo_make_is_what_umoci_unpacks() {
    if !has(&["umoci", "skopeo"]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let at = place.path();
    run(at, "umoci init --layout layout");
    run(at, "umoci new --image layout:v1");
    for step in 0..2 {
        run(at, &format!("umoci unpack --image layout:v1 bundle{step}"));
        change(&at.join(format!("bundle{step}/rootfs")), step);
        run(at, &format!("umoci repack --image layout:v1 bundle{step}"));
    }
    run(
        at,
        "umoci config --image layout:v1 --config.cmd /bin/tool --config.env A=1 --config.user 7",
    );
    run(at, "umoci unpack --image layout:v1 expected");
    let expected = timeless(&at.join("expected/rootfs"));

    run(at, "skopeo copy --quiet oci:layout:v1 oci-archive:oci.tar:v1");
    run(at, "skopeo copy --quiet oci:layout:v1 docker-archive:docker.tar:busybox:1");
    run(at, "skopeo copy --quiet --dest-compress-format zstd oci:layout:v1 oci:zstd:v1");
    for source in ["layout", "oci.tar", "docker.tar", "zstd"] {
        let yard = Yard::new();
        let image = yard.import(&at.join(source)).unwrap().image;
        assert_eq!(timeless(&image.root), expected, "{source}");
        let process = &image.config.process;
        assert_eq!((&process.cmd[..], &*process.user), (&["/bin/tool".into()][..], "7"));
        assert!(process.env.contains(&"A=1".to_owned()), "{source}");
    }
}

#[test]
fn what_buildah_and_podman_make_is_imported() {
    if !has(&["buildah", "podman"]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let at = place.path();
    let root = at.join("root");
    fs::create_dir(&root).unwrap();
    change(&root, 0);
    fs::remove_file(root.join("null")).unwrap();
    let storage =
        format!("--root {0}/storage --runroot {0}/run --storage-driver vfs", at.display());
    fs::write(at.join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)
        .unwrap();
    let policy = "--signature-policy policy.json";
    let buildah = |line: &str| run(at, &format!("buildah {storage} {line}"));
    buildah("from --name work scratch");
    buildah("copy --quiet work root /");
    buildah("config --cmd /bin/tool --workingdir /opt work");
    buildah(&format!("commit --quiet {policy} work built"));
    buildah(&format!("push --quiet {policy} built oci-archive:oci.tar"));
    buildah(&format!("push --quiet {policy} built docker-archive:docker.tar:built:1"));
    let podman = |line: &str| run(at, &format!("podman {storage} {line}"));
    podman("save --quiet --format oci-archive -o podman-oci.tar localhost/built");
    podman("save --quiet --format docker-archive -o podman-docker.tar localhost/built");
    let contents = |root: &Path| -> Vec<String> {
        // It gives all to root, and some versions leave out extended attributes and hard links.
        let path_mode = |line: &String| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        timeless(root).iter().map(path_mode).filter(|line| !line.starts_with(' ')).collect()
    };
    for source in ["oci.tar", "docker.tar", "podman-oci.tar", "podman-docker.tar"] {
        let yard = Yard::new();
        let image = yard.import(&at.join(source)).unwrap().image;
        assert_eq!(contents(&image.root), contents(&root), "{source}");
        assert_eq!(image.config.process.working_dir, "/opt");
    }
}
