//! What fuzzing has found to reach something new: the archives of fuzz/kept.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

/// Does each input of a target once more.
pub(crate) fn replay(target: &str, each: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/kept");
    let archive = File::open(directory.join(format!("{target}.tar.gz"))).unwrap();
    let mut replayed = 0;
    for entry in tar::Archive::new(GzDecoder::new(archive)).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            each(&bytes);
            replayed += 1;
        }
    }
    assert!(replayed > 100, "{target}: {replayed} inputs");
}
