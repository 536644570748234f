//! A disk image of what one command needs, for hosts where the file system can't be shown to the
//! testbed as it is: without virtiofsd, or without the namespaces that keep it read-only.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;

use super::closure::files_to_run;
use super::error::Error;
use super::files::NamedFile;
use super::model::Session;
use super::protocol::{NAMED_IN_IMAGE, PROGRAM};
use super::replica::Replica;
use super::scratch::nameless_file;
use crate::failure::Step;
use crate::host::find_program;
use crate::image::ext4;

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
    let image = File::from(nameless_file(0).step("make the image's file")?);
    ext4::make(stage, &image).map_err(|error| Error::Image(error.to_string()))?;
    Ok(image.into())
}
