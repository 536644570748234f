//! Kernel modules, from the initramfs into the kernel.

use std::fs::{self, File};
use std::path::Path;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use crate::failure::{Failure, Step};
use crate::testbed::initramfs::{MODULE_ORDER, MODULES};

/// Loads the modules that the initramfs brought, in the order it lists them.
///
/// One that fails is reported on the console and passed over: what really needs it says so later,
/// and a testbed without, say, bridges is still of use.
pub(super) fn load_all() -> Result<(), Failure> {
    let order = Path::new("/").join(MODULE_ORDER);
    let names = fs::read_to_string(&order).step_with(|| format!("read {}", order.display()))?;
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
