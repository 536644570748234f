//! A disk image of what one command needs, for hosts where the file system can't be shown to the
//! testbed as it is: without virtiofsd, or without the namespaces that keep it read-only.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::closure::{files_to_run, find_program};
use super::error::Error;
use super::files::NamedFile;
use super::model::Session;
use super::protocol::{NAMED_IN_IMAGE, PROGRAM};
use super::replica::Replica;
use super::scratch::nameless_file;
use crate::failure::Step;
use crate::isolate::Program;

/// Where the programs of e2fsprogs are; an ordinary user's PATH lacks the latter two.
const SEARCH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// Builds the image, in a file without a name. `stage` is a directory to be made, for the files on
/// their way; it is gone again afterwards.
pub(super) fn build(
    stage: &Path,
    session: &Session,
    files: &[NamedFile],
) -> Result<OwnedFd, Error> {
    fs::create_dir(stage).step_with(|| format!("make {}", stage.display()))?;
    let image = fill(stage, session, files).and_then(|()| make_image(stage));
    fs::remove_dir_all(stage).step_with(|| format!("remove {}", stage.display()))?;
    image
}

fn fill(stage: &Path, session: &Session, files: &[NamedFile]) -> Result<(), Error> {
    let replica = Replica::new(stage);
    let copy = |path: &Path| -> Result<(), Error> {
        Ok(replica.add(path).step_with(|| format!("copy {} for the testbed", path.display()))?)
    };
    let search = session.env.iter().find(|(name, _)| name == "PATH").map(|(_, path)| &**path);
    if let Some(name) = session.argv.first().filter(|name| *name != PROGRAM) {
        let program = find_program(name, search).step("find the command")?;
        let needed = files_to_run(&program, &session.env).step("find what the command needs")?;
        needed.iter().try_for_each(|path| copy(path))?;
    }
    let named = stage.join(NAMED_IN_IMAGE);
    fs::create_dir(&named).step("make a directory for named files")?;
    for (number, file) in files.iter().enumerate() {
        let place = named.join(number.to_string());
        let shown = file.export.path.display();
        if file.is_directory() {
            if file.export.write {
                return Err(Error::Image(format!(
                    "{shown}: a directory can't be written to from a disk image"
                )));
            }
            copy(&file.export.path)?;
            let inside = replica.inside(&file.export.path);
            fs::rename(&inside, &place).step_with(|| format!("place {shown}"))?;
        } else {
            file.copy_to(&place).step_with(|| format!("copy {shown} for the testbed"))?;
        }
    }
    let directories = [&*session.cwd, Path::new("/tmp"), Path::new("/run")];
    for directory in directories {
        replica.add_directory(directory).step_with(|| format!("make {}", directory.display()))?;
    }
    Ok(())
}

/// Makes an ext4 file system with what is in the directory.
fn make_image(stage: &Path) -> Result<OwnedFd, Error> {
    let mke2fs = find_program("mke2fs".as_ref(), Some(SEARCH.as_ref()));
    let mke2fs = mke2fs.map_err(|_| {
        Error::Image(
            "a disk image needs mke2fs, which is missing: apt-get install e2fsprogs".into(),
        )
    })?;
    let Contents { bytes, entries } = Contents::of(stage).step("measure the image's contents")?;
    // Room for the tables; a file system that is read only needs no more.
    let size = (bytes + bytes / 16 + entries * 512 + (16 << 20)).next_multiple_of(1 << 20);
    let image = nameless_file(size).step("make the image's file")?;
    let inodes = (entries + 64).to_string();
    let arguments =
        ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-N", &inodes, "-d"];
    let arguments = arguments.map(PathBuf::from);
    let arguments = arguments.into_iter().chain([stage.to_owned(), "/proc/self/fd/3".into()]);
    run(&mke2fs, arguments, &image)
}

fn run(
    mke2fs: &Path,
    arguments: impl Iterator<Item = PathBuf>,
    image: &OwnedFd,
) -> Result<OwnedFd, Error> {
    let (mut reader, writer) = io::pipe().step("make a pipe")?;
    let writer = OwnedFd::from(writer);
    let descriptors = || -> io::Result<Vec<OwnedFd>> {
        let null = File::open("/dev/null")?;
        Ok(vec![null.into(), writer.try_clone()?, writer, image.try_clone()?])
    };
    let process = Program::new(mke2fs, arguments)
        .and_then(|program| Ok(program.descriptors(descriptors()?)))
        .and_then(|program| program.dies_with_parent().spawn())
        .step("start mke2fs")?;
    let mut said = String::new();
    reader.read_to_string(&mut said).step("listen to mke2fs")?;
    let status = process.wait().step("wait for mke2fs")?;
    match status {
        nix::sys::wait::WaitStatus::Exited(_, 0) => {
            Ok(image.as_fd().try_clone_to_owned().step("keep the image")?)
        }
        _ => Err(Error::Image(format!("mke2fs could not make the disk image: {}", said.trim()))),
    }
}

/// What has to fit.
#[derive(Default)]
struct Contents {
    bytes: u64,
    entries: u64,
}

impl Contents {
    fn of(directory: &Path) -> io::Result<Self> {
        let mut all = Self::default();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            all.entries += 1;
            all.bytes += metadata.len().next_multiple_of(4096);
            if metadata.is_dir() {
                let below = Self::of(&entry.path())?;
                all.entries += below.entries;
                all.bytes += below.bytes;
            }
        }
        Ok(all)
    }
}
