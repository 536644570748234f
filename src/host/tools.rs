//! Programs that duplex uses, and those that it is measured against.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::check::Check;
use super::programs::installed_program;

/// A program to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// What it is called.
    pub name: &'static str,
    /// Its program: a name to look for in PATH, or paths.
    programs: &'static [&'static str],
    /// The arguments that make it tell its version and nothing else.
    version: &'static [&'static str],
    /// What is not possible without it.
    pub purpose: &'static str,
    /// How to get it.
    remedy: &'static str,
}

/// A program that doesn't answer within this time has no version.
const PATIENCE: Duration = Duration::from_secs(3);

const LONG: &[&str] = &["--version"];

/// All of them: first what the testbed needs, then what duplex is measured with and against.
const TOOLS: [Tool; 18] = [
    tool("QEMU", &["qemu-system-x86_64"], LONG, "the testbed", "apt-get install qemu-system-x86"),
    tool(
        "virtiofsd",
        &["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"],
        LONG,
        "volumes, and a testbed that stays",
        "apt-get install virtiofsd (Debian 13), qemu-system-x86 (Debian 12)",
    ),
    tool(
        "mke2fs",
        &["mke2fs", "/sbin/mke2fs"],
        &["-V"],
        "disk images",
        "apt-get install e2fsprogs",
    ),
    tool("Firecracker", &["firecracker"], LONG, "comparison", RELEASES_FIRECRACKER),
    tool("Cloud Hypervisor", &["cloud-hypervisor"], LONG, "comparison", RELEASES_CLOUD_HYPERVISOR),
    tool("crun", &["crun"], LONG, "comparison", "apt-get install crun"),
    tool("runc", &["runc"], LONG, "comparison", "apt-get install runc"),
    tool("podman", &["podman"], LONG, "comparison", "apt-get install podman"),
    tool("docker", &["docker"], LONG, "comparison", "apt-get install docker.io"),
    tool("containerd (ctr)", &["ctr"], LONG, "comparison", "apt-get install containerd"),
    tool("bubblewrap", &["bwrap"], LONG, "comparison", "apt-get install bubblewrap"),
    tool("gVisor", &["runsc"], LONG, "comparison", "https://gvisor.dev/docs/user_guide/install"),
    tool(
        "nftables",
        &["nft", "/usr/sbin/nft"],
        LONG,
        "duplex network, --net bridge",
        "apt-get install nftables",
    ),
    tool("passt", &["passt"], LONG, "--net user", "apt-get install passt"),
    tool("fio", &["fio"], LONG, "measuring disks", "apt-get install fio"),
    tool("iperf3", &["iperf3"], LONG, "measuring networks", "apt-get install iperf3"),
    tool("perf", &["perf"], LONG, "profiles", "apt-get install linux-perf"),
    tool("strace", &["strace"], &["-V"], "system call counts", "apt-get install strace"),
];

const RELEASES_FIRECRACKER: &str = "https://github.com/firecracker-microvm/firecracker/releases";
const RELEASES_CLOUD_HYPERVISOR: &str =
    "https://github.com/cloud-hypervisor/cloud-hypervisor/releases";

const fn tool(
    name: &'static str,
    programs: &'static [&'static str],
    version: &'static [&'static str],
    purpose: &'static str,
    remedy: &'static str,
) -> Tool {
    Tool { name, programs, version, purpose, remedy }
}

/// Looks for all programs, at once: some take their time to tell a version.
pub fn tools() -> Vec<Check> {
    let threads = TOOLS.map(|tool| thread::spawn(move || tool.check()));
    threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
}

impl Tool {
    fn check(&self) -> Check {
        let name = format!("{} (for {})", self.name, self.purpose);
        match self.find() {
            None => Check::missing(name, "not installed", self.remedy),
            Some(path) => match version_of(&path, self.version) {
                Some(version) => Check::ok(name, version),
                None => Check::limited(
                    name,
                    format!("{} tells no version", path.display()),
                    self.remedy,
                ),
            },
        }
    }

    fn find(&self) -> Option<PathBuf> {
        self.programs.iter().find_map(|program| installed_program(program))
    }
}

/// The line in which a program tells its version.
fn version_of(path: &Path, arguments: &[&str]) -> Option<String> {
    let (reader, writer) = std::io::pipe().ok()?;
    let mut child = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().ok()?)
        .stderr(writer)
        .spawn()
        .ok()?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        // Far more than a version takes; a program that talks without end is cut off.
        let _ = reader.take(16 << 10).read_to_end(&mut text);
        // Nobody listens any more when this took too long.
        let _ = sender.send(text);
    });
    let text = receiver.recv_timeout(PATIENCE).ok();
    // It has ended or is not worth waiting for.
    let _ = child.kill();
    let _ = child.wait();
    version_line(&String::from_utf8_lossy(&text?))
}

/// The first line that speaks of a version or has a number in it, without what does not belong on a
/// terminal.
fn version_line(text: &str) -> Option<String> {
    let tells =
        |line: &&str| line.contains("version") || line.contains(|c: char| c.is_ascii_digit());
    let line = text.lines().find(tells)?;
    Some(line.trim().chars().filter(|c| !c.is_control()).take(70).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_line_with_the_version() {
        let text = "Some tool\n\x1b[1mversion 1.2.3\n";
        assert_eq!(version_line(text).unwrap(), "[1mversion 1.2.3");
        assert_eq!(version_line("no number\n"), None);
    }

    #[test]
    fn a_program_that_hangs_has_no_version() {
        assert_eq!(version_of(Path::new("/bin/sleep"), &["600"]), None);
        assert!(version_of(Path::new("/bin/sh"), &["-c", "echo 9; exec sleep 0"]).is_some());
    }
}
