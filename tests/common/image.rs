//! An image: a busybox, and users to be.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use duplex::guest_images::{Cache, busybox as program};

use super::empty_directory;

const APPLETS: [&str; 31] = [
    "awk", "cat", "chmod", "chown", "df", "dd", "echo", "env", "grep", "head", "hostname", "id",
    "kill", "ln", "ls", "md5sum", "mkdir", "mknod", "mount", "ps", "pwd", "rm", "sh", "sleep",
    "stat", "stty", "touch", "true", "tty", "wc", "yes",
];

/// The directory, made once.
pub(crate) fn busybox() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let root = empty_directory("busybox-root");
        for name in ["bin", "etc", "root"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let busybox = root.join("bin/busybox");
        fs::copy(program(&Cache::open().unwrap()).unwrap(), &busybox).unwrap();
        fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755)).unwrap();
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let users = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann:/home/ann:/bin/sh\n";
        fs::write(root.join("etc/passwd"), users).unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\nusers:x:100:\naudio:x:29:ann\n").unwrap();
        root
    };
    IMAGE.get_or_init(make)
}
