//! The network as this user has it, for a container: pasta, passt's other half, serves an interface in the
//! container's network namespace through sockets, without privilege.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::Pid;

use crate::host;
use crate::isolate::cgroups::Group;
use crate::isolate::{Process, Program};
use crate::vm::devices::virtio::net::passt::{self, PasstError, UserNetwork};
use crate::workload::PublishedPort;

const PROGRAM: &str = "pasta";

/// What its interface in the container is called.
const INTERFACE: &str = "eth0";

/// A pasta that serves a container. It ends when this is dropped or this process ends.
#[derive(Debug)]
pub(crate) struct UserLink {
    process: Process,
    /// Where it writes what it has to say. When this is full, it goes without.
    _said: io::PipeReader,
}

impl UserLink {
    /// The size that its interface is to have for packets: the largest, since each costs it as much.
    pub(crate) const MTU: u16 = 65520;

    /// Starts one for the container whose first process this is, in its group, and waits until its
    /// interface is there.
    ///
    /// # Errors
    /// Why it has not started.
    pub(crate) fn start(
        container: Pid,
        group: &Group,
        network: &UserNetwork,
        published: &[PublishedPort],
    ) -> Result<UserLink, PasstError> {
        let path = host::installed_program(PROGRAM).ok_or(PasstError::Missing)?;
        File::options().read(true).write(true).open("/dev/net/tun").map_err(PasstError::Tun)?;
        let (mut said, log) = io::pipe()?;
        fcntl(&log, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(io::Error::from)?;
        let (ready, tell) = io::pipe()?;
        let null: OwnedFd = File::open("/dev/null")?.into();
        let process = Program::new(path, arguments(container, network, published))?
            .env([("PATH", std::env::var_os("PATH").as_deref().unwrap_or(OsStr::new("/usr/bin")))])?
            .descriptors(vec![null, tell.into(), log.into()])
            .dies_with_parent()
            .in_group(group)?
            .spawn()?;
        let mut number = String::new();
        BufReader::new(ready).read_line(&mut number)?;
        if number.ends_with('\n') {
            return Ok(UserLink { process, _said: said });
        }
        process.wait()?;
        let mut text = Vec::new();
        said.by_ref().take(16 << 10).read_to_end(&mut text)?;
        Err(passt::why(&String::from_utf8_lossy(&text)))
    }
}

impl Drop for UserLink {
    fn drop(&mut self) {
        // To no effect where it has ended, and been waited for.
        if self.process.kill().is_ok() {
            let _ = self.process.wait();
        }
    }
}

/// It stays in the foreground and the same user, for the kernel forgets what it is to do when the parent
/// ends if either changes; and writes its number where it is told when it is ready.
fn arguments(container: Pid, network: &UserNetwork, published: &[PublishedPort]) -> Vec<String> {
    let UserNetwork { own, gateway, dns } = network;
    let mut all: Vec<String> =
        [PROGRAM, "--quiet", "--foreground", "--stderr"].map(Into::into).into();
    for (option, value) in [
        ("--runas", nix::unistd::geteuid().to_string()),
        ("--pid", "/proc/self/fd/1".to_owned()),
        ("--ns-ifname", INTERFACE.to_owned()),
        ("--mtu", UserLink::MTU.to_string()),
        ("--address", own.address.to_string()),
        ("--netmask", own.bits.to_string()),
        ("--gateway", gateway.to_string()),
        ("--dns-forward", dns.to_string()),
        // Not whatever listens on this host's loopback.
        ("--tcp-ns", "none".to_owned()),
        ("--udp-ns", "none".to_owned()),
        ("--userns", format!("/proc/{container}/ns/user")),
        ("--netns", format!("/proc/{container}/ns/net")),
    ] {
        all.extend([option.to_owned(), value]);
    }
    all.extend(passt::published(published));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_published_is_forwarded() {
        let published = ["8080:80", "127.0.0.1:53:53/udp"].map(|text| text.parse().unwrap());
        let all = |published| arguments(Pid::from_raw(7), &UserNetwork::of(0), published).join(" ");
        let text = all(&published);
        assert!(text.contains("--tcp-ports 8080:80 --udp-ports 127.0.0.1/53:53"), "{text}");
        assert!(
            text.contains("--netns /proc/7/ns/net") && text.contains("--tcp-ns none"),
            "{text}"
        );
        assert!(all(&[]).contains("--tcp-ports none --udp-ports none"));
    }
}
