//! Network devices for guests.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::Ipv4Addr;

use super::check::Check;

const DEVICE: &str = "/dev/net/tun";

/// Whether tap devices can be used.
pub fn tun() -> Check {
    const NAME: &str = "tap networking";
    match File::options().read(true).write(true).open(DEVICE) {
        Ok(_) => Check::ok(NAME, format!("{DEVICE} can be opened")),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Check::missing(
            NAME,
            format!("{DEVICE} may not be opened by this user"),
            format!("sudo chmod 0666 {DEVICE}: making an interface still needs CAP_NET_ADMIN"),
        ),
        Err(error) => Check::missing(
            NAME,
            format!("{DEVICE}: {error}"),
            format!("sudo modprobe tun; in a container, pass it in: --device {DEVICE}"),
        ),
    }
}

/// Where the files say that this host looks names up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Who is asked, of those with an IPv4 address.
    pub servers: Vec<Ipv4Addr>,
    /// The domains that short names are looked up in.
    pub search: Vec<String>,
}

/// How this host looks names up: resolv.conf(5); for one whose only server is systemd-resolved, what
/// that asks itself.
pub fn resolver() -> Resolver {
    let read = |path| Resolver::read(&fs::read_to_string(path).unwrap_or_default());
    let own = read("/etc/resolv.conf");
    if own.servers.iter().all(Ipv4Addr::is_loopback) {
        let behind = read("/run/systemd/resolve/resolv.conf");
        if !behind.servers.is_empty() {
            return behind;
        }
    }
    own
}

impl Resolver {
    fn read(text: &str) -> Resolver {
        let mut resolver = Resolver::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    resolver
                        .servers
                        .extend(words.next().and_then(|word| word.parse::<Ipv4Addr>().ok()));
                }
                // The last one counts.
                Some("search" | "domain") => {
                    resolver.search =
                        words.take_while(|word| is_domain(word)).map(Into::into).collect();
                }
                _ => {}
            }
        }
        resolver
    }
}

fn is_domain(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}

/// What tells this host from others (machine-id(5)); empty where nobody has given it anything.
pub fn machine_id() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    id.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolvers_file_is_read() {
        let text = "# a comment\nnameserver 127.0.0.53\nnameserver fe80::1\nnameserver  10.0.0.1 x\n\
                    domain old.example\nsearch a.example b.example # home\noptions ndots:1\nnameserver\n";
        let expected = Resolver {
            servers: vec![Ipv4Addr::new(127, 0, 0, 53), Ipv4Addr::new(10, 0, 0, 1)],
            search: vec!["a.example".into(), "b.example".into()],
        };
        assert_eq!(Resolver::read(text), expected);
        assert_eq!(Resolver::read(""), Resolver::default());
    }
}
