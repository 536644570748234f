//! Images: root file systems, wherever they come from.
//!
//! What is imported is unpacked once into the [store] and then shared by both halves. For a VM a
//! [disk] is made of a root: an ext4 file system in a file that guests read. [`resolve`] finds what a
//! command line calls an image: a directory, or one of the store.

mod config;
mod disk;
mod export;
pub(crate) mod ext4;
pub mod import;
mod init_disk;
mod name;
mod resolve;
mod store;
mod tree;

pub use config::ImageConfig;
pub use disk::{Error, disk, forget as forget_disk};
pub use export::export;
pub use name::Name;
pub use resolve::{ResolveError, ResolvedImage, resolve};
pub use store::{Lease, Store, StoreError, StoredImage};

pub(crate) use init_disk::{INIT_PROGRAM, Init, run_kernel};
