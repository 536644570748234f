use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

use nix::sys::signal::kill;
use nix::unistd::getppid;

use super::*;
use crate::isolate::in_child::{in_child, skipped};

/// The kernel's Landlock if it has at least this version; says so where it has not.
fn abi(least: Abi) -> Option<Abi> {
    let abi = Abi::of_kernel().filter(|&abi| abi >= least);
    if abi.is_none() {
        skipped(&format!("this kernel has no Landlock, or not version {}", least.0));
    }
    abi
}

fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn kind<T>(result: Result<T, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn bits_are_the_kernels() {
    assert_eq!(WRITING, 0x3ff2);
    assert_eq!((size_of::<Attributes>(), size_of::<PathBeneath>()), (24, 12));
}

#[test]
fn what_a_kernel_lacks_is_left_out() {
    let all = Landlock { writable: Some(vec![]), abstract_sockets: true, signals: true };
    let attributes = all.attributes(Abi(1));
    assert_eq!((attributes.files, attributes.scopes), (0, 0));
    assert_eq!(all.attributes(Abi(2)).files, WRITING);
    assert_eq!(all.attributes(Abi(7)).files, WRITING | TRUNCATE);
    assert_eq!(all.apply(None), Ok(()));
    assert_eq!(Landlock::default().apply(Some(Abi(6))), Ok(()));
}

#[test]
fn writes_go_only_where_they_may() {
    let Some(abi) = abi(Abi::TRUNCATING) else { return };
    let directory = tempfile::tempdir().unwrap();
    let [open, shut] = ["open", "shut"].map(|name| directory.path().join(name));
    for tree in [&open, &shut] {
        fs::create_dir_all(tree.join("below")).unwrap();
        fs::write(tree.join("file"), "text").unwrap();
    }
    let wall = Landlock { writable: Some(vec![c(&open)]), ..Landlock::default() };
    let seen = in_child(|| {
        wall.apply(Some(abi))?;
        let denied = Some(ErrorKind::PermissionDenied);
        let moved = fs::rename(open.join("file"), open.join("below/file"));
        assert_eq!(kind(moved), None);
        assert_eq!(kind(fs::write(open.join("below/new"), "")), None);
        assert_eq!(kind(fs::remove_file(open.join("below/new"))), None);
        assert_eq!(kind(fs::read(shut.join("file"))), None);
        assert_eq!(kind(fs::write(shut.join("file"), "")), denied);
        assert_eq!(kind(fs::write(shut.join("new"), "")), denied);
        assert_eq!(kind(fs::create_dir(shut.join("new"))), denied);
        assert_eq!(kind(fs::remove_file(shut.join("file"))), denied);
        assert_eq!(kind(nix::unistd::truncate(&shut.join("file"), 0).map_err(Error::from)), denied);
        assert!(fs::rename(open.join("below/file"), shut.join("moved")).is_err());
        // Only opened: what the kernel's switches say stays as it is.
        for switch in
            ["/proc/sys/kernel/domainname", "/proc/sys/vm/drop_caches", "/sys/power/state"]
        {
            let opened = OpenOptions::new().write(true).open(switch);
            assert!(opened.is_err(), "{switch}");
        }
        Ok("done".into())
    });
    assert_eq!(seen, "done");
}

#[test]
fn a_tree_behind_a_symbolic_link_is_refused() {
    let Some(abi) = abi(Abi::MOVING) else { return };
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("/proc", &link).unwrap();
    for path in [link.clone(), link.join("sys")] {
        let wall = Landlock { writable: Some(vec![c(&path)]), ..Landlock::default() };
        assert_eq!(in_child(|| Ok(format!("{:?}", wall.apply(Some(abi))))), "Err(ELOOP)");
    }
}

#[test]
fn abstract_sockets_outside_are_out_of_reach() {
    let Some(abi) = abi(Abi::SCOPES) else { return };
    let name = format!("duplex-landlock-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let connect = |wall: Landlock| {
        in_child(|| {
            wall.apply(Some(abi))?;
            Ok(format!("{:?}", kind(UnixStream::connect_addr(&address))))
        })
    };
    assert_eq!(connect(Landlock::default()), "None");
    let wall = Landlock { abstract_sockets: true, ..Landlock::default() };
    assert_eq!(connect(wall), "Some(PermissionDenied)");
}

#[test]
fn processes_outside_get_no_signals() {
    let Some(abi) = abi(Abi::SCOPES) else { return };
    let signal = |wall: Landlock| {
        in_child(|| {
            wall.apply(Some(abi))?;
            // Signal 0 asks for leave only.
            Ok(format!("{:?}", kill(getppid(), None)))
        })
    };
    assert_eq!(signal(Landlock::default()), "Ok(())");
    assert_eq!(signal(Landlock { signals: true, ..Landlock::default() }), "Err(EPERM)");
}

#[test]
fn scopes_alone_leave_files_alone() {
    let Some(abi) = abi(Abi::SCOPES) else { return };
    let wall = Landlock { signals: true, ..Landlock::default() };
    let seen = in_child(|| {
        wall.apply(Some(abi))?;
        Ok(format!("{:?}", kind(File::create("/dev/null"))))
    });
    assert_eq!(seen, "None");
}
