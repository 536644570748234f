//! `duplex image`, as it is called.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::unistd::geteuid;

use crate::common::{DUPLEX, say};
use crate::layout::Layout;
use crate::tarball::Tarball;

fn duplex(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(DUPLEX);
    command.args(arguments).env("XDG_DATA_HOME", home).env("XDG_CACHE_HOME", home);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn an_image_is_imported_listed_exported_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| duplex(home.path(), arguments).output().unwrap();
    let source = home.path().join("image.tar");
    fs::write(&source, Layout::of(&crate::layers::layers()).archive()).unwrap();
    let source = source.to_str().unwrap();
    assert_eq!(
        said(&run(&["image", "ls"])).trim_end(),
        " NAME  FROM  DIGEST  SIZE  CREATED".trim_end()
    );
    assert_eq!(said(&run(&["image", "import", source, "lib/a:1"])), "lib/a:1\n");
    assert!(refused(&run(&["image", "import", source, "lib/a:1"])).contains("is there already"));
    assert_eq!(said(&run(&["image", "import", "--replace", source, "lib/a:1"])), "lib/a:1\n");
    let list = said(&run(&["image", "ls"]));
    assert!(list.contains("lib/a:1") && list.contains("OCI image"), "{list}");
    let json: serde_json::Value =
        serde_json::from_str(&said(&run(&["image", "ls", "--json"]))).unwrap();
    assert_eq!(json[0]["name"], "lib/a:1");
    assert_eq!(json[0]["process"]["Entrypoint"][0], "/bin/entry");

    let exported = home.path().join("exported.tar");
    let output = exported.to_str().unwrap();
    said(&run(&["image", "export", "lib/a:1", "-o", output]));
    assert!(refused(&run(&["image", "export", "lib/a:1", "-o", output])).contains("File exists"));
    let piped = run(&["image", "export", "lib/a:1"]);
    assert!(piped.status.success() && piped.stdout == fs::read(&exported).unwrap());

    assert_eq!(said(&run(&["image", "rm", "lib/a:1"])), "lib/a:1\n");
    assert!(refused(&run(&["image", "rm", "lib/a:1"])).contains("no image called lib/a:1"));
    assert!(refused(&run(&["image", "rm", "../x"])).contains("is no name of an image"));
    assert!(
        refused(&run(&["image", "import", "/nonesuch"])).contains("source /nonesuch: No such file")
    );
    assert!(refused(&run(&["run", "nonesuch"])).contains("there is no image called nonesuch"));
}

#[test]
fn an_import_comes_from_standard_input_too() {
    let home = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("tarball", crate::layers::layers()[0].clone()),
        ("docker", Layout::docker(&crate::layers::layers(), |_| {}).archive()),
    ] {
        let mut command = duplex(home.path(), &["image", "import", "-", name]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        assert_eq!(said(&child.wait_with_output().unwrap()), format!("{name}\n"));
        let root = home.path().join("duplex/images").join(name).join("rootfs");
        assert!(root.join("bin/entry").exists());
    }
    let nameless = duplex(home.path(), &["image", "import", "-"])
        .stdin(fs::File::open(home.path().join("duplex/images/tarball/config.json")).unwrap())
        .output()
        .unwrap();
    assert!(refused(&nameless).contains("it is neither"));
}

#[test]
fn what_a_killed_import_leaves_the_next_command_removes() {
    let home = tempfile::tempdir().unwrap();
    let staging = home.path().join("duplex/images/.staging");
    let count = || fs::read_dir(&staging).map_or(0, |entries| entries.count());
    let archive = Tarball::new().directory("d").file("d/file", &[1; 1 << 20]).end();
    let mut child = duplex(home.path(), &["image", "import", "-", "half"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // More than a pipe, and what is looked at first, can hold: when it has been written, unpacking has
    // begun.
    let mut stdin = child.stdin.take().unwrap();
    let rest = Tarball::new().file("d/more", &vec![1; 4 << 20]).open_end();
    stdin.write_all(&archive[..archive.len() - 1024]).unwrap();
    stdin.write_all(&rest).unwrap();
    assert_eq!(count(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(count(), 1);
    let list = said(&duplex(home.path(), &["image", "ls"]).output().unwrap());
    assert!(!list.contains("half"));
    assert_eq!(count(), 0);
}

#[test]
fn an_ordinary_user_is_told_what_is_left_out() {
    if !geteuid().is_root() {
        say("SKIPPED: only root can become another user");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::chown(&data, Some(65534), Some(65534)).unwrap();
    // The program itself may lie where others cannot look. Not copied by this process: what another
    // test starts meanwhile would have the copy open for writing, and it could not be executed.
    let program = home.path().join("duplex");
    let copied = Command::new("cp").arg(DUPLEX).arg(&program).status().unwrap();
    assert!(copied.success());
    let archive = home.path().join("root.tar");
    let tarball = Tarball::new()
        .entry(b'5', "closed", "", b"", |header| header.set_mode(0o555))
        .entry(b'0', "closed/shadow", "", b"x", |header| {
            header.set_uid(7);
            header.set_mode(0);
        })
        .entry(b'3', "null", "", b"", |_| {})
        .pax(&[("SCHILY.xattr.security.capability", &crate::layers::CAPABILITY)])
        .file("capable", b"");
    fs::write(&archive, tarball.end()).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .env("XDG_DATA_HOME", &data)
            .env_remove("HOME")
            .uid(65534)
            .gid(65534);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let output = run(&["image", "import", archive.to_str().unwrap(), "a"]);
    let told = text(&output.stderr);
    assert_eq!(said(&output), "a\n");
    assert!(told.contains("its files belong to you"), "{told}");
    assert!(told.contains("1 device node left out; 1 extended attribute left out"), "{told}");
    let root = data.join("duplex/images/a/rootfs");
    let shadow = fs::metadata(root.join("closed/shadow")).unwrap();
    assert_eq!((shadow.uid(), shadow.mode() & 0o777), (65534, 0o600));
    assert!(!root.join("null").exists());
    assert_eq!(said(&run(&["image", "rm", "a"])), "a\n");
    assert!(!root.exists());
}
