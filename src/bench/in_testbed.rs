//! An order carried out in the testbed: this program is started there once, with the order in a file, and
//! leaves what it found in another.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::measure::{Observed, Order, measure};
use super::results::Place;
use super::rounds::Watch;
use super::scratch::Scratch;
use super::stop::Stop;
use super::workshop::Workshop;
use crate::guest_images::Cache;
use crate::host::installed_program;
use crate::image::ext4;
use crate::isolate::LoopDevice;
use crate::testbed::{Machine, Session};

/// Memory that all commands in the testbed share.
const MEMORY: &str = "/dev/shm";

/// What QEMU reads beside its libraries.
const QEMU_DATA: [&str; 3] = ["/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe/qemu"];

/// What duplex calls to make disks, and what that reads.
const DISK_MAKERS: [&str; 2] = ["mke2fs", "debugfs"];
const DISK_SETTINGS: &str = "/etc/mke2fs.conf";

impl Order {
    /// The same order as it is to be carried out in the testbed: the image is a disk.
    ///
    /// # Errors
    /// The disk cannot be made.
    pub fn for_testbed(&self, place: Place) -> Result<Self, String> {
        let disk = self.workshop.place.join("image.ext4");
        let failed =
            |error: &dyn std::fmt::Display| format!("cannot make {}: {error}", disk.display());
        let file = File::create(&disk).map_err(|error| failed(&error))?;
        ext4::make(&self.workshop.image, &file).map_err(|error| failed(&error))?;
        Ok(Self { disk: Some(disk), place, ..self.clone() })
    }

    /// The command that carries out the order in file `order` there, and writes to file `observed`.
    ///
    /// # Errors
    /// This process's surroundings cannot be told.
    pub fn session(&self, word: &str, order: &Path, observed: &Path) -> Result<Session, String> {
        let program = self.workshop.own.clone();
        let argv = [program.as_os_str(), word.as_ref(), order.as_os_str(), observed.as_os_str()];
        let session = Session::new(argv.map(ToOwned::to_owned).into());
        let mut session = session.map_err(|error| {
            format!("the working directory cannot be told: {error}; change to one that is there")
        })?;
        session.reads_input = false;
        session.writable.push(observed.to_owned());
        session.inputs.extend([order.to_owned(), self.workshop.program_directory()]);
        session.inputs.extend(self.disk.clone());
        session.inputs.extend(self.workshop.guest.as_ref().map(|guest| guest.initramfs.clone()));
        if self.place == Place::Counting {
            session.machine = Machine::counting();
            session.inputs.extend(self.counted_files());
        }
        Ok(session)
    }

    /// What must be in the counting machine's memory beside the order: it finds nothing else there.
    fn counted_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let kernel = self.workshop.guest.as_ref().map(|guest| guest.kernel.clone());
        // duplex finds it as an entry of its cache.
        files.extend(kernel.as_deref().and_then(Path::parent).map(ToOwned::to_owned));
        let programs = ["unshare", "bwrap", "crun", "runc", "qemu-system-x86_64"];
        let programs = programs.into_iter().chain(["firecracker", "cloud-hypervisor"]);
        files.extend(programs.chain(DISK_MAKERS).filter_map(installed_program));
        files.extend(QEMU_DATA.into_iter().chain([DISK_SETTINGS]).map(PathBuf::from));
        files.retain(|file| file.exists());
        files
    }
}

/// Carries out an order on the machine that this process runs on, which is the testbed's, started from the
/// image's disk.
///
/// # Errors
/// The image cannot be mounted there, or a directory cannot be made.
pub fn carry_out(order: &Order, watch: &mut dyn Watch, stop: &Stop) -> Result<Observed, String> {
    let scratch = Scratch::new(Path::new(MEMORY));
    let scratch =
        scratch.map_err(|error| format!("cannot make a directory in {MEMORY}: {error}"))?;
    let place = scratch.path().to_owned();
    let image = place.join("image");
    let mounted = order.disk.as_deref().map(|disk| mount_disk(disk, &image)).transpose();
    let mounted = mounted.map_err(|error| format!("cannot mount the image: {error}"))?;
    let image = if mounted.is_some() { image } else { order.workshop.image.clone() };
    let workshop = Workshop { place, image, ..order.workshop.clone() };
    workshop.place_observer()?;
    // Where it would be the first to open it, its time would count.
    let _ = Cache::open();
    let here = Order { workshop, disk: None, ..order.clone() };
    Ok(measure(&here, watch, stop))
}

/// Mounted until it is dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = crate::isolate::detach(&self.0);
    }
}

fn mount_disk(disk: &Path, at: &Path) -> std::io::Result<Mounted> {
    fs::create_dir(at)?;
    let device = LoopDevice::read_only(&File::open(disk)?)?;
    mount(Some(device.path()), at, Some("ext4"), MsFlags::MS_RDONLY, None::<&str>)?;
    Ok(Mounted(at.to_owned()))
}
