//! Network devices for guests.

use std::fs::File;
use std::io::ErrorKind;

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

/// What tells this host from others (machine-id(5)); empty where nobody has given it anything.
pub fn machine_id() -> String {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    id.trim_end().to_owned()
}
