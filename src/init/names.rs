//! The guest's name, and the files in which names are looked up, as docker has them.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::Path;

use nix::unistd::sethostname;

use crate::failure::{Failure, Step};

/// Names the guest to the kernel.
pub(crate) fn set_hostname(hostname: &str) -> Result<(), Failure> {
    sethostname(hostname).step("set the host name")
}

/// Names the guest to programs that look it up.
pub(crate) fn set_hosts(hostname: &str, address: Option<Ipv4Addr>) -> Result<(), Failure> {
    write("/etc/hostname", &format!("{hostname}\n"))?;
    write("/etc/hosts", &hosts(hostname, address))
}

/// The guest's name stands for its address on the network, if it has one.
fn hosts(hostname: &str, address: Option<Ipv4Addr>) -> String {
    let common = "::1\tlocalhost ip6-localhost ip6-loopback\n";
    match address {
        Some(address) => format!("127.0.0.1\tlocalhost\n{common}{address}\t{hostname}\n"),
        None => format!("127.0.0.1\tlocalhost {hostname}\n{common}"),
    }
}

/// Says who is asked for names, and where short ones are looked up.
pub(crate) fn set_resolver(servers: &[Ipv4Addr], search: &[String]) -> Result<(), Failure> {
    write("/etc/resolv.conf", &resolver(servers, search))
}

fn resolver(servers: &[Ipv4Addr], search: &[String]) -> String {
    let mut text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    text
}

/// In the place of what is there, which may be a symbolic link to anywhere. An image without /etc has
/// nothing that would look there.
fn write(path: &str, content: &str) -> Result<(), Failure> {
    if !Path::new("/etc").is_dir() {
        return Ok(());
    }
    let _ = fs::remove_file(path);
    match fs::write(path, content) {
        // An ordinary user's container, in which somebody else has /etc.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        other => other.step_with(|| format!("write {path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_name_stands_for_its_address() {
        let with = hosts("web", Some(Ipv4Addr::new(10, 9, 8, 2)));
        assert!(with.starts_with("127.0.0.1\tlocalhost\n") && with.ends_with("\n10.9.8.2\tweb\n"));
        assert!(hosts("web", None).starts_with("127.0.0.1\tlocalhost web\n"));
    }

    #[test]
    fn who_is_asked_for_names() {
        let servers = [Ipv4Addr::new(10, 0, 2, 3)];
        let search = ["a.example".to_owned(), "b.example".to_owned()];
        let expected = "nameserver 10.0.2.3\nsearch a.example b.example\n";
        assert_eq!(resolver(&servers, &search), expected);
        assert_eq!(resolver(&[], &[]), "");
    }
}
