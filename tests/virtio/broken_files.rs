//! Files that fail while a guest uses them: the request fails, and nothing else does.

use std::fs::File;
use std::path::Path;

use duplex::vm::devices::virtio::block::Block;
use duplex::vm::devices::virtio::block::backing::Backing;
use duplex::vm::memory::map_file;
use duplex::workload::Disk;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::disk::{ALL, Data, ENGINES, FLUSH, IN, IOERR, OK, OUT, device, image, place};
use crate::driver::{ARENA, Driver, NEEDS_RESET, WRITE, desc};

#[test]
fn a_file_that_is_cut_off_gives_errors_where_it_ended() {
    for engine in ENGINES {
        let image = image(1 << 20);
        let mut driver = Driver::ready(device(&image.disk(engine)), ALL, 8);
        assert_eq!(driver.status_of(IN, 1024, Data::In(4096)), OK);
        let file = File::options().write(true).open(&image.path).unwrap();
        file.set_len(512 * 1024 + 100).unwrap();
        // Half of it is there; nothing of it is there; all of it is there.
        assert_eq!(driver.status_of(IN, 1024, Data::In(4096)), IOERR);
        assert_eq!(driver.status_of(IN, 1032, Data::In(4096)), IOERR);
        assert_eq!(driver.status_of(IN, 0, Data::In(4096)), OK);
        file.set_len(0).unwrap();
        assert_eq!(driver.status_of(IN, 0, Data::In(512)), IOERR);
        // A write makes it grow again, within the disk.
        assert_eq!(driver.status_of(OUT, 0, Data::Out(&[1; 512])), OK);
        assert_eq!(driver.status_of(IN, 0, Data::In(512)), OK);
        assert_eq!(driver.status() & NEEDS_RESET, 0);
    }
}

#[test]
fn a_buffer_in_a_page_that_was_cut_off_fails_its_request_alone() {
    for engine in ENGINES {
        let image = image(1 << 20);
        let mut driver = Driver::ready(device(&image.disk(engine)), ALL, 8);
        // As kernel and initrd are: the guest's memory is a file.
        let kernel = tempfile::tempfile().unwrap();
        kernel.set_len(0x4000).unwrap();
        let gone = ARENA + (8 << 20);
        map_file(&driver.memory, gone, &kernel, 0, 0x4000).unwrap();
        let mut status = |kind, flags| {
            let mut chain = driver.prepare(0, kind, 0, Data::None);
            chain.insert(1, desc(gone, 0x4000, flags, 0));
            driver.send(0, 0, &chain);
            driver.wait_used(0);
            driver.get::<u8>(place(0).1)
        };
        assert_eq!(status(OUT, 0), OK);
        kernel.set_len(0).unwrap();
        assert_eq!((status(OUT, 0), status(IN, WRITE)), (IOERR, IOERR));
        assert_eq!(driver.status_of(OUT, 0, Data::Out(&[1; 512])), OK);
        assert_eq!(driver.status() & NEEDS_RESET, 0);
    }
}

#[test]
fn a_limit_on_file_sizes_gives_errors_and_not_the_end() {
    // For the whole process: larger than any other file of these tests.
    let limit = 64 << 20;
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, limit, hard).unwrap();
    for engine in ENGINES {
        let image = image(limit);
        let file = File::options().write(true).open(&image.path).unwrap();
        let mut driver = Driver::ready(device(&image.disk(engine)), ALL, 8);
        file.set_len(0).unwrap();
        setrlimit(Resource::RLIMIT_FSIZE, 32 << 20, hard).unwrap();
        assert_eq!(driver.status_of(OUT, (32 << 20) / 512, Data::Out(&[1; 4096])), IOERR);
        assert_eq!(driver.status_of(OUT, 0, Data::Out(&[1; 4096])), OK);
        setrlimit(Resource::RLIMIT_FSIZE, limit, hard).unwrap();
    }
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
}

/// Opens a sparse image on a tmpfs of 1 MiB that this thread alone sees.
fn on_full_file_system(directory: &Path) -> nix::Result<Backing> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&Path> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some("size=1m"))?;
    let path = directory.join("disk.img");
    File::create(&path).unwrap().set_len(16 << 20).unwrap();
    Ok(Backing::open(&path, false).unwrap())
}

#[test]
fn a_full_file_system_gives_errors_until_there_is_room() {
    for engine in ENGINES {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let opened = std::thread::spawn(move || on_full_file_system(&path)).join().unwrap();
        let Ok(backing) = opened else {
            eprintln!("SKIPPED: a tmpfs can only be mounted by root: {opened:?}");
            return;
        };
        let disk = Disk { engine: Some(engine), ..Disk::new("full") };
        let mut driver = Driver::ready(Box::new(Block::new(&disk, 0, backing).unwrap()), ALL, 8);
        let data = vec![7; 48 << 10];
        let mut statuses = Vec::new();
        for at in (0..64).map(|n| n * 96) {
            statuses.push(driver.status_of(OUT, at, Data::Out(&data)));
        }
        assert_eq!((statuses[0], statuses[63]), (OK, IOERR), "{statuses:?}");
        // What was written stays readable, and a discard makes room again.
        assert_eq!(driver.request(IN, 0, Data::In(48 << 10)).2, data);
        let hole = crate::disk::segment(0, 96 * 4, 0);
        assert_eq!(driver.status_of(crate::disk::DISCARD, 0, Data::Out(&hole)), OK);
        assert_eq!(driver.status_of(OUT, 63 * 96, Data::Out(&data)), OK);
        assert_eq!(driver.status_of(FLUSH, 0, Data::None), OK);
    }
}
