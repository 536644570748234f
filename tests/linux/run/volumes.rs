//! Directories of the host in a guest.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use super::{command, complained, end_of, said, shell};
use crate::common::{soak, testbed, text};
use crate::guest::in_emulation;

/// A directory with a file in it.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("in"), "from the host\n").unwrap();
    directory
}

fn volume(host: &Path, rest: &str) -> String {
    format!("{}:{rest}", text(host))
}

#[test]
fn what_is_written_on_either_side_is_seen_on_the_other() {
    in_emulation(&"a volume", || {
        let (shared, further) = (directory(), directory());
        let volumes = [volume(shared.path(), "/a/data"), volume(further.path(), "/a/data/in/b:ro")];
        fs::remove_file(shared.path().join("in")).unwrap();
        fs::create_dir(shared.path().join("in")).unwrap();
        // A mebibyte by hash; and what belongs to another user.
        let script = "cd /a/data && cat in/b/in && dd if=/dev/urandom of=big bs=64k count=16 \
                      2>/dev/null && md5sum big && echo x >theirs && chown 1000:100 theirs && \
                      chmod 640 theirs && mkdir made && echo y >made/file && ln -s made link";
        let (output, status) = said(shell(&["-v", &volumes[0], "-v", &volumes[1]], script));
        assert_eq!(status, Some(0), "{output}");
        let (first, rest) = output.split_once('\n').unwrap();
        assert_eq!(first, "from the host");
        let big = shared.path().join("big");
        let ours = crate::common::process::output(std::process::Command::new("md5sum").arg(&big));
        let ours = String::from_utf8(ours.stdout).unwrap();
        assert_eq!(rest.split(' ').next(), ours.split(' ').next());
        assert_eq!(fs::metadata(&big).unwrap().len(), 1 << 20);
        assert_eq!(fs::read_to_string(shared.path().join("made/file")).unwrap(), "y\n");
        assert_eq!(fs::read_link(shared.path().join("link")).unwrap(), Path::new("made"));
        // Root here is root there, and can give files away; an ordinary user's guest cannot.
        if nix::unistd::geteuid().is_root() {
            let theirs = fs::metadata(shared.path().join("theirs")).unwrap();
            assert_eq!((theirs.uid(), theirs.gid(), theirs.mode() & 0o777), (1000, 100, 0o640));
        }
    });
}

#[test]
fn a_guest_gets_no_further_than_its_volumes() {
    in_emulation(&"a read-only volume, and ways out of one", || {
        let (around, kept) = (directory(), directory());
        let shared = around.path().join("shared");
        fs::create_dir(&shared).unwrap();
        symlink("../in", shared.join("up")).unwrap();
        symlink(around.path().join("in"), shared.join("away")).unwrap();
        // Links are followed in the guest, where there is nothing of that name.
        let script = "cat /data/up; cat /data/away; cat /data/../in; ls -A /data/..; ls -A /data; \
                      mknod /data/null c 1 3; \
                      cat /kept/in; mount -o remount,rw /kept; grep ' /kept ' /proc/mounts; \
                      echo x >/kept/new; echo x >/kept/in; rm /kept/in; chmod 777 /kept/in; \
                      mount -t virtiofs volume1 /root; echo x >/root/new; exit 5";
        let volumes = [volume(&shared, "/data"), volume(kept.path(), "/kept:ro")];
        let output = end_of(shell(&["-v", &volumes[0], "-v", &volumes[1]], script));
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{err}");
        let (before, after) = out.split_once("from the host\n").unwrap();
        assert!(before.contains("\nup\n"), "{out}");
        assert!(err.contains("'/data/away': No such file"), "{err}");
        assert!(err.contains("mknod: /data/null: Operation not permitted"), "{err}");
        assert!(fs::symlink_metadata(shared.join("null")).is_err());
        // The guest believes that it may write, and may not.
        assert!(after.contains(" /kept virtiofs rw") && !after.contains("from the host"), "{out}");
        assert!(err.matches("Read-only file system").count() >= 5, "{err}");
        assert_eq!(fs::read_dir(kept.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(kept.path().join("in")).unwrap(), "from the host\n");
    });
}

#[test]
fn what_cannot_be_a_volume_is_refused() {
    let here = directory();
    let refused = |volumes: &[&str], reason: &str| {
        let options: Vec<&str> = volumes.iter().flat_map(|volume| ["-v", volume]).collect();
        let (text, status) = complained(command(&options, &["true"]));
        assert!(text.contains(reason), "{volumes:?}: {text}");
        assert_eq!(status, Some(125), "{volumes:?}");
    };
    refused(&["/nonesuch:/data"], "-v /nonesuch: No such file or directory");
    refused(&[&volume(&here.path().join("in"), "/data")], "it is no directory");
    refused(&[&volume(here.path(), "data")], "give an absolute path");
    refused(&[&volume(here.path(), "/data:x")], "no option of a volume");
    refused(
        &[&volume(here.path(), "/data"), &volume(here.path(), "/data/")],
        "two are to be at /data",
    );
    let (text, _) = complained(command(&["-v", "/tmp:/data", "--count-instructions"], &["true"]));
    assert!(text.contains("cannot be used with"), "{text}");
}

/// Runs a guest with a volume in the testbed, and does what WHAT says once the guest has used it. Each
/// command in the testbed sees its own processes only.
const IN_TESTBED: &str = r#"
at=/dev/shm/$WHAT; rm -rf $at; mkdir $at; export XDG_RUNTIME_DIR=$at
mkfifo $at/in; exec 3<>$at/in
servers() {
    for p in /proc/[0-9]*; do
        case $(readlink $p/exe) in *virtiofsd) echo ${p#/proc/};; esac
    done
}
until_gone() { while [ -n "$(servers)" ]; do sleep 0.1; done; }
"$DUPLEX" run --testbed never -i --name guest -v "$VOLUME" "$IMAGE" \
    sh -c "cat /data/in; read go; $THEN; echo after; exit 6" <$at/in >$at/out 2>$at/said &
until grep -q host $at/out; do sleep 0.1; done
if [ $WHAT = killed-run ]; then
    kill -9 $!
    until_gone
    "$DUPLEX" ps | wc -l
    ls $at/duplex
else
    kill -9 $(servers)
    until grep -q 'its server has ended' $at/said; do sleep 0.1; done
    echo >&3
    if [ $WHAT = hang ]; then "$DUPLEX" stop --time 1 guest; fi
fi
wait $!
echo "status $?"
cat $at/out $at/said >&2
servers
rm -r $at
"#;

/// What that prints.
fn in_testbed(what: &str, then: &str) -> String {
    let shared = directory();
    let mut run = testbed::in_testbed(IN_TESTBED);
    run.env("WHAT", what).env("THEN", then).env("DUPLEX", crate::common::DUPLEX);
    run.env("VOLUME", volume(shared.path(), "/data")).env("IMAGE", crate::common::image::busybox());
    let output = crate::common::process::output(&mut run);
    crate::common::say(&String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_server_that_is_killed_is_missed_in_the_guest_only() {
    in_emulation(&"a killed file server", || {
        // A command that waits for it can be ended; one that does not has nothing to wait for.
        assert_eq!(in_testbed("hang", "cat /data/nonesuch"), "guest\nstatus 137\n");
        if soak() {
            assert_eq!(in_testbed("unneeded", "true"), "status 6\n");
        }
    });
}

#[test]
fn nothing_is_left_when_duplex_is_killed() {
    in_emulation(&"a killed run with a volume", || {
        // The table's head; and the lock that all share.
        assert_eq!(in_testbed("killed-run", "true"), "1\nlock\nstatus 137\n");
    });
}
