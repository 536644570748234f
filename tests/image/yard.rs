//! A directory with a store, a source, and something that must stay as it is.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use duplex::image::Store;
use duplex::image::import::{ImportError, Imported, Limits, Request};

/// What must stay as it is, with everything around it.
pub(crate) struct Yard {
    directory: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Yard {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let canary = directory.path().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("secret"), "untouched").unwrap();
        let store = Store::open_at(directory.path().join("store")).unwrap();
        Self { directory, store }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The directory that hostile archives try to reach.
    pub(crate) fn canary(&self) -> String {
        self.path().join("canary").to_str().unwrap().to_owned()
    }

    /// A source with these bytes.
    pub(crate) fn source(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path().join("source");
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn request(&self, source: &Path) -> Request {
        Request {
            source: source.to_owned(),
            name: Some("image".parse().unwrap()),
            reference: None,
            replace: false,
            absolute_names: false,
            limits: Limits::default(),
        }
    }

    pub(crate) fn import(&self, source: &Path) -> Result<Imported, ImportError> {
        self.store.import(&self.request(source))
    }

    /// The root of an honest image.
    pub(crate) fn root(&self, bytes: &[u8]) -> PathBuf {
        self.import(&self.source(bytes)).unwrap().image.root
    }

    /// The root of an image that is there.
    pub(crate) fn root_of(&self, name: &str) -> PathBuf {
        self.store.find(&name.parse().unwrap()).unwrap().unwrap().root
    }

    /// Imports what has to be refused, for this reason; nothing else may be different afterwards.
    pub(crate) fn refuses(&self, what: &str, request: &Request, reason: &str) {
        let before = self.snapshot();
        let error = match self.store.import(request) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{what}: it was imported"),
        };
        assert!(error.contains(reason), "{what}: refused for another reason: {error}");
        assert!(!error.contains(char::is_control), "{what}: {error:?}");
        assert_eq!(self.snapshot(), before, "{what}: something was touched");
        assert!(self.store.list().unwrap().is_empty(), "{what}");
        let staging = self.store.path().join(".staging");
        assert!(fs::read_dir(staging).is_ok_and(|mut entries| entries.next().is_none()), "{what}");
    }

    /// The same for a file with these bytes.
    pub(crate) fn refuses_bytes(&self, what: &str, bytes: &[u8], reason: &str) {
        self.refuses(what, &self.request(&self.source(bytes)), reason);
    }

    /// All that is outside the store, with its times.
    fn snapshot(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut left = vec![self.path().to_path_buf()];
        while let Some(path) = left.pop() {
            let metadata = path.symlink_metadata().unwrap();
            let is_own = path == self.path();
            // The store comes into being here.
            let changed = if is_own { 0 } else { metadata.ctime_nsec() + metadata.ctime() };
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            let (mode, links) = (metadata.mode(), if is_own { 0 } else { metadata.nlink() });
            all.push(format!("{} {mode:o} {links} {changed} {content:?}", path.display()));
            if metadata.is_dir() && path != self.store.path() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        all.retain(|line| !line.starts_with(self.store.path().to_str().unwrap()));
        all.sort();
        all
    }
}
