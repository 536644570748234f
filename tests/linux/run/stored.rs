//! Images of the store: what one says about the command holds, unless the caller says otherwise.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use duplex::image::export;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

use super::{complained, image, said};
use crate::common::{empty_directory, testbed};
use crate::guest::in_emulation;

/// One of duplex's commands, with a store of its own.
fn duplex(home: &Path, arguments: &[&str]) -> Command {
    let mut command = testbed::duplex(testbed::shared());
    command.env("XDG_DATA_HOME", home).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The busybox image, as `docker save` would write it.
fn docker_archive(path: &Path) {
    let mut layer = Vec::new();
    export(image::busybox(), &mut layer).unwrap();
    let config = json!({
        "os": "linux", "architecture": "amd64",
        "config": {
            "Entrypoint": ["sh", "-c"], "Cmd": ["echo $A $B; id -un; pwd"],
            "Env": ["PATH=/bin", "A=1", "B=2"], "User": "ann", "WorkingDir": "/srv",
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))] },
    });
    let manifest =
        json!([{ "Config": "config.json", "RepoTags": ["a:1"], "Layers": ["layer.tar"] }]);
    let mut archive = Builder::new(fs::File::create(path).unwrap());
    let files = [
        ("manifest.json", manifest.to_string().into_bytes()),
        ("config.json", config.to_string().into_bytes()),
        ("layer.tar", layer),
    ];
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, &*bytes).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn what_an_image_says_holds_unless_the_caller_says_otherwise() {
    in_emulation(&"an image of the store", || {
        let home = empty_directory("stored-images");
        let source = home.join("a.tar");
        docker_archive(&source);
        let run = |arguments: &[&str]| said(duplex(&home, &[&["run"], arguments].concat()));
        let source = source.to_str().unwrap();
        assert_eq!(said(duplex(&home, &["image", "import", source])), ("a:1\n".into(), Some(0)));
        assert_eq!(run(&["a:1"]), ("1 2\nann\n/srv\n".into(), Some(0)));
        assert_eq!(run(&["a:1", "echo $B; exit 7"]), ("2\n".into(), Some(7)));
        let otherwise = ["-e", "A=3", "-u", "root", "-w", "/etc", "a:1"];
        assert_eq!(run(&otherwise), ("3 2\nroot\n/etc\n".into(), Some(0)));
        assert_eq!(run(&["--entrypoint", "echo", "a:1", "$A"]), ("$A\n".into(), Some(0)));

        let script = "while :; do sleep 0.1; done";
        let detached = ["-d", "--name", "leases", "a:1", script];
        assert_eq!(run(&detached), ("leases\n".into(), Some(0)));
        let (text, status) = complained(duplex(&home, &["image", "rm", "a:1"]));
        assert!(text.contains("the image a:1 is in use") && status == Some(125), "{text}");
        let exec = ["exec", "leases", "sh", "-c", "echo $A; id -un; pwd"];
        assert_eq!(said(duplex(&home, &exec)), ("1\nann\n/srv\n".into(), Some(0)));
        assert_eq!(said(duplex(&home, &["rm", "--force", "leases"])).1, Some(0));
        assert_eq!(said(duplex(&home, &["image", "rm", "a:1"])), ("a:1\n".into(), Some(0)));
    });
}
