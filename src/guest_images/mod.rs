//! Guest images: kernels and small root file systems, made or fetched once and kept in a cache.
//!
//! Nothing here is installed on the host, and nothing needs privilege: Debian's packages are
//! downloaded and unpacked ([`debian_kernel`]), the tuned kernel is built from Debian's source
//! package ([`tuned_kernel`]), initramfs archives are written in process ([`demo_initramfs`],
//! [`hello_initramfs`], [`Initramfs`]), a root with programs that test and measure devices is put together of
//! packages ([`tools_image`]). The scripts and guest programs come from `guest-images/` and
//! are part of the binary, so that an installed duplex needs no checkout.

mod cache;
mod debian;
mod demo;
mod digest;
mod error;
mod initramfs;
mod payload;
mod program;
mod progress;
mod script;
mod tools;
mod tuned;

pub(crate) use cache::Recipe;
pub(crate) use digest::Digest;
pub(crate) use initramfs::{MODULE_ORDER, MODULES};
pub(crate) use program::{loaded_part, own_program};
pub(crate) use progress::Progress;

pub use cache::Cache;
pub use debian::{DebianKernel, Series, debian_kernel};
pub use demo::{busybox, demo_initramfs, hello_initramfs};
pub use error::Error;
pub use initramfs::Initramfs;
pub use payload::{PayloadError, elf_from_bzimage};
pub use tools::tools_image;
pub use tuned::{TunedKernel, find_tuned_kernel, tuned_kernel};
