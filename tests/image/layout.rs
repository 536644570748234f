//! OCI layouts and docker archives made by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::tarball::Tarball;

/// The files of a layout.
#[derive(Clone, Default)]
pub(crate) struct Layout(pub(crate) BTreeMap<String, Vec<u8>>);

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// What may be changed on the way to a layout.
pub(crate) struct Changes<'a> {
    pub(crate) config: &'a dyn Fn(&mut Value),
    pub(crate) manifest: &'a dyn Fn(&mut Value),
    pub(crate) index: &'a dyn Fn(&mut Value),
}

pub(crate) const NONE: Changes<'_> = Changes { config: &|_| {}, manifest: &|_| {}, index: &|_| {} };

impl Layout {
    /// A layout of one image with these layers, which are not compressed.
    pub(crate) fn of(layers: &[Vec<u8>]) -> Self {
        Self::changed(layers, &NONE)
    }

    /// The same with lies in it, of which all digests are right.
    pub(crate) fn changed(layers: &[Vec<u8>], changes: &Changes<'_>) -> Self {
        let mut layout = Self::default();
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let mut config = json!({
            "os": "linux", "architecture": "amd64",
            "config": {
                "Entrypoint": ["/bin/entry"], "Cmd": ["argument"], "Env": ["PATH=/bin", "A=1"],
                "User": "ann", "WorkingDir": "/srv",
            },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        (changes.config)(&mut config);
        let config = layout.blob("application/vnd.oci.image.config.v1+json", &to_vec(&config));
        let kind = "application/vnd.oci.image.layer.v1.tar";
        let layers: Vec<Value> = layers.iter().map(|layer| layout.blob(kind, layer)).collect();
        let mut manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        (changes.manifest)(&mut manifest);
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let mut manifest = layout.blob(kind, &to_vec(&manifest));
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
        let mut index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        (changes.index)(&mut index);
        layout.0.insert("index.json".into(), to_vec(&index));
        layout.0.insert("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        layout
    }

    /// Adds a blob; returns its descriptor.
    pub(crate) fn blob(&mut self, kind: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.0.insert(format!("blobs/sha256/{hex}"), bytes.to_vec());
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    }

    /// What `docker save` makes of it.
    pub(crate) fn docker(layers: &[Vec<u8>], change: impl FnOnce(&mut Value)) -> Self {
        let mut files = BTreeMap::new();
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = to_vec(&json!({
            "os": "linux", "architecture": "amd64", "config": { "Cmd": ["argument"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        }));
        let hex = |bytes: &[u8]| digest(bytes).split_off("sha256:".len());
        let names: Vec<String> = layers.iter().map(|l| format!("{}/layer.tar", hex(l))).collect();
        let name = format!("{}.json", hex(&config));
        let mut manifest = json!([{ "Config": name, "RepoTags": ["busybox:1"], "Layers": names }]);
        change(&mut manifest);
        files.insert(name, config);
        files.extend(names.into_iter().zip(layers.iter().cloned()));
        files.insert("manifest.json".into(), to_vec(&manifest));
        Self(files)
    }

    pub(crate) fn write(&self, directory: &Path) {
        for (name, bytes) in &self.0 {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    pub(crate) fn archive(&self) -> Vec<u8> {
        let add = |archive: Tarball, (name, bytes): (&String, &Vec<u8>)| archive.file(name, bytes);
        self.0.iter().fold(Tarball::new(), add).end()
    }
}

fn to_vec(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}
