//! Devices of the emulated machine: waiting until they are there, finding them by name.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::failure::{Failure, Step};

/// The kernel's announcements of devices, kobject_uevent.
pub(super) struct Events(OwnedFd);

impl Events {
    /// Starts listening. What happens from now on is not missed.
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = || -> nix::Result<OwnedFd> {
            let socket = socket(
                AddressFamily::Netlink,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkKObjectUEvent,
            )?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1))?;
            Ok(socket)
        };
        Ok(Self(listen().step("listen for devices")?))
    }

    /// Waits for the next announcement; a lost one counts too.
    fn wait(&self) -> Result<(), Failure> {
        let mut message = [0; 4096];
        match recv(self.0.as_raw_fd(), &mut message, MsgFlags::empty()) {
            Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => Ok(()),
            Err(error) => Err(error).step("wait for a device"),
        }
    }
}

/// Waits for the virtio-serial port of this name, and returns its device node.
pub(super) fn find_port(events: &Events, name: &str) -> Result<PathBuf, Failure> {
    loop {
        if let Some(node) = port_named(name).step("list the virtio ports")? {
            return Ok(node);
        }
        events.wait()?;
    }
}

/// Waits for the virtio-serial port of this name, and opens it.
pub(super) fn open_port(events: &Events, name: &str) -> Result<File, Failure> {
    let node = find_port(events, name)?;
    File::options()
        .read(true)
        .write(true)
        .open(&node)
        .step_with(|| format!("open {}", node.display()))
}

fn port_named(name: &str) -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir("/sys/class/virtio-ports") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        // The name arrives some time after the port itself.
        let found = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        let node = Path::new("/dev").join(entry.file_name());
        if found.trim_end() == name && node.exists() {
            return Ok(Some(node));
        }
    }
    Ok(None)
}

/// The block device with this serial number.
pub(super) fn disk_with_serial(serial: &str) -> Result<PathBuf, Failure> {
    let find = || -> io::Result<PathBuf> {
        for entry in fs::read_dir("/sys/block")? {
            let entry = entry?;
            let found = fs::read_to_string(entry.path().join("serial")).unwrap_or_default();
            if found.trim_end() == serial {
                return Ok(Path::new("/dev").join(entry.file_name()));
            }
        }
        Err(io::ErrorKind::NotFound.into())
    };
    find().step_with(|| format!("find the disk {serial}"))
}
