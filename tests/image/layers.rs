//! What an honest image becomes.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use duplex::image::import::{ImportError, LeftOut};
use duplex::image::{StoreError, export};
use nix::unistd::geteuid;

use crate::common::say;
use crate::layout::Layout;
use crate::samples::noise;
use crate::samples::packed::{gzip, xz, zstd};
use crate::tarball::Tarball;
use crate::yard::Yard;

/// CAP_NET_BIND_SERVICE, as a file has it: `struct vfs_cap_data` of linux/capability.h.
pub(crate) const CAPABILITY: [u8; 20] =
    [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// All below a directory: path, mode, owner, time, size, links and content; for comparisons.
pub(crate) fn tree(root: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(path) = left.pop() {
        let metadata = path.symlink_metadata().unwrap();
        let content = if metadata.is_file() {
            crate::layout::digest(&fs::read(&path).unwrap())
        } else if metadata.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else {
            String::new()
        };
        let links = if metadata.is_dir() { 0 } else { metadata.nlink() };
        let numbers = [metadata.uid(), metadata.gid()].map(|id| id.to_string()).join(":");
        let time = format!("{}.{}", metadata.mtime(), metadata.mtime_nsec());
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let (mode, device) = (metadata.mode(), metadata.rdev());
        let xattrs: Vec<_> = xattr::list(&path)
            .unwrap()
            .filter(|name| name != "security.selinux")
            .map(|name| xattr::get(&path, &name).unwrap())
            .collect();
        all.push(format!("{name} {mode:o} {numbers} {time} {links} {device} {content} {xattrs:?}"));
        if metadata.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    all.sort();
    all
}

/// Layers that change one another in every way.
pub(crate) fn layers() -> Vec<Vec<u8>> {
    let base = Tarball::new()
        .entry(b'5', "./", "", b"", |header| header.set_mode(0o751))
        .directory("bin/")
        .entry(b'0', "bin/entry", "", b"#!/bin/sh\n", |header| header.set_mode(0o755))
        .directory("old")
        .file("old/a", b"a")
        .file("old/b", b"b")
        .directory("full")
        .file("full/gone", b"")
        .directory("full/deep")
        .file("full/deep/gone", b"")
        .file("becomes-directory", b"")
        .directory("becomes-file")
        .file("becomes-file/x", b"")
        .symlink("lib", "bin")
        .symlink("absolute", "/bin");
    let change = Tarball::new()
        .file("old/.wh.a", b"")
        .file("old/.wh.not-there", b"")
        .file("nor/this/.wh.one", b"")
        // The whiteout of all stands behind what stays.
        .file("full/stays", b"stays")
        .file("full/deep/stays", b"stays")
        .file("full/.wh..wh..opq", b"")
        .directory("becomes-directory")
        .file("becomes-directory/y", b"y")
        .file("becomes-file", b"file")
        // Through links that stay below, as builders do that do not look.
        .file("lib/through-relative", b"1")
        .file("absolute/through-absolute", b"2")
        .hard_link("bin/same", "bin/entry")
        // Both, whichever comes first.
        .file("again", b"new")
        .file(".wh.again", b"");
    vec![base.end(), change.end(), Tarball::new().end()]
}

fn check(root: &Path) {
    let names = |path: &str| {
        let mut names: Vec<_> = fs::read_dir(root.join(path))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("old"), ["b"]);
    assert_eq!(names("full"), ["deep", "stays"]);
    assert_eq!(names("full/deep"), ["stays"]);
    assert_eq!(names("becomes-directory"), ["y"]);
    assert_eq!(fs::read(root.join("becomes-file")).unwrap(), b"file");
    assert_eq!(names("bin"), ["entry", "same", "through-absolute", "through-relative"]);
    assert_eq!(fs::metadata(root.join("bin/same")).unwrap().nlink(), 2);
    assert_eq!(fs::read(root.join("again")).unwrap(), b"new");
    assert_eq!(fs::metadata(root).unwrap().mode() & 0o7777, 0o751);
    // What comes later does not change when a directory was changed.
    for directory in ["", "bin", "old", "full"] {
        let metadata = fs::metadata(root.join(directory)).unwrap();
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_000_000_000, 0), "{directory}");
    }
    assert!(!root.join("nor").exists());
}

#[test]
fn every_form_of_an_image_becomes_the_same() {
    let layers = layers();
    let layout = Layout::of(&layers);
    let yard = Yard::new();
    let directory = yard.path().join("layout");
    layout.write(&directory);
    let imported = yard.import(&directory).unwrap().image;
    check(&imported.root);
    let expected = tree(&imported.root);
    let process = imported.config.process;
    assert_eq!(process.entrypoint, ["/bin/entry"]);
    assert_eq!((&*process.user, &*process.working_dir), ("ann", "/srv"));
    assert_eq!(process.env, ["PATH=/bin", "A=1"]);
    assert!(imported.config.digest.unwrap().starts_with("sha256:"));

    let docker = Layout::docker(&layers, |_| {});
    for (what, bytes) in [
        ("OCI archive", layout.archive()),
        ("compressed OCI archive", zstd(&layout.archive())),
        ("docker archive", docker.archive()),
        ("compressed docker archive", gzip(&docker.archive())),
    ] {
        let yard = Yard::new();
        assert_eq!(tree(&yard.root(&bytes)), expected, "{what}");
    }
    // And what is exported comes back the same.
    let mut archive = Vec::new();
    export(&imported.root, &mut archive).unwrap();
    let yard = Yard::new();
    assert_eq!(tree(&yard.root(&archive)), expected);
    let mut again = Vec::new();
    export(&yard.root_of("image"), &mut again).unwrap();
    assert!(again == archive);
}

#[test]
fn layers_may_be_compressed() {
    let layer = Tarball::new().file("file", b"content").end();
    for (ending, packed) in [("+gzip", gzip(&layer)), ("+zstd", zstd(&layer))] {
        let mut layout = Layout::default();
        let changes = crate::layout::Changes {
            manifest: &|manifest| {
                let packed = match ending {
                    "+gzip" => gzip(&layer),
                    _ => zstd(&layer),
                };
                let kind = format!("application/vnd.oci.image.layer.v1.tar{ending}");
                manifest["layers"][0] = Layout::default().blob(&kind, &packed);
            },
            ..crate::layout::NONE
        };
        layout.0.extend(Layout::changed(std::slice::from_ref(&layer), &changes).0);
        layout.blob("", &packed);
        let yard = Yard::new();
        assert_eq!(fs::read(yard.root(&layout.archive()).join("file")).unwrap(), b"content");
    }
}

#[test]
fn a_tarball_may_be_compressed() {
    let archive = Tarball::new().directory("etc").file("etc/noise", &noise(700_000)).end();
    let plain = tree(&Yard::new().root(&archive));
    for pack in [gzip, zstd, xz] {
        assert_eq!(tree(&Yard::new().root(&pack(&archive))), plain);
    }
    // In several streams, as parallel packers write.
    let (one, two) = archive.split_at(1000);
    assert_eq!(tree(&Yard::new().root(&[gzip(one), gzip(two)].concat())), plain);
    assert_eq!(tree(&Yard::new().root(&[zstd(one), zstd(two)].concat())), plain);
    // A file of a root file system may be called as those of images are.
    let yard = Yard::new();
    let archive = Tarball::new().directory("blobs").file("manifest.js", b"").end();
    assert!(yard.root(&archive).join("manifest.js").exists());
}

#[test]
fn what_a_file_is_besides_its_content_is_kept() {
    let yard = Yard::new();
    let archive = Tarball::new()
        .directory("d")
        .pax(&[
            ("SCHILY.xattr.user.note", b"a\nb"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.security.capability", &CAPABILITY),
            ("mtime", b"-1.5"),
            ("uid", b"70000"),
        ])
        .entry(b'0', "d/file", "", b"content", |header| {
            header.set_mode(0o6755);
            header.set_gid(7);
        })
        .entry(b'6', "fifo", "", b"", |header| header.set_mode(0o600))
        .entry(b'3', "null", "", b"", |header| header.set_mode(0o666))
        .end();
    let imported = yard.import(&yard.source(&archive)).unwrap();
    let root = imported.image.root;
    let file = fs::metadata(root.join("d/file")).unwrap();
    assert_eq!((file.mtime(), file.mtime_nsec()), (-2, 500_000_000));
    assert_eq!(file.mode() & 0o7777, 0o6755);
    assert!(fs::metadata(root.join("fifo")).unwrap().file_type().is_fifo());
    let xattr = |name: &str| xattr::get(root.join("d/file"), name).unwrap();
    assert_eq!(xattr("user.note"), Some(b"a\nb".to_vec()));
    assert_eq!(xattr("user.overlay.redirect"), None);
    assert_eq!(xattr("trusted.overlay.opaque"), None);
    if !geteuid().is_root() {
        say("SKIPPED: owners, devices and capabilities are kept for root only");
        return;
    }
    assert_eq!((file.uid(), file.gid()), (70_000, 7));
    assert_eq!(xattr("security.capability"), Some(CAPABILITY.to_vec()));
    assert_eq!(imported.left_out, LeftOut { attributes: 2, ..LeftOut::default() });
    let null = fs::metadata(root.join("null")).unwrap();
    assert!(null.file_type().is_char_device() && null.mode() & 0o777 == 0o666);
    assert_eq!(null.rdev(), nix::sys::stat::makedev(1, 3));
}

#[test]
fn holes_stay_holes() {
    let old = Tarball::new().entry(b'S', "sparse", "", b"headtail", |header| {
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(10 << 20);
        for (piece, offset) in gnu.sparse.iter_mut().zip([0, (10 << 20) - 4]) {
            piece.set_offset(offset);
            piece.set_length(4);
        }
    });
    let size = (10_u64 << 20).to_string();
    let tail = ((10_u64 << 20) - 4).to_string();
    let name: (&str, &[u8]) = ("GNU.sparse.name", b"sparse");
    let mut data = format!("2\n0\n4\n{tail}\n4\n").into_bytes();
    data.resize(512, 0);
    data.extend(b"headtail");
    let records = [name, ("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", size.as_bytes())];
    let newest = Tarball::new().pax(&records).file("GNUSparseFile.1/sparse", &data);
    let map = format!("0,4,{tail},4");
    let records = [name, ("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", map.as_bytes())];
    let older = Tarball::new().pax(&records).file("x", b"headtail");
    let records: [(&str, &[u8]); 6] = [
        ("GNU.sparse.size", size.as_bytes()),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"0"),
        ("GNU.sparse.numbytes", b"4"),
        ("GNU.sparse.offset", tail.as_bytes()),
        ("GNU.sparse.numbytes", b"4"),
    ];
    let oldest = Tarball::new().pax(&records).file("sparse", b"headtail");
    for archive in [old, newest, older, oldest] {
        let yard = Yard::new();
        let path = yard.root(&archive.file("behind", b"behind").end()).join("sparse");
        let content = fs::read(&path).unwrap();
        assert!(content.len() == 10 << 20 && content.starts_with(b"head\0"));
        assert!(content.ends_with(b"\0tail"));
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 1 << 20);
        assert_eq!(fs::read(path.with_file_name("behind")).unwrap(), b"behind");
        // So they do when a directory is copied.
        let copy = Yard::new();
        let copied = copy.import(path.parent().unwrap()).unwrap().image.root.join("sparse");
        assert!(fs::read(&copied).unwrap() == content);
        assert!(fs::metadata(&copied).unwrap().blocks() * 512 < 1 << 20);
    }
}

#[test]
fn a_directory_is_copied_as_it_is() {
    let yard = Yard::new();
    let root = yard.root(&layers()[0]);
    fs::hard_link(root.join("old/a"), root.join("old/linked")).unwrap();
    xattr::set(root.join("old"), "user.note", b"note").unwrap();
    let expected = tree(&root);
    let mut request = yard.request(&root);
    request.name = Some("copy".parse().unwrap());
    let imported = yard.store.import(&request).unwrap();
    assert_eq!(tree(&imported.image.root), expected);
    assert_eq!(imported.image.config.digest, None);
}

#[test]
fn absolute_names_can_be_had() {
    let yard = Yard::new();
    let archive = Tarball::new().file("/app/file", b"1").hard_link("/app/link", "/app/file").end();
    let mut request = yard.request(&yard.source(&archive));
    request.absolute_names = true;
    let root = yard.store.import(&request).unwrap().image.root;
    assert_eq!(fs::metadata(root.join("app/link")).unwrap().nlink(), 2);
    assert!(!Path::new("/app/file").exists());
}

#[test]
fn names_come_from_the_source() {
    let yard = Yard::new();
    let name = |path: &Path| {
        let request = duplex::image::import::Request { name: None, ..yard.request(path) };
        yard.store.import(&request).map(|imported| imported.image.config.name.to_string())
    };
    let tarball = yard.path().join("My Root.tar.gz");
    fs::write(&tarball, gzip(&layers()[0])).unwrap();
    assert_eq!(name(&tarball).unwrap(), "my-root");
    let again = name(&tarball).unwrap_err();
    assert!(matches!(again, ImportError::Store(StoreError::Taken(_))), "{again}");
    let docker = yard.source(&Layout::docker(&layers(), |_| {}).archive());
    assert_eq!(name(&docker).unwrap(), "busybox:1");
    let layout = yard.source(&Layout::of(&layers()).archive());
    assert_eq!(name(&layout).unwrap(), "source:latest");
    // As docker and containerd name it.
    let changes = crate::layout::Changes {
        index: &|index| {
            let annotations = &mut index["manifests"][0]["annotations"];
            annotations["io.containerd.image.name"] = "docker.io/library/debian:12".into();
        },
        ..crate::layout::NONE
    };
    let layout = yard.source(&Layout::changed(&layers(), &changes).archive());
    assert_eq!(name(&layout).unwrap(), "debian:12");
    for reference in ["docker.io/library/debian:12", "latest"] {
        let request = duplex::image::import::Request {
            reference: Some(reference.into()),
            replace: true,
            ..yard.request(&layout)
        };
        yard.store.import(&request).unwrap();
    }
}
