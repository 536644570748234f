//! Who this process is.

use nix::unistd::geteuid;

/// Whether all users' files are in our power: we are root, and not just in a user namespace with a
/// single user.
pub(crate) fn is_master_of_all_files() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let users = map.split_whitespace().nth(2);
    geteuid().is_root() && users.is_some_and(|count| count != "1")
}
