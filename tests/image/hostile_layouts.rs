//! OCI layouts and docker archives that lie.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::layout::{Changes, Layout, NONE, digest};
use crate::samples::packed::gzip;
use crate::tarball::Tarball;
use crate::yard::Yard;

fn layers() -> [Vec<u8>; 1] {
    [Tarball::new().file("file", b"content").end()]
}

fn changed(changes: &Changes<'_>) -> Vec<u8> {
    Layout::changed(&layers(), changes).archive()
}

fn config(change: &dyn Fn(&mut Value)) -> Vec<u8> {
    changed(&Changes { config: change, ..NONE })
}

fn manifest(change: &dyn Fn(&mut Value)) -> Vec<u8> {
    changed(&Changes { manifest: change, ..NONE })
}

fn index(change: &dyn Fn(&mut Value)) -> Vec<u8> {
    changed(&Changes { index: change, ..NONE })
}

#[test]
fn digests_and_sizes_that_lie_are_refused() {
    let yard = Yard::new();
    let other = digest(b"other");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a layer's size", manifest(&|m| m["layers"][0]["size"] = json!(7)), "its size is"),
        ("a configuration's size", manifest(&|m| m["config"]["size"] = json!(7)), "its size is"),
        ("a manifest's size", index(&|i| i["manifests"][0]["size"] = json!(1)), "its size is"),
        ("a negative size", index(&|i| i["manifests"][0]["size"] = json!(-1)), "invalid value"),
        (
            "a blob that is not there",
            manifest(&|m| m["layers"][0]["digest"] = json!(other)),
            "is not there",
        ),
        (
            "what a layer unpacks to",
            config(&|c| c["rootfs"]["diff_ids"][0] = json!(other)),
            "its digest when unpacked is",
        ),
        (
            "a digest upwards",
            manifest(&|m| {
                m["layers"][0]["digest"] = json!(format!("sha256:{}", "../".repeat(22)));
            }),
            "is no SHA-256",
        ),
        (
            "a digest in capitals",
            index(&|i| {
                i["manifests"][0]["digest"] = json!(format!("sha256:{}", "A".repeat(64)));
            }),
            "is no SHA-256",
        ),
        (
            "another algorithm",
            manifest(&|m| {
                m["config"]["digest"] = json!(format!("sha512:{}", "a".repeat(128)));
            }),
            "is no SHA-256",
        ),
    ];
    for (what, bytes, reason) in cases {
        yard.refuses_bytes(what, &bytes, reason);
    }
    // The right size, other bytes.
    for (name, bytes) in Layout::of(&layers()).0 {
        if let Some(hex) = name.strip_prefix("blobs/sha256/") {
            let mut layout = Layout::of(&layers());
            let mut wrong = bytes.clone();
            let last = wrong.iter().rposition(|byte| *byte != 0).unwrap();
            wrong[last] = b' ';
            layout.0.insert(name.clone(), wrong);
            yard.refuses_bytes(hex, &layout.archive(), "its digest is");
        }
    }
}

#[test]
fn json_that_lies_is_refused() {
    let yard = Yard::new();
    let with = |name: &str, bytes: &[u8]| {
        let mut layout = Layout::of(&layers());
        layout.0.insert(name.to_owned(), bytes.to_vec());
        layout.archive()
    };
    let nested = "[".repeat(100_000);
    let huge = vec![b' '; (4 << 20) + 1];
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no JSON", with("index.json", b"{"), "EOF while parsing"),
        ("nested JSON", with("index.json", nested.as_bytes()), "index.json"),
        ("huge JSON", with("index.json", &huge), "more than the 4194304"),
        ("bytes that are no text", with("index.json", b"{\"\xff\":1}"), "index.json"),
        (
            "another layout",
            with("oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#),
            "version 2.0.0",
        ),
        ("another schema", manifest(&|m| m["schemaVersion"] = json!(1)), "only 2 is known"),
        (
            "another media type inside",
            manifest(&|m| m["mediaType"] = json!("text/plain")),
            "media type",
        ),
        ("layers that are missing", manifest(&|m| m["layers"] = json!([])), "number of layers"),
        ("layers too many", config(&|c| c["rootfs"]["diff_ids"] = json!([])), "number of layers"),
        (
            "no layers at all",
            config(&|c| drop(c.as_object_mut().unwrap().remove("rootfs"))),
            "rootfs",
        ),
        (
            "a variable without a name",
            config(&|c| c["config"]["Env"] = json!(["=x"])),
            "has no name",
        ),
        ("a NUL in a command", config(&|c| c["config"]["Cmd"] = json!(["a\u{0}b"])), "NUL"),
        (
            "a command that is a number",
            config(&|c| c["config"]["Cmd"] = json!([1])),
            "invalid type",
        ),
        (
            "an unknown layer",
            manifest(&|m| {
                m["layers"][0]["mediaType"] =
                    json!("application/vnd.oci.image.layer.v1.tar+encrypted");
            }),
            "layer of a kind that is not known",
        ),
        (
            "a layer that is not compressed",
            manifest(&|m| {
                m["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
            }),
            "its compression is none, not gzip",
        ),
        (
            "an artifact",
            manifest(&|m| {
                m["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
            }),
            "it is no image but something else",
        ),
    ];
    for (what, bytes, reason) in cases {
        yard.refuses_bytes(what, &bytes, reason);
    }
}

#[test]
fn the_choice_among_images_is_the_callers() {
    let yard = Yard::new();
    let platform = |os: &str, architecture: &str| json!({ "os": os, "architecture": architecture });
    let arm = index(&|i| i["manifests"][0]["platform"] = platform("linux", "arm64"));
    yard.refuses_bytes("another platform", &arm, "the image is for linux/arm64");
    let windows = config(&|c| c["os"] = json!("windows"));
    yard.refuses_bytes("another system", &windows, "the image is for windows/amd64");
    let none = index(&|i| i["manifests"] = json!([]));
    yard.refuses_bytes("no image", &none, "there is no image in it");
    let many = index(&|i| {
        let one = i["manifests"][0].clone();
        i["manifests"] = Value::Array(vec![one; 300]);
    });
    yard.refuses_bytes("many manifests", &many, "more than 256 manifests");

    // Two, of which one is chosen by its name; a third is for another platform.
    let two = Layout::changed(
        &layers(),
        &Changes {
            index: &|i| {
                let mut other = i["manifests"][0].clone();
                other["digest"] = json!(digest(b"other"));
                other["annotations"]["org.opencontainers.image.ref.name"] = json!("other\u{1b}");
                let mut third = other.clone();
                third["platform"] = platform("linux", "arm64");
                i["manifests"].as_array_mut().unwrap().extend([other, third]);
            },
            ..NONE
        },
    );
    let source = yard.source(&two.archive());
    let mut request = yard.request(&source);
    yard.refuses("two images", &request, "choose one with --ref: latest, other");
    request.reference = Some("third".into());
    yard.refuses("none of that name", &request, "no image called 'third'");
    request.reference = Some("other\u{1b}".into());
    yard.refuses("one that is not there", &request, "is not there");
    request.reference = Some("latest".into());
    yard.store.import(&request).unwrap();
}

#[test]
fn indexes_without_end_are_refused() {
    let yard = Yard::new();
    let mut layout = Layout::of(&layers());
    let mut inner: Value = serde_json::from_slice(&layout.0["index.json"]).unwrap();
    for _ in 0..10 {
        let bytes = serde_json::to_vec(&inner).unwrap();
        let descriptor = layout.blob("application/vnd.oci.image.index.v1+json", &bytes);
        inner = json!({ "schemaVersion": 2, "manifests": [descriptor] });
    }
    layout.0.insert("index.json".into(), serde_json::to_vec(&inner).unwrap());
    yard.refuses_bytes("ten indexes", &layout.archive(), "without end");
    // One that says that it is its own child is none: nobody can write a digest into what it is of.
    let own = index(&|i| {
        i["manifests"][0]["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
    });
    yard.refuses_bytes("a manifest as an index", &own, "missing field `manifests`");
}

#[test]
fn blobs_lie_in_the_layout() {
    let yard = Yard::new();
    let directory = yard.path().join("layout");
    let layout = Layout::of(&layers());
    layout.write(&directory);
    let hex = digest(&layers()[0]).split_off("sha256:".len());
    let blob = directory.join("blobs/sha256").join(hex);
    fs::remove_file(&blob).unwrap();
    let secret = format!("{}/secret", yard.canary());
    symlink(&secret, &blob).unwrap();
    yard.refuses("a link out of the layout", &yard.request(&directory), "cannot open");
    fs::remove_file(&blob).unwrap();
    nix::unistd::mkfifo(&blob, nix::sys::stat::Mode::S_IRWXU).unwrap();
    yard.refuses("a FIFO", &yard.request(&directory), "is no file");
}

#[test]
fn docker_archives_that_lie_are_refused() {
    let yard = Yard::new();
    let docker = |change: &dyn Fn(&mut Value)| Layout::docker(&layers(), change).archive();
    let other = digest(b"other").split_off("sha256:".len());
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "a configuration upwards",
            docker(&|m| m[0]["Config"] = json!("../../canary/secret")),
            "leads upwards",
        ),
        ("a layer upwards", docker(&|m| m[0]["Layers"][0] = json!("../secret")), "leads upwards"),
        ("an absolute layer", docker(&|m| m[0]["Layers"][0] = json!("/etc/passwd")), "is absolute"),
        (
            "a layer that is not there",
            docker(&|m| m[0]["Layers"][0] = json!("none")),
            "is not there",
        ),
        (
            "layers too many",
            docker(&|m| {
                let layer = m[0]["Layers"][0].clone();
                m[0]["Layers"].as_array_mut().unwrap().push(layer);
            }),
            "number of layers",
        ),
        (
            "two images",
            docker(&|m| {
                let image = m[0].clone();
                m.as_array_mut().unwrap().push(image);
            }),
            "choose one with --ref",
        ),
        ("no image", docker(&|m| *m = json!([])), "there is no image in it"),
        (
            "no JSON",
            {
                let mut layout = Layout::docker(&layers(), |_| {});
                layout.0.insert("manifest.json".into(), b"[".to_vec());
                layout.archive()
            },
            "EOF while parsing",
        ),
        (
            "another configuration",
            {
                let mut layout =
                    Layout::docker(&layers(), |m| m[0]["Config"] = json!(format!("{other}.json")));
                let name = layout.0.keys().find(|name| name.ends_with(".json")).unwrap().clone();
                let config = layout.0.remove(&name).unwrap();
                layout.0.insert(format!("{other}.json"), config);
                layout.archive()
            },
            "the configuration: its digest is",
        ),
        (
            "another layer",
            {
                let mut layout = Layout::docker(&layers(), |_| {});
                let name = layout.0.keys().find(|name| name.ends_with(".tar")).unwrap().clone();
                layout.0.insert(name, Tarball::new().file("evil", b"").end());
                layout.archive()
            },
            "its digest when unpacked is",
        ),
    ];
    for (what, bytes, reason) in cases {
        yard.refuses_bytes(what, &bytes, reason);
        // The same when it has to be unpacked first.
        yard.refuses_bytes(what, &gzip(&bytes), reason);
    }
}

#[test]
fn archives_of_images_that_lie_are_refused() {
    let yard = Yard::new();
    let manifest = br#"[{"Config":"c.json","Layers":["l.tar"]}]"#;
    let start = || Tarball::new().file("manifest.json", manifest);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a file twice", start().file("c.json", b"1").file("c.json", b"2").end(), "twice"),
        (
            "a link out",
            start().symlink("c.json", "../../../../../etc/passwd").end(),
            "is not there",
        ),
        ("a circle", start().symlink("c.json", "c.json").end(), "a link in a circle"),
        ("cut off", start().file("c.json", &[1; 5000]).end()[..3000].to_vec(), "cut off"),
        (
            "a huge file",
            start().entry(b'0', "c.json", "", b"", |h| h.set_size(1 << 50)).end(),
            "cut off",
        ),
    ];
    for (what, bytes, reason) in cases {
        yard.refuses_bytes(what, &bytes, reason);
    }
    let mut request =
        yard.request(&yard.source(&gzip(&start().file("c.json", &[1; 50_000]).end())));
    request.limits.size = 10_000;
    yard.refuses("too much to unpack", &request, "more than 10000 bytes unpacked");
}
