//! Guests on the tools image (fio, iperf3, e2fsprogs, busybox): each runs a shell script that a disk
//! holds. See `guest-images/rootfs/tools-init`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use duplex::guest_images::{Cache, tools_image, tuned_kernel};

use crate::common::process::Process;
use crate::common::{DUPLEX, testbed, text};
use crate::guest::{Booted, SILENCE, patience};

/// The first two disks are the image and the script, so a guest's own begin at /dev/vdc.
const CMDLINE: &str = "console=ttyS0 quiet panic=-1 root=/dev/vda ro duplex.script=/dev/vdb";

/// A guest that runs a script.
pub(crate) struct Tools {
    directory: tempfile::TempDir,
}

impl Tools {
    pub(crate) fn new(script: &str) -> Tools {
        let directory = tempfile::tempdir().unwrap();
        let tools = Tools { directory };
        let mut padded = script.as_bytes().to_vec();
        padded.resize(padded.len().next_multiple_of(512), b'\n');
        std::fs::write(tools.script(), padded).unwrap();
        tools
    }

    fn script(&self) -> PathBuf {
        self.directory.path().join("script")
    }

    /// The arguments of `duplex`, but for those of one boot.
    fn arguments(&self) -> Vec<String> {
        let cache = Cache::open().unwrap();
        let kernel = tuned_kernel(&cache).unwrap().elf;
        let image = tools_image(&cache).unwrap();
        let read_only = |path: PathBuf| format!("--disk={},ro", text(&path));
        let fixed = ["boot", "--kernel", text(&kernel), "--cmdline", CMDLINE, "--memory", "256M"];
        let mut arguments: Vec<String> = fixed.map(str::to_owned).into();
        arguments.extend([read_only(image), read_only(self.script()), "--rng".to_owned()]);
        arguments
    }

    /// Boots it with further options; its files are the host's.
    pub(crate) fn boot(&self, options: &[&str]) -> Booted {
        let mut command = testbed::duplex(testbed::shared());
        command.args(self.arguments()).args(options);
        finish(command)
    }

    /// Runs a shell script in the testbed, where `boot OPTION…` boots the guest, and `become_boot` is the
    /// same in the shell's place, for one that is to be killed.
    pub(crate) fn in_testbed(&self, script: &str) -> Booted {
        let quoted: Vec<String> =
            self.arguments().iter().map(|argument| format!("'{argument}'")).collect();
        let boot = format!("'{DUPLEX}' {} --testbed never \"$@\"", quoted.join(" "));
        let functions = format!("boot() {{ {boot}; }}\nbecome_boot() {{ exec {boot}; }}\n");
        finish(testbed::in_testbed(&(functions + script)))
    }
}

fn finish(mut command: Command) -> Booted {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = Process::start(&mut command).output_within(patience(SILENCE));
    Booted(output.unwrap_or_else(|late| panic!("{late}")))
}
