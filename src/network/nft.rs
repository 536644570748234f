//! Rules of the kernel's packet filter, by the program `nft`. Everything is in tables of duplex's own,
//! which have hooks of their own: the host's rules stay as they are. A table's name says whose it is.

use std::io::{self, Read, Write};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::sys::wait::WaitStatus;

use super::error::Error;
use crate::host;
use crate::isolate::Program;

/// What a table is for; in its name the bridge's or the port's follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A network's addresses are translated.
    Network,
    /// A network's published ports can be reached from this host's loopback, and nothing else there.
    Loopback,
    /// An instance's published ports.
    Port,
    /// An instance sends as itself alone.
    Sender,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Network, Kind::Loopback, Kind::Port, Kind::Sender];

    fn prefix(self) -> &'static str {
        match self {
            Kind::Network => "ip duplex-network-",
            Kind::Loopback => "ip duplex-loopback-",
            Kind::Port => "ip duplex-port-",
            Kind::Sender => "netdev duplex-sender-",
        }
    }
}

/// A table that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) kind: Kind,
    /// The network's name, or the port's.
    pub(super) owner: String,
}

impl Table {
    pub(super) fn new(kind: Kind, owner: &str) -> Table {
        Table { kind, owner: owner.to_owned() }
    }

    /// Those that an instance's port can have.
    pub(super) fn of_port(port: &str) -> [Table; 2] {
        [Kind::Port, Kind::Sender].map(|kind| Table::new(kind, port))
    }

    /// The table with this in it and nothing else; whether there was one does not matter.
    pub(super) fn with(&self, content: &str) -> String {
        format!("{}table {}{} {{\n{content}}}\n", self.without(), self.kind.prefix(), self.owner)
    }

    /// No such table any more.
    pub(super) fn without(&self) -> String {
        // "table" makes it where it is missing, so that "delete" never fails for that.
        let name = format!("{}{}", self.kind.prefix(), self.owner);
        format!("table {name}\ndelete table {name}\n")
    }
}

/// Carries this out, completely or not at all: nft makes one transaction of its input.
pub(super) fn apply(text: &str) -> Result<(), Error> {
    nft(&["-f", "-"], text).map(drop)
}

/// Removes these tables, as far as they are there.
pub(super) fn remove(tables: impl IntoIterator<Item = Table>) -> Result<(), Error> {
    let text: String = tables.into_iter().map(|table| table.without()).collect();
    if text.is_empty() { Ok(()) } else { apply(&text) }
}

/// The tables of duplex's; none where there is no nft to make one, or no kernel to have one.
pub(super) fn all() -> Result<Vec<Table>, Error> {
    if host::installed_program("nft").is_none() || !kernel_filters() {
        return Ok(Vec::new());
    }
    Ok(nft(&["list", "tables"], "")?.lines().filter_map(read).collect())
}

/// One of duplex's tables, as nft lists it.
fn read(line: &str) -> Option<Table> {
    let name = line.trim().strip_prefix("table ")?;
    Kind::ALL.into_iter().find_map(|kind| Some(Table::new(kind, name.strip_prefix(kind.prefix())?)))
}

/// Whether the kernel has what nft talks to.
fn kernel_filters() -> bool {
    let (family, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
    socket(family, SockType::Raw, flags, SockProtocol::NetlinkNetFilter).is_ok()
}

/// It ends with this process: nothing is changed any more once that has gone.
fn nft(arguments: &[&str], input: &str) -> Result<String, Error> {
    let path = host::installed_program("nft").ok_or(Error::NoNft)?;
    let run = || -> io::Result<_> {
        let (stdin, mut ours) = io::pipe()?;
        let (mut output, stdout) = io::pipe()?;
        let (mut said, stderr) = io::pipe()?;
        let process = Program::new(path, ["nft"].iter().chain(arguments))?
            .descriptors(vec![stdin.into(), stdout.into(), stderr.into()])
            .dies_with_parent()
            .spawn()?;
        // It reads all of it before it says anything. Whoever does not read it says why.
        let _ = ours.write_all(input.as_bytes());
        drop(ours);
        let (mut text, mut why) = (Vec::new(), Vec::new());
        output.read_to_end(&mut text)?;
        said.read_to_end(&mut why)?;
        let is_done = matches!(process.wait()?, WaitStatus::Exited(_, 0));
        Ok((is_done, String::from_utf8_lossy(&text).into_owned(), why))
    };
    let (is_done, text, why) = run().map_err(|error| Error::Nft(error.to_string()))?;
    if is_done {
        return Ok(text);
    }
    let why = String::from_utf8_lossy(&why);
    Err(Error::Nft(why.lines().next().unwrap_or("it does not say why").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_known_by_its_name_alone() {
        for kind in Kind::ALL {
            let table = Table::new(kind, "dx-1");
            let line = format!("table {}dx-1", kind.prefix());
            assert_eq!(read(&line), Some(table.clone()));
            assert!(table.with("").ends_with(&format!("{line} {{\n}}\n")));
        }
        for line in ["table ip nat", "table ip6 duplex-network-dx", "table inet duplex-port-dx", ""]
        {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
