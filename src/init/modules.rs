//! Kernel modules, from the initramfs into the kernel.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::failure::{Failure, Step};
use crate::guest_images::{MODULE_ORDER, MODULES};

/// Loads the modules that the initramfs brought, in the order it lists them; none for a kernel that
/// has everything built in.
///
/// One that fails is reported on the console and passed over: what really needs it says so later,
/// and a testbed without, say, bridges is still of use.
pub(crate) fn load_modules() -> Result<(), Failure> {
    let order = Path::new("/").join(MODULE_ORDER);
    let names = match fs::read_to_string(&order) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.step_with(|| format!("read {}", order.display()))?,
    };
    for name in names.lines() {
        let path = Path::new("/").join(MODULES).join(name);
        let file = File::open(&path).step_with(|| format!("open {}", path.display()))?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => eprintln!("duplex: cannot load {name}: {error}"),
        }
    }
    Ok(())
}
