//! Networks as real kernels drive them, in a network namespace of the testbed: `ping`, Debian's iperf3,
//! and transfers and connections between `examples/net-peer.rs` on both sides.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use duplex::guest_images::Initramfs;

use crate::common::process::{PATIENCE, Process};
use crate::common::testbed::{in_testbed, shared};
use crate::common::{find_program, say, soak, text};
use crate::guest::{Booted, in_emulation, patience};
use crate::kernels::Kernel;

/// The build that made the testbed, where any user can execute it.
const DUPLEX: &str = "/run/duplex/bin/duplex";
const HOST: &str = "10.9.8.1";

/// How many bytes are transferred, and how often the guest knocks.
fn amounts() -> (usize, u32) {
    if soak() { (1 << 30, 10_000) } else { (FEW, 200) }
}

const FEW: usize = 8 << 20;

/// Where cargo has put the example, beside the tests.
fn peer() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples/net-peer")
}

/// The demo guest's initramfs with the peer, a program to run, and those of the host that it needs:
/// archives can follow each other.
fn initramfs(kernel: Kernel, script: &str, programs: &[&str], directory: &Path) -> PathBuf {
    let mut added = Initramfs::default();
    added.file("bin/program", 0o755, script.as_bytes()).unwrap();
    added.file("bin/net-peer", 0o755, &fs::read(peer()).unwrap()).unwrap();
    for directory in ["lib64", "lib/x86_64-linux-gnu", "usr", "usr/bin"] {
        added.directory(directory).unwrap();
    }
    let mut files: Vec<String> = programs.iter().map(|path| (*path).to_owned()).collect();
    for program in programs {
        let ldd = Command::new("ldd").arg(program).output().unwrap();
        let libraries = String::from_utf8(ldd.stdout).unwrap();
        files.extend(libraries.split_whitespace().filter(|w| w.starts_with('/')).map(Into::into));
    }
    files.sort();
    files.dedup();
    for file in files {
        added.file(file.trim_start_matches('/'), 0o755, &fs::read(&file).unwrap()).unwrap();
    }
    let mut archive = fs::read(kernel.initramfs()).unwrap();
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(added.finish().unwrap());
    let path = directory.join("network.cpio");
    fs::write(&path, archive).unwrap();
    path
}

/// Boots a guest whose program is `script`, after `set_up` in a namespace that is its own.
/// `DUPLEX_BOOT` in `run` is the command.
struct Scene<'a> {
    kernel: Kernel,
    script: String,
    programs: &'a [&'a str],
    words: &'a str,
    net: &'a str,
    set_up: &'a str,
    run: &'a str,
}

impl Scene<'_> {
    fn play(&self) -> Booted {
        shared();
        let directory = tempfile::tempdir().unwrap();
        let initrd = initramfs(self.kernel, &self.script, self.programs, directory.path());
        let kernel = self.kernel.file(directory.path());
        // Where any user can read them.
        let files = format!(
            "cd /tmp; install -m 644 {} kernel; install -m 644 {} initrd; install -m 755 {} net-peer",
            text(&kernel),
            text(&initrd),
            text(&peer())
        );
        let boot = format!(
            "{DUPLEX} boot --testbed never --kernel kernel --initrd initrd --memory 256M --net {} \
             --cmdline \"console=ttyS0 quiet panic=-1 duplex.then=program {}\" </dev/null",
            self.net, self.words
        );
        let run = self.run.replace("DUPLEX_BOOT", &boot);
        let script = format!(
            "exec unshare -n sh -ec 'export DUPLEX_LOG=info; {files}; ip link set lo up; {}; {run}'",
            self.set_up
        );
        let mut command = in_testbed(&script);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = Process::start(&mut command).output_within(patience(PATIENCE));
        let booted = Booted(output.unwrap_or_else(|late| panic!("{late}")));
        booted.said("the program has ended with 0");
        assert_eq!(booted.0.status.code(), Some(0), "{}", booted.stderr());
        booted
    }
}

/// How many packets, bytes and large packets the interface has counted, this way.
fn counted(booted: &Booted, way: &str) -> [u64; 3] {
    let stderr = booted.stderr();
    let line = stderr.lines().find(|line| line.contains(" packets, ")).expect("counters");
    let numbers = line.split(way).nth(1).expect("both ways").split(' ');
    let mut numbers = numbers.filter_map(|word| word.parse().ok());
    [(); 3].map(|()| numbers.next().expect("numbers"))
}

/// The hash that both ends have said.
fn transferred(booted: &Booted, guest: &str, host: &str, bytes: usize) {
    let output = String::from_utf8_lossy(&booted.0.stdout).into_owned();
    let host = format!("duplex host: {host} ");
    let line = output.lines().find_map(|line| line.trim_end().strip_prefix(&host));
    let line = line.unwrap_or_else(|| panic!("no '{host}' in:\n{output}"));
    assert_eq!(booted.said(&format!("{guest} ")), line);
    assert!(line.starts_with(&format!("{bytes} bytes ")), "{line}");
}

/// What the guest does with its network, on which it gives the host `bytes`.
fn script(more: &str, bytes: usize) -> String {
    let (_, count) = amounts();
    format!(
        "#!/bin/busybox sh\n\
         say() {{ while read -r line; do echo \"duplex guest: $line\"; done; }}\n\
         set -e\n\
         {more}\
         net-peer take {HOST} | say\n\
         net-peer give {HOST} {bytes} | say\n\
         net-peer knock {HOST} {count} | say\n"
    )
}

fn tap(mtu: u16) -> String {
    format!(
        "ip tuntap add tap0 mode tap; ip link set tap0 mtu {mtu}; \
         ip addr add {HOST}/24 dev tap0; ip link set tap0 up"
    )
}

/// Transfers over a tap; returns what was counted of what the guest received and sent.
fn over_tap(kernel: Kernel, net: &str, mtu: u16) -> [[u64; 3]; 2] {
    let largest = mtu - 28;
    let (bytes, _) = amounts();
    let pings = format!("ping -c 5 -q {HOST} | say\nping -c 3 -q -s {largest} {HOST} | say\n");
    let booted = Scene {
        kernel,
        script: script(&pings, bytes),
        programs: &[],
        words: "duplex.ip=10.9.8.2/24",
        net,
        set_up: &tap(mtu),
        run: &format!("./net-peer serve {HOST} {bytes} DUPLEX_BOOT"),
    }
    .play();
    let eth0 = booted.said("eth0 has ");
    assert!(eth0.contains(&format!(" mtu {mtu}, address 10.9.8.2/24")), "{eth0}");
    for line in ["5 packets transmitted, 5 packets", "3 packets transmitted, 3 packets"] {
        booted.said(line);
    }
    transferred(&booted, "took", "gave", bytes);
    transferred(&booted, "gave", "took", bytes);
    booted.said("left nothing behind");
    [counted(&booted, "received"), counted(&booted, "sent")]
}

#[test]
fn transfers_arrive_whatever_is_offloaded() {
    for (kernel, offload, large_in, large_out) in [
        (Kernel::TunedElf, "on", true, true),
        (Kernel::TunedElf, "off", false, false),
        (Kernel::Debian61Elf, "rx", true, false),
        (Kernel::Debian612Elf, "tx", false, true),
    ] {
        in_emulation(&(kernel, offload), || {
            let [received, sent] = over_tap(kernel, &format!("tap=tap0,offload={offload}"), 1500);
            assert_eq!((received[2] > 0, sent[2] > 0), (large_in, large_out), "{offload}");
        });
    }
}

#[test]
fn large_frames_pass_both_ways() {
    in_emulation(&"MTU 9000", || {
        for [packets, bytes, large] in over_tap(Kernel::TunedElf, "tap=tap0,offload=off", 9000) {
            assert!(large == 0 && bytes > packets * 1514, "{packets} packets of {bytes} bytes");
        }
    });
}

#[test]
fn iperf3_measures_both_ways() {
    let iperf3 = "/usr/bin/iperf3";
    if !find_program("iperf3") {
        say("SKIPPED: iperf3 is not installed (make packages)");
        return;
    }
    in_emulation(&"iperf3", || {
        let booted = Scene {
            kernel: Kernel::TunedElf,
            script: format!(
                "#!/bin/busybox sh\nset -e\n\
                 for way in '' -R; do\n\
                 iperf3 -c {HOST} -n 16M $way >/tmp/said || cat /tmp/said\n\
                 echo \"duplex guest: iperf3$way $(grep receiver /tmp/said)\"\n\
                 done\n"
            ),
            programs: &[iperf3],
            words: "duplex.ip=10.9.8.2/24",
            net: "tap=tap0",
            set_up: &tap(1500),
            run: "mkfifo said; exec 3<>said; iperf3 -s --forceflush >said & \
                  while read -r line; do case $line in *listening*) break;; esac; done <&3; \
                  DUPLEX_BOOT",
        }
        .play();
        for way in ["iperf3 ", "iperf3-R "] {
            assert!(booted.said(way).contains("bits/sec"), "{}", booted.said(way));
        }
    });
}

#[test]
fn an_ordinary_user_reaches_the_hosts_loopback() {
    if !find_program("passt") {
        say("SKIPPED: passt is not installed (make packages)");
        return;
    }
    let kernels = [Kernel::TunedElf, Kernel::Debian61Elf];
    for kernel in kernels.into_iter().take(if soak() { 2 } else { 1 }) {
        in_emulation(&(kernel, "user"), || {
            let booted = Scene {
                kernel,
                // Debian 12's passt resets a connection on which only the guest speaks after 16 s.
                script: script("", FEW),
                programs: &[],
                words: "duplex.ip=dhcp",
                net: "user",
                set_up: "chmod 666 /dev/kvm; ip link add up0 type veth peer name up1; \
                         ip addr add 10.9.8.2/24 dev up0; ip link set up0 up; ip link set up1 up; \
                         ip route add default via 10.9.8.1",
                run: &format!(
                    "./net-peer serve 127.0.0.1 {} setpriv --reuid 1000 --regid 1000 \
                     --clear-groups DUPLEX_BOOT",
                    amounts().0
                ),
            }
            .play();
            let eth0 = booted.said("eth0 has ");
            assert!(eth0.contains("address 10.9.8.2/"), "{eth0}");
            transferred(&booted, "took", "gave", amounts().0);
            transferred(&booted, "gave", "took", FEW);
            booted.said("left nothing behind");
        });
    }
}
