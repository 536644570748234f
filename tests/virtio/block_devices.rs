//! A block device of the host as a disk. Needs the right to make a loop device.

use std::path::PathBuf;
use std::process::Command;

use duplex::workload::Disk;

use crate::disk::{
    ALL, DISCARD, Data, ENGINES, FLUSH, IN, IOERR, OK, OUT, WRITE_ZEROES, device, image, segment,
};
use crate::driver::Driver;

struct Loop(PathBuf);

impl Loop {
    fn over(file: &PathBuf) -> Option<Loop> {
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        let name = String::from_utf8(made.stdout).ok()?;
        (made.status.success()).then(|| Loop(name.trim().into()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn a_block_device_is_a_disk_too() {
    for engine in ENGINES {
        let image = image(8 << 20);
        let Some(device_node) = Loop::over(&image.path) else {
            eprintln!("SKIPPED: no loop device can be made here");
            return;
        };
        let disk = Disk { engine: Some(engine), ..Disk::new(&device_node.0) };
        let mut driver = Driver::ready(device(&disk), ALL, 8);
        let data = vec![5; 16 << 10];
        assert_eq!(driver.status_of(OUT, 16, Data::Out(&data)), OK);
        assert_eq!(driver.status_of(FLUSH, 0, Data::None), OK);
        assert_eq!(driver.request(IN, 16, Data::In(16 << 10)).2, data);
        assert_eq!(driver.status_of(DISCARD, 0, Data::Out(&segment(16, 8, 0))), OK);
        assert_eq!(driver.status_of(WRITE_ZEROES, 0, Data::Out(&segment(24, 8, 0))), OK);
        assert_eq!(driver.status_of(WRITE_ZEROES, 0, Data::Out(&segment(32, 8, 1))), OK);
        let read = driver.request(IN, 16, Data::In(16 << 10)).2;
        assert!(read[4096..12 << 10].iter().all(|byte| *byte == 0));
        assert_eq!(read[12 << 10..], data[12 << 10..]);
        assert_eq!(driver.status_of(IN, (8 << 20) / 512, Data::In(512)), IOERR);
    }
}
