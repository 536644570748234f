//! The guest's name, and the file in which names are looked up.

use std::fs;
use std::path::Path;

use nix::unistd::sethostname;

use crate::failure::{Failure, Step};

/// Names the guest: to the kernel, and to programs that look it up.
pub(super) fn set(hostname: &str) -> Result<(), Failure> {
    sethostname(hostname).step("set the host name")?;
    // An image without /etc has nothing that would look there.
    if !Path::new("/etc").is_dir() {
        return Ok(());
    }
    write("/etc/hostname", &format!("{hostname}\n"))?;
    write(
        "/etc/hosts",
        &format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n"),
    )
}

/// In the place of what is there, which may be a symbolic link to anywhere.
fn write(path: &str, content: &str) -> Result<(), Failure> {
    let _ = fs::remove_file(path);
    fs::write(path, content).step_with(|| format!("write {path}"))
}
