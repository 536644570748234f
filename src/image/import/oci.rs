//! OCI image layouts (OCI image format specification: image-layout, image-index, manifest and config),
//! and docker's manifests in them.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::blob::{Layer, Promise, check};
use super::blobs::Blobs;
use super::{Chosen, ImportError, limits};
use crate::compression::Compression;
use crate::workload::Process;

/// What names an image in an index: as a whole (docker, containerd), or as builders like.
const REFERENCES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const LAYERS: [(&str, Option<Compression>); 5] = [
    ("application/vnd.oci.image.layer.v1.tar", None),
    ("application/vnd.oci.image.layer.v1.tar+gzip", Some(Compression::Gzip)),
    ("application/vnd.oci.image.layer.v1.tar+zstd", Some(Compression::Zstd)),
    ("application/vnd.docker.image.rootfs.diff.tar", None),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Compression::Gzip)),
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// An image's configuration.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    config: Option<Process>,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

impl Platform {
    fn is_ours(&self) -> bool {
        self.os == "linux" && self.architecture == "amd64"
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os.escape_debug(), self.architecture.escape_debug())
    }
}

impl Config {
    /// What of it is honoured, and the digests of its layers.
    pub(super) fn take(self) -> Result<(Process, Vec<String>), ImportError> {
        let platform = Platform { os: self.os, architecture: self.architecture };
        // Some builders leave it out.
        let is_said = !platform.os.is_empty() || !platform.architecture.is_empty();
        if is_said && !platform.is_ours() {
            return Err(unsuitable([platform.to_string()]));
        }
        let process = self.config.unwrap_or_default();
        process.check().map_err(|reason| ImportError::malformed("the configuration", reason))?;
        let layers = self.rootfs.diff_ids.unwrap_or_default();
        if layers.len() > limits::LAYERS {
            let remedy = "build it with fewer: `buildah bud --squash` makes one";
            return Err(ImportError::Limit {
                what: "layers",
                limit: limits::LAYERS as u64,
                remedy,
            });
        }
        for layer in &layers {
            hex(layer)?;
        }
        Ok((process, layers))
    }
}

/// Whether this is an image layout.
pub(super) fn is_there(blobs: &Blobs) -> bool {
    blobs.has("oci-layout") && blobs.has("index.json")
}

/// Chooses an image, by the name or digest that is asked for, for linux/amd64, and reads what it is.
pub(super) fn choose(blobs: &Blobs, wanted: Option<&str>) -> Result<Chosen, ImportError> {
    let layout: Layout = parse("oci-layout", &blobs.read("oci-layout")?.0)?;
    if !layout.image_layout_version.starts_with("1.") {
        let version = layout.image_layout_version.escape_debug();
        let text = format!("it is an OCI layout of version {version}, and only 1 is known");
        return Err(ImportError::Unsuitable(text));
    }
    let index: Index = parse("index.json", &blobs.read("index.json")?.0)?;
    let mut manifests = index.check()?;
    if let Some(wanted) = wanted {
        let there = names(&manifests);
        let is_wanted = |it: &Descriptor| {
            it.digest == wanted || it.references().any(|reference| reference == wanted)
        };
        manifests.retain(is_wanted);
        if manifests.is_empty() {
            return Err(ImportError::NoReference { wanted: wanted.to_owned(), there });
        }
    }
    let mut chosen = one(manifests)?;
    let reference = chosen.references().next().map(str::to_owned);
    for _ in 0..limits::INDEXES {
        if MANIFESTS.contains(&chosen.media_type.as_str()) {
            return image(blobs, &chosen, reference);
        }
        let index: Index = verified(blobs, &chosen)?;
        chosen = one(index.check()?)?;
    }
    Err(ImportError::malformed("index.json", "is an index of indexes of indexes without end"))
}

/// The one that is for this platform.
fn one(all: Vec<Descriptor>) -> Result<Descriptor, ImportError> {
    let known =
        |it: &&Descriptor| MANIFESTS.iter().chain(&INDEXES).any(|known| *known == it.media_type);
    let mut images: Vec<&Descriptor> = all.iter().filter(known).collect();
    if images.is_empty() {
        let kinds: Vec<String> = all.iter().map(|it| shown(&it.media_type)).collect();
        let text = format!("there is no image in it, only: {}", kinds.join(", "));
        return Err(ImportError::Unsuitable(text));
    }
    let platforms: Vec<String> =
        images.iter().filter_map(|it| it.platform.as_ref()).map(ToString::to_string).collect();
    images.retain(|it| it.platform.as_ref().is_none_or(Platform::is_ours));
    let Some(first) = images.first() else { return Err(unsuitable(platforms)) };
    if images.iter().any(|it| it.digest != first.digest) {
        return Err(ImportError::Several(names(images.iter().copied())));
    }
    Ok((*first).clone())
}

fn image(
    blobs: &Blobs,
    descriptor: &Descriptor,
    reference: Option<String>,
) -> Result<Chosen, ImportError> {
    let manifest: Manifest = verified(blobs, descriptor)?;
    schema(manifest.schema_version, manifest.media_type.as_deref(), &descriptor.media_type)?;
    if !CONFIGS.contains(&manifest.config.media_type.as_str()) {
        let kind = shown(&manifest.config.media_type);
        let text = format!("it is no image but something else that has layers: {kind}");
        return Err(ImportError::Unsuitable(text));
    }
    let config: Config = verified(blobs, &manifest.config)?;
    let (process, diff_ids) = config.take()?;
    if diff_ids.len() != manifest.layers.len() {
        let reason = "has another number of layers than its configuration";
        return Err(ImportError::malformed("the manifest", reason));
    }
    let layers = manifest.layers.iter().zip(diff_ids).map(|(layer, diff_id)| {
        let known = LAYERS.iter().find(|(known, _)| *known == layer.media_type);
        let (_, compression) = known.ok_or_else(|| {
            let kind = shown(&layer.media_type);
            ImportError::Unsuitable(format!("it has a layer of a kind that is not known: {kind}"))
        })?;
        let (size, compression) = (layer.size, *compression);
        let descriptor = Some(Promise { digest: layer.digest.clone(), size, compression });
        Ok(Layer { file: layer.file()?, descriptor, diff_id })
    });
    Ok(Chosen {
        layers: layers.collect::<Result<_, ImportError>>()?,
        process,
        digest: descriptor.digest.clone(),
        reference,
    })
}

impl Index {
    fn check(self) -> Result<Vec<Descriptor>, ImportError> {
        if self.manifests.len() > limits::MANIFESTS {
            return Err(ImportError::Limit {
                what: "manifests in an index",
                limit: limits::MANIFESTS as u64,
                remedy: "copy the image that you want out of it with `skopeo copy`",
            });
        }
        let media_type = self.media_type.as_deref();
        let own = media_type.filter(|own| INDEXES.contains(own)).unwrap_or(INDEXES[0]);
        schema(self.schema_version, media_type, own)?;
        Ok(self.manifests)
    }
}

impl Descriptor {
    fn references(&self) -> impl Iterator<Item = &str> {
        REFERENCES.iter().filter_map(|key| self.annotations.get(*key)).map(String::as_str)
    }

    fn file(&self) -> Result<String, ImportError> {
        Ok(format!("blobs/sha256/{}", hex(&self.digest)?))
    }
}

/// The digits of a digest: nothing that could lead anywhere but to a blob.
fn hex(digest: &str) -> Result<&str, ImportError> {
    let digits = digest.strip_prefix("sha256:").filter(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    digits.ok_or_else(|| {
        let what = format!("the digest {}", shown(digest));
        ImportError::malformed(what, "is no SHA-256 of the form sha256:<64 hexadecimal digits>")
    })
}

/// What a blob holds that is as its descriptor says.
fn verified<T: DeserializeOwned>(blobs: &Blobs, descriptor: &Descriptor) -> Result<T, ImportError> {
    let file = descriptor.file()?;
    let (bytes, digest) = blobs.read(&file)?;
    let [expected, found] = [descriptor.size, bytes.len() as u64].map(|size| size.to_string());
    check(&file, "size", &expected, &found)?;
    check(&file, "digest", &descriptor.digest, &digest)?;
    parse(&file, &bytes)
}

pub(super) fn parse<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, ImportError> {
    serde_json::from_slice(json).map_err(|error| {
        ImportError::malformed(what.escape_debug().to_string(), shown(&error.to_string()))
    })
}

fn schema(version: u32, media_type: Option<&str>, expected: &str) -> Result<(), ImportError> {
    if version != 2 {
        let text = format!("its manifests are of version {version}, and only 2 is known");
        return Err(ImportError::Unsuitable(text));
    }
    match media_type {
        Some(own) => check("a manifest", "media type", expected, own),
        None => Ok(()),
    }
}

fn unsuitable(platforms: impl IntoIterator<Item = String>) -> ImportError {
    let platforms: Vec<String> = platforms.into_iter().collect();
    ImportError::Unsuitable(format!(
        "the image is for {}, and this host runs linux/amd64: get it for that \
         (`skopeo copy --override-arch amd64`)",
        platforms.join(", ")
    ))
}

/// What images are called, for a person to choose.
fn names<'a>(all: impl IntoIterator<Item = &'a Descriptor>) -> String {
    let names = all.into_iter().map(|it| shown(it.references().next().unwrap_or(&it.digest)));
    names.collect::<Vec<_>>().join(", ")
}

fn shown(text: &str) -> String {
    super::shown(text.as_bytes())
}
