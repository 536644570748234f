//! Who runs the command: names and numbers, from the image's passwd(5) and group(5).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use crate::session::guest::Identity;

/// Groups beyond this many can't be given to a process (NGROUPS_MAX in limits.h).
const MOST_GROUPS: usize = 65_536;

/// How long the image's files may be, in bytes: enough for ten thousand users.
const LONGEST: u64 = 1 << 20;

/// Who runs the command, and where they live.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) identity: Identity,
    pub(super) home: String,
}

/// Finds the user that was asked for in the files of the root that this process is in.
///
/// # Errors
/// In words, for the caller's eyes.
pub(super) fn find(wanted: Option<&str>) -> Result<User, String> {
    let mut user = resolve(wanted.unwrap_or("0"), &read("/etc/passwd")?, &read("/etc/group")?)?;
    // user_namespaces(7). A kernel without such namespaces has no such file.
    if read("/proc/self/setgroups")? == "deny\n" {
        user.identity.groups = None;
    }
    Ok(user)
}

/// What a file says; nothing where there is none, for numbers need no names. An image decides what lies
/// there: a FIFO is not waited for, and no memory is spent on more than a list of users.
fn read(path: &str) -> Result<String, String> {
    let failed = |reason: String| format!("cannot read the image's {path}: {reason}");
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        other => other.map_err(|error| failed(error.to_string()))?,
    };
    if !file.metadata().map_err(|error| failed(error.to_string()))?.is_file() {
        return Err(failed("it is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let length = file.take(LONGEST + 1).read_to_end(&mut bytes);
    let length = length.map_err(|error| failed(error.to_string()))?;
    if u64::try_from(length).is_ok_and(|length| length > LONGEST) {
        return Err(failed(format!("it is longer than {LONGEST} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn resolve(wanted: &str, passwd: &str, group: &str) -> Result<User, String> {
    let (user, wanted_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted, None),
    };
    let entry = fields(passwd).find(|fields| fields.first() == Some(&user)).or_else(|| {
        let uid = number(user)?;
        fields(passwd).find(|fields| fields.get(2).and_then(|f| number(f)) == Some(uid))
    });
    let of_entry = |index: usize| entry.as_ref().and_then(|fields| fields.get(index)).copied();
    let uid = of_entry(2).and_then(number).or_else(|| number(user)).ok_or_else(|| {
        format!("the image's /etc/passwd has no user {user}; give a number, or a name that it has")
    })?;
    let gid = match wanted_group {
        Some(name) => group_number(name, group)?,
        None => of_entry(3).and_then(number).unwrap_or(0),
    };
    // As initgroups(3) does, unless a group was given: then, as in docker, that alone.
    let mut groups = vec![gid];
    if let (None, Some(name)) = (wanted_group, of_entry(0)) {
        let member =
            |fields: &Vec<&str>| fields.get(3).is_some_and(|l| l.split(',').any(|m| m == name));
        groups.extend(fields(group).filter(member).filter_map(|fields| number(fields.get(2)?)));
        groups.sort_unstable();
        groups.dedup();
        groups.truncate(MOST_GROUPS);
    }
    let home = of_entry(5).filter(|home| !home.is_empty()).unwrap_or("/").to_owned();
    Ok(User { identity: Identity { uid, gid, groups: Some(groups) }, home })
}

fn group_number(name: &str, group: &str) -> Result<u32, String> {
    let entry = fields(group).find(|fields| fields.first() == Some(&name));
    let gid = entry.and_then(|fields| number(fields.get(2)?));
    gid.or_else(|| number(name)).ok_or_else(|| {
        format!("the image's /etc/group has no group {name}; give a number, or a name that it has")
    })
}

fn fields(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(':').collect())
}

/// A user's or group's number. The largest stands for "unchanged" in setuid(2)'s relatives.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann:/home/ann:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\naudio:x:29:ann,bob\nwheel:x:10:bob\n";

    fn found(wanted: &str) -> (u32, u32, Vec<u32>, String) {
        let User { identity: Identity { uid, gid, groups }, home } =
            resolve(wanted, PASSWD, GROUP).unwrap();
        (uid, gid, groups.unwrap(), home)
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(found("ann"), (1000, 100, vec![29, 100], "/home/ann".into()));
        assert_eq!(found("1000"), found("ann"));
        assert_eq!(found("0"), (0, 0, vec![0], "/root".into()));
        assert_eq!(found("ann:audio"), (1000, 29, vec![29], "/home/ann".into()));
        assert_eq!(found("7:8"), (7, 8, vec![8], "/".into()));
        assert_eq!(found("4242"), (4242, 0, vec![0], "/".into()));
    }

    #[test]
    fn what_is_not_there_is_named() {
        for wanted in ["eve", "", "-1", "4294967295", "+5"] {
            let error = resolve(wanted, PASSWD, GROUP).unwrap_err();
            assert!(error.contains(&format!("no user {wanted};")), "{error}");
        }
        assert!(resolve("ann:eve", PASSWD, GROUP).unwrap_err().contains("no group eve;"));
    }

    #[test]
    fn only_a_file_of_a_common_length_is_read() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
        assert_eq!(read(&at("none")), Ok(String::new()));
        nix::unistd::mkfifo(at("fifo").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&at("fifo")).unwrap_err().contains("fifo: it is no regular file"));
        assert!(read(&at(".")).unwrap_err().contains("no regular file"));
        assert!(read("/dev/zero").unwrap_err().contains("no regular file"));
        let file = File::create(at("file")).unwrap();
        file.set_len(LONGEST).unwrap();
        assert_eq!(read(&at("file")).unwrap().len(), 1 << 20);
        file.set_len(LONGEST + 1).unwrap();
        assert!(read(&at("file")).unwrap_err().contains("longer than 1048576 bytes"));
    }

    #[test]
    fn broken_files_break_nothing() {
        let passwd = "\n:\n::::\nann\nbob:x:many:1\n";
        assert!(resolve("ann", passwd, "\n").is_err());
        assert!(resolve("bob", passwd, "").is_err());
        assert_eq!(resolve("5", passwd, "::::").unwrap().identity.uid, 5);
    }
}
