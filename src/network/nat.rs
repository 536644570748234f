//! Masquerading what guests send beyond their network: one nftables table for each network, by the
//! program `nft`. A table has hooks of its own, so the host's own rules stay as they are.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::error::Error;
use super::subnet::Subnet;
use crate::host;

/// What the names of tables begin with; the network's follows.
const PREFIX: &str = "duplex-network-";

/// The table, complete or not at all: nft makes one transaction of its input.
fn rules(network: &str, subnet: Subnet) -> String {
    format!(
        "table ip {PREFIX}{network}\n\
         delete table ip {PREFIX}{network}\n\
         table ip {PREFIX}{network} {{\n\
         chain postrouting {{\n\
         type nat hook postrouting priority srcnat; policy accept;\n\
         ip saddr {subnet} ip daddr != {subnet} oifname != \"{network}\" masquerade\n\
         }}\n\
         }}\n"
    )
}

/// Makes the network's table anew.
pub(super) fn make(network: &str, subnet: Subnet) -> Result<(), Error> {
    nft(&["-f", "-"], &rules(network, subnet)).map(|_| ())
}

/// Removes it.
pub(super) fn remove(network: &str) -> Result<(), Error> {
    // "table" makes it where it is missing, so that "delete" never fails for that.
    let both = format!("table ip {PREFIX}{network}\ndelete table ip {PREFIX}{network}\n");
    nft(&["-f", "-"], &both).map(|_| ())
}

/// The networks that have a table; none where there is no nft to make one, or no kernel to have one.
pub(super) fn all() -> Result<Vec<String>, Error> {
    if host::installed_program("nft").is_none() || !kernel_filters() {
        return Ok(Vec::new());
    }
    let tables = nft(&["list", "tables", "ip"], "")?;
    let names = tables.lines().filter_map(|line| line.trim().strip_prefix("table ip "));
    Ok(names.filter_map(|name| name.strip_prefix(PREFIX)).map(Into::into).collect())
}

/// Whether the kernel has what nft talks to.
fn kernel_filters() -> bool {
    let (family, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
    socket(family, SockType::Raw, flags, SockProtocol::NetlinkNetFilter).is_ok()
}

fn nft(arguments: &[&str], input: &str) -> Result<String, Error> {
    let path = host::installed_program("nft").ok_or(Error::NoNft)?;
    let run = || -> io::Result<_> {
        let mut child = Command::new(path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // A few lines: less than a pipe holds. Whoever does not read them says why.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        child.wait_with_output()
    };
    let output = run().map_err(|error| Error::Nft(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Nft(said.lines().next().unwrap_or("it does not say why").to_owned()))
}
