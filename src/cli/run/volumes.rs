//! `--volume`: directories of this host in the guest.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::file_server::FileServer;
use crate::init;
use crate::instances::Instance;
use crate::vm::devices::virtio::VirtioDevice;
use crate::vm::devices::virtio::event_thread::EventThread;
use crate::vm::devices::virtio::fs::{Fs, QUEUES};
use crate::vm::devices::virtio::vhost_user::{BackEnd, PATIENCE};
use crate::workload;

/// A directory of this host, and the device that the guest finds it by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Volume {
    /// Its real path.
    pub(super) host: PathBuf,
    /// The device's tag.
    tag: String,
    /// Whether the guest may not write to it.
    pub(super) read_only: bool,
}

/// Decides what this host serves, and what the guest is told of it.
pub(super) fn decide(
    wanted: &[workload::Volume],
) -> Result<(Vec<Volume>, Vec<init::Volume>), String> {
    // One may lie in another: that is mounted first, which is the shorter one.
    let mut wanted: Vec<&workload::Volume> = wanted.iter().collect();
    wanted.sort_by_key(|volume| volume.guest.components().count());
    let (mut ours, mut theirs): (Vec<Volume>, Vec<init::Volume>) = Default::default();
    for (number, volume) in wanted.into_iter().enumerate() {
        if theirs.iter().any(|other| other.at == volume.guest) {
            return Err(format!(
                "-v: two volumes are to be at {}: leave one away",
                volume.guest.display()
            ));
        }
        let host = directory(&volume.host)
            .map_err(|reason| format!("-v {}: {reason}", volume.host.display()))?;
        let (tag, read_only) = (format!("volume{number}"), volume.read_only);
        ours.push(Volume { host, tag: tag.clone(), read_only });
        theirs.push(init::Volume { tag, at: volume.guest.clone(), read_only });
    }
    Ok((ours, theirs))
}

/// The real path of a directory.
pub(super) fn directory(path: &Path) -> Result<PathBuf, String> {
    let real =
        path.canonicalize().map_err(|error| format!("{error}; give a directory that is there"))?;
    if real.is_dir() {
        return Ok(real);
    }
    Err("it is no directory, and nothing else can be a volume; give the one that it is in".into())
}

/// Starts a server for each, and makes a device of it. To be called by the thread that stays as long as the
/// process does: the servers end with it.
pub(super) fn devices(
    volumes: &[Volume],
    instance: &Instance,
) -> Result<Vec<Box<dyn VirtioDevice>>, Box<dyn Error>> {
    let mut devices: Vec<Box<dyn VirtioDevice>> = Vec::new();
    if volumes.is_empty() {
        return Ok(devices);
    }
    // Not that of other devices: it waits for the end of servers that went wrong.
    let thread = Arc::new(EventThread::start("volumes")?);
    let servers: Result<Vec<_>, _> = volumes.iter().map(|volume| serve(volume, instance)).collect();
    for (volume, (server, connection)) in volumes.iter().zip(servers?) {
        let name = format!("volume {}", volume.host.display());
        let failed = |error| io::Error::other(format!("{name}: {error}"));
        let server = Some(server);
        let back_end =
            BackEnd::connect(name.clone(), connection, QUEUES, server, thread.clone(), PATIENCE)
                .map_err(failed)?;
        devices.push(Box::new(Fs::new(&volume.tag, back_end)));
    }
    Ok(devices)
}

fn serve(
    volume: &Volume,
    instance: &Instance,
) -> Result<(FileServer, std::os::unix::net::UnixStream), crate::file_server::Error> {
    let (meeting, cover) = (instance.shortcut("volume"), instance.directory());
    FileServer::start(&volume.host, volume.read_only, &meeting, cover)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(texts: &[&str]) -> Vec<workload::Volume> {
        let parse = |text: &&str| std::ffi::OsString::from(text).try_into().unwrap();
        texts.iter().map(parse).collect()
    }

    #[test]
    fn one_in_another_comes_after_it() {
        let (ours, theirs) = decide(&wanted(&["/usr:/a/b:ro", "/tmp:/a"])).unwrap();
        assert_eq!((ours[0].host.to_str(), ours[0].read_only), (Some("/tmp"), false));
        assert_eq!((ours[1].host.to_str(), ours[1].read_only), (Some("/usr"), true));
        assert_eq!((theirs[0].at.to_str(), theirs[1].at.to_str()), (Some("/a"), Some("/a/b")));
        assert_eq!((theirs[0].tag.as_str(), ours[1].tag.as_str()), ("volume0", "volume1"));
    }

    #[test]
    fn what_cannot_be_a_volume_is_refused() {
        let refused = |texts: &[&str]| decide(&wanted(texts)).unwrap_err();
        assert!(refused(&["/nonesuch:/a"]).contains("-v /nonesuch: No such file"));
        assert!(refused(&["/etc/passwd:/a"]).contains("no directory"));
        assert!(refused(&["/dev/null:/a"]).contains("no directory"));
        assert!(refused(&["/usr:/a", "/tmp:/a/"]).contains("two volumes are to be at /a"));
    }
}
