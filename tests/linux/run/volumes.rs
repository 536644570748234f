//! Directories of the host in a guest.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use nix::sys::signal::Signal;

use super::{command, complained, end_of, said, shell};
use crate::common::process::Process;
use crate::common::{testbed, text};
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
fn a_read_only_volume_is_the_hosts_to_keep() {
    in_emulation(&"a read-only volume", || {
        let shared = directory();
        let script = "cat /data/in; mount -o remount,rw /data; grep ' /data ' /proc/mounts; \
                      echo x >/data/new; echo x >/data/in; rm /data/in; touch -d 2000-01-01 /data/in; \
                      mount -t virtiofs volume0 /root; echo x >/root/new; exit 5";
        let run = shell(&["-v", &volume(shared.path(), "/data:ro")], script);
        let output = end_of(run);
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{err}");
        // The guest believes that it may, and may not.
        assert!(out.starts_with("from the host\n") && out.contains(" /data virtiofs rw"), "{out}");
        assert!(err.matches("Read-only file system").count() >= 4, "{err}");
        let names: Vec<_> = fs::read_dir(shared.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(fs::read_to_string(shared.path().join("in")).unwrap(), "from the host\n");
    });
}

#[test]
fn nothing_leads_out_of_a_volume() {
    in_emulation(&"ways out of a volume", || {
        let around = directory();
        let shared = around.path().join("shared");
        fs::create_dir(&shared).unwrap();
        symlink("../in", shared.join("up")).unwrap();
        symlink(around.path().join("in"), shared.join("away")).unwrap();
        // Links are followed in the guest, where there is nothing of that name.
        let script = "cat /data/up; cat /data/away; cat /data/../in; ls -A /data/..; \
                      ls -A /data; mknod /data/null c 1 3; exit 5";
        let output = end_of(shell(&["-v", &volume(&shared, "/data")], script));
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{err}");
        assert!(!out.contains("from the host") && out.contains("up"), "{out}");
        assert!(err.contains("mknod: /data/null: Operation not permitted"), "{err}");
        assert!(fs::symlink_metadata(shared.join("null")).is_err());
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
        "two volumes are to be at /data",
    );
    refused(&["/tmp:/data", "--count-instructions"], "cannot be used with");
}

/// Runs a guest with a volume in the testbed, kills the volume's server there when the guest has used
/// it, waits until duplex says so, and has the guest go on. Then, whatever comes of that, nothing of it
/// may be left. Each command in the testbed sees its own processes only.
const KILLED_SERVER: &str = r#"
at=/dev/shm/killed-$THEN; mkdir -p $at; export XDG_RUNTIME_DIR=$at
mkfifo $at/in; exec 3<>$at/in
servers() {
    for p in /proc/[0-9]*; do
        case $(readlink $p/exe) in *virtiofsd) echo ${p#/proc/};; esac
    done
}
"$DUPLEX" run --testbed never -i --name guest -v "$VOLUME" "$IMAGE" \
    sh -c "cat /data/in; read go; $THEN /data/nonesuch; echo after; exit 6" \
    <$at/in >$at/out 2>$at/said &
until grep -q host $at/out; do sleep 0.1; done
kill -9 $(servers)
until grep -q 'its server has ended' $at/said; do sleep 0.1; done
echo >&3
if [ $THEN = cat ]; then "$DUPLEX" stop --time 1 guest >/dev/null; fi
wait $!
echo "status $?"
cat $at/out $at/said >&2
servers
rm -r $at
"#;

#[test]
fn a_server_that_is_killed_is_missed_in_the_guest_only() {
    in_emulation(&"a killed file server", || {
        let shared = directory();
        // One that does not look at the volume any more ends as if nothing had been, and one that waits
        // for it can be ended.
        for (then, status) in [("true", 6), ("cat", 137)] {
            let mut run = testbed::in_testbed(KILLED_SERVER);
            run.env("THEN", then).env("DUPLEX", crate::common::DUPLEX);
            run.env("VOLUME", volume(shared.path(), "/data"));
            run.env("IMAGE", super::image::busybox());
            let output = crate::common::process::output(&mut run);
            let err = String::from_utf8_lossy(&output.stderr);
            let out = String::from_utf8_lossy(&output.stdout);
            assert_eq!(out, format!("status {status}\n"), "{err}");
        }
    });
}

#[test]
fn nothing_is_left_when_duplex_is_killed() {
    in_emulation(&"a killed run with a volume", || {
        let shared = directory();
        let volume = volume(shared.path(), "/data");
        let mut process =
            Process::start(&mut shell(&["-v", &volume], "echo ready; exec sleep 1000"));
        process.stdout.wait_for("ready\n");
        process.signal(Signal::SIGKILL);
        process.end();
        // The directory is nobody's any more: it can be a volume again, and what is written arrives.
        let (out, status) = said(shell(&["-v", &volume], "echo again >/data/out; cat /data/in"));
        assert_eq!((out.as_str(), status), ("from the host\n", Some(0)));
        assert_eq!(fs::read_to_string(shared.path().join("out")).unwrap(), "again\n");
    });
}
