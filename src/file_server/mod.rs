//! Directories of this host, served to machines by virtiofsd over vhost-user.
//!
//! | file | idea |
//! |---|---|
//! | `virtiofsd` | the program: two dialects of one idea |
//! | `volume` | a directory for a guest: its server is started, with a connection to it |
//! | `confined` | what happens in the server's process before it is virtiofsd |

mod confined;
mod virtiofsd;
mod volume;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::failure::{Failure, Step};

pub(crate) use confined::main as confined_server;
pub(crate) use virtiofsd::Virtiofsd;
pub(crate) use volume::SUBCOMMAND;
pub use volume::{Error, FileServer};

/// virtiofsd keeps a descriptor for every file that its guest knows: as many as it may have.
pub(crate) fn raise_file_limit() -> Result<(), Failure> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).step("read the limit of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).step("raise the limit of open files")
}
