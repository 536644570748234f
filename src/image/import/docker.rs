//! What `docker save` writes: a `manifest.json`, configurations and layers. Newer versions make it an
//! OCI layout as well, and then that is read.

use serde::Deserialize;

use super::blob::{Layer, check};
use super::blobs::Blobs;
use super::oci::{self, Config};
use super::{Chosen, ImportError, limits, shown};

const MANIFEST: &str = "manifest.json";

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Whether this is such an archive.
pub(super) fn is_there(blobs: &Blobs) -> bool {
    blobs.has(MANIFEST)
}

/// Chooses an image by the tag that is asked for, and reads what it is.
pub(super) fn choose(blobs: &Blobs, wanted: Option<&str>) -> Result<Chosen, ImportError> {
    let mut images: Vec<Image> = oci::parse(MANIFEST, &blobs.read(MANIFEST)?.0)?;
    if images.len() > limits::MANIFESTS {
        return Err(ImportError::Limit {
            what: "images in an archive",
            limit: limits::MANIFESTS as u64,
            remedy: "save the one that you want alone",
        });
    }
    let there = names(&images);
    if let Some(wanted) = wanted {
        images.retain(|image| image.tags().any(|tag| tag == wanted));
        if images.is_empty() {
            return Err(ImportError::NoReference { wanted: wanted.to_owned(), there });
        }
    }
    let [image] = &*images else {
        return Err(match images.is_empty() {
            true => ImportError::Unsuitable("there is no image in it".into()),
            false => ImportError::Several(there),
        });
    };
    let (bytes, digest) = blobs.read(&image.config)?;
    // It is called by its digest.
    let stem = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    if stem.len() == 64 {
        check("the configuration", "digest", &format!("sha256:{stem}"), &digest)?;
    }
    let config: Config = oci::parse("the configuration", &bytes)?;
    let (process, diff_ids) = config.take()?;
    if diff_ids.len() != image.layers.len() {
        let reason = "names another number of layers than the configuration";
        return Err(ImportError::malformed(MANIFEST, reason));
    }
    let layers = image.layers.iter().zip(diff_ids);
    let layers = layers.map(|(file, diff_id)| {
        let file = file.clone();
        Layer { file, descriptor: None, diff_id }
    });
    let reference = wanted.map(str::to_owned).or_else(|| image.tags().next().map(str::to_owned));
    Ok(Chosen { layers: layers.collect(), process, digest, reference })
}

impl Image {
    fn tags(&self) -> impl Iterator<Item = &str> {
        self.repo_tags.iter().flatten().map(String::as_str)
    }
}

/// What images are called, for a person to choose.
fn names(images: &[Image]) -> String {
    let name = |image: &Image| shown(image.tags().next().unwrap_or(&image.config).as_bytes());
    images.iter().map(name).collect::<Vec<_>>().join(", ")
}
