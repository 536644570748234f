//! The emulated machine: QEMU's command line.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid};

use crate::isolate::{Privileges, Process, Program, is_master_of_all_files};
use crate::testbed::model::{Clock, Machine};
use crate::testbed::protocol::{
    DISK_ROOT, FORGET, NAMED_TAG, NOTICE_PORT, ROOT_TAG, SIGNS_OF_LIFE, session_port,
};

/// What the machine's disk for I/O-limit tests has as its serial number.
const SCRATCH_SERIAL: &str = "scratch";

/// The machine's kernel command line. The machine is there for tests on trusted hosts, so it is
/// spared the mitigations' cost; its TSC is the emulator's and needs no watching.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 mitigations=off tsc=reliable quiet loglevel=4";

/// A CPU more than was asked for, on which nothing runs but the kernel's own work: no virtual machine
/// may be entered on the first CPU as long as others run. See "Known faults" in docs/testbed.md.
const SPARE_CPUS: u8 = 1;
const SPARED: &str = "isolcpus=0";

/// Everything that the machine is made of. The descriptors become QEMU's.
pub(super) struct Parts {
    pub(super) program: PathBuf,
    pub(super) machine: Machine,
    pub(super) kernel: OwnedFd,
    pub(super) initramfs: OwnedFd,
    /// A file for the scratch disk.
    pub(super) scratch: OwnedFd,
    /// Listening sockets for the notices and for each session, in this order.
    pub(super) ports: Vec<OwnedFd>,
    pub(super) root: Root,
}

/// Where the machine's root file system comes from.
pub(super) enum Root {
    /// From virtiofsd: connected sockets for the read-only tree and the named files, and whether
    /// the machine has to forget the tree between sessions.
    Shared { tree: OwnedFd, named: OwnedFd, forget: bool },
    /// From an ext4 image.
    Disk(OwnedFd),
}

impl Parts {
    /// Starts the machine.
    pub(super) fn start(self, null: OwnedFd, log: &OwnedFd) -> io::Result<Process> {
        let program = self.program.clone();
        let mut line = CommandLine::new(vec![null, log.try_clone()?, log.try_clone()?]);
        self.describe(&mut line);
        Program::new(program, line.words)?
            .descriptors(line.descriptors)
            .privileges(of_the_emulator())
            .dies_with_parent()
            .spawn()
    }

    fn describe(self, line: &mut CommandLine) {
        let Machine { clock, cpus, memory_mib } = self.machine;
        line.words("-name duplex-testbed -nodefaults -no-user-config -display none -no-reboot");
        // The emulator needs none of these; whoever breaks out of it finds them gone.
        line.words("-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny");
        line.words("-machine q35,accel=tcg,memory-backend=memory");
        line.words("-cpu EPYC-Milan,+svm,+npt,-pcid,-invpcid");
        let cpus = if clock == Clock::Wall { cpus + SPARE_CPUS } else { cpus };
        line.words(&format!("-smp {cpus} -m {memory_mib}M"));
        // Shared, for virtiofsd reads and writes the machine's memory directly.
        let memory = format!("memory-backend-memfd,id=memory,size={memory_mib}M,share=on");
        line.words(&format!("-object {memory}"));
        if clock == Clock::Instructions {
            // One nanosecond an instruction, and no waiting for wall time when idle; the clock on
            // the wall must not leak in either.
            line.words("-icount shift=0,sleep=off -rtc clock=vm");
        }
        line.words("-chardev stdio,id=console,signal=off -serial chardev:console");
        line.words("-device virtio-serial-pci,max_ports=31");
        for (index, socket) in self.ports.into_iter().enumerate() {
            let name = match index.checked_sub(1) {
                None => NOTICE_PORT.to_owned(),
                Some(session) => session_port(session),
            };
            let fd = line.pass(socket);
            line.words(&format!("-chardev socket,id=port{index},fd={fd},server=on,wait=off"));
            line.words(&format!("-device virtserialport,chardev=port{index},name={name}"));
        }
        line.disk(self.scratch, SCRATCH_SERIAL, "discard=unmap");
        let mut command_line = COMMAND_LINE.to_owned();
        if clock == Clock::Wall {
            command_line = format!("{command_line} {SPARED} {SIGNS_OF_LIFE}");
        }
        match self.root {
            Root::Shared { tree, named, forget } => {
                line.file_system(tree, ROOT_TAG);
                line.file_system(named, NAMED_TAG);
                if forget {
                    command_line = format!("{command_line} {FORGET}");
                }
            }
            Root::Disk(image) => {
                line.disk(image, ROOT_TAG, "readonly=on");
                command_line = format!("{command_line} {DISK_ROOT}");
            }
        }
        let (kernel, initramfs) = (line.pass(self.kernel), line.pass(self.initramfs));
        line.words(&format!("-kernel /proc/self/fd/{kernel} -initrd /proc/self/fd/{initramfs}"));
        line.words("-append");
        // What follows the dashes is /init's: it becomes `duplex testbed agent`.
        line.words.push(format!("{command_line} -- testbed agent"));
    }
}

/// The emulator needs no right whatsoever: everything is opened for it. It is the one program here
/// that a hostile guest could take over.
fn of_the_emulator() -> Privileges {
    const NOBODY: u32 = 65534;
    if is_master_of_all_files() {
        Privileges::AsUser(Uid::from_raw(NOBODY), Gid::from_raw(NOBODY))
    } else {
        Privileges::NoCapabilities
    }
}

struct CommandLine {
    words: Vec<String>,
    descriptors: Vec<OwnedFd>,
}

impl CommandLine {
    fn new(descriptors: Vec<OwnedFd>) -> Self {
        Self { words: vec!["qemu-system-x86_64".into()], descriptors }
    }

    fn words(&mut self, text: &str) {
        self.words.extend(text.split_whitespace().map(String::from));
    }

    /// The number under which QEMU will have this descriptor.
    fn pass(&mut self, descriptor: OwnedFd) -> usize {
        self.descriptors.push(descriptor);
        self.descriptors.len() - 1
    }

    fn disk(&mut self, file: OwnedFd, serial: &str, options: &str) {
        let fd = self.pass(file);
        // Files without a name of their own, so nothing is lost with the host: no flushing.
        let path = format!("/proc/self/fd/{fd}");
        self.words(&format!(
            "-drive if=none,id={serial},file={path},format=raw,cache=unsafe,{options}"
        ));
        self.words(&format!("-device virtio-blk-pci,drive={serial},serial={serial}"));
    }

    fn file_system(&mut self, socket: OwnedFd, tag: &str) {
        let fd = self.pass(socket);
        self.words(&format!("-chardev socket,id={tag},fd={fd}"));
        self.words(&format!("-device vhost-user-fs-pci,chardev={tag},tag={tag},queue-size=1024"));
    }
}
