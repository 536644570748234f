//! A boot of the demo guest, and what it must say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::text;
use crate::kernels::{self, Kernel, Packing};
use crate::testbed_support;

/// How long a boot may take, with everything else that this machine does.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long one that is told to end may take to do so.
const GRACE: Duration = Duration::from_secs(10);

/// How the initrd is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initrd {
    Plain,
    Gzip,
    Zstd,
}

/// A guest to boot.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    kernel: Kernel,
    packing: Option<Packing>,
    initrd: Initrd,
    cpus: u32,
    seen_cpus: Option<u32>,
    mib: u32,
    words: Vec<String>,
    options: Vec<String>,
}

impl Boot {
    pub(crate) fn new(kernel: Kernel) -> Boot {
        let (packing, seen_cpus) = (None, None);
        let (words, options) = (Vec::new(), Vec::new());
        let initrd = Initrd::Plain;
        Boot { kernel, packing, initrd, cpus: 1, seen_cpus, mib: 256, words, options }
    }

    pub(crate) fn packed(self, packing: Packing) -> Boot {
        Boot { packing: Some(packing), ..self }
    }

    pub(crate) fn initrd(self, initrd: Initrd) -> Boot {
        Boot { initrd, ..self }
    }

    pub(crate) fn cpus(self, cpus: u32) -> Boot {
        Boot { cpus, ..self }
    }

    /// How many CPUs the guest must see, where it is not all of them.
    pub(crate) fn sees_cpus(self, cpus: u32) -> Boot {
        Boot { seen_cpus: Some(cpus), ..self }
    }

    pub(crate) fn memory(self, mib: u32) -> Boot {
        Boot { mib, ..self }
    }

    /// Adds a word to the kernel's command line.
    pub(crate) fn word(mut self, word: &str) -> Boot {
        self.words.push(word.into());
        self
    }

    /// Adds an option of `duplex boot`.
    pub(crate) fn option(mut self, option: &str) -> Boot {
        self.options.push(option.into());
        self
    }

    /// The command, with the files that had to be made for it.
    pub(crate) fn command(&self) -> (tempfile::TempDir, Command) {
        let directory = tempfile::tempdir().unwrap();
        let mut kernel = self.kernel.file(directory.path());
        if let Some(packing) = self.packing {
            kernel = kernels::pack(&kernel, packing, directory.path());
        }
        let initrd = self.initrd_file(directory.path());
        let cmdline = format!("console=ttyS0 quiet panic=-1 {}", self.words.join(" "));
        let mut command = testbed_support::duplex(testbed_support::shared());
        command
            .args(["boot", "--kernel", text(&kernel), "--initrd", text(&initrd)])
            .args(["--cmdline", cmdline.trim_end(), "--cpus", &self.cpus.to_string()])
            .args(["--memory", &format!("{}M", self.mib)])
            .args(&self.options)
            .stdin(Stdio::null());
        (directory, command)
    }

    fn initrd_file(&self, directory: &Path) -> PathBuf {
        let plain = self.kernel.initramfs();
        match self.initrd {
            Initrd::Plain => plain,
            Initrd::Gzip => kernels::pack(&plain, Packing::Gzip, directory),
            Initrd::Zstd => kernels::pack(&plain, Packing::Zstd, directory),
        }
    }

    /// Boots it and waits for its end.
    ///
    /// QEMU's emulation of SVM loses a guest now and then, at a VM entry that injects an exception,
    /// and sometimes the whole machine (docs/testbed.md, "Known faults"). Such a boot is tried once
    /// more, and visibly so.
    pub(crate) fn run(&self) -> Booted {
        for attempt in 1..=2 {
            if let Some(output) = self.run_once() {
                return Booted(output);
            }
            eprintln!("RETRIED: {self:?} was lost in attempt {attempt}");
        }
        panic!("{self:?} was lost twice");
    }

    /// `None` where it had to be ended, or its machine was lost.
    fn run_once(&self) -> Option<Output> {
        let (_files, mut command) = self.command();
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let (done, ended) = mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            let in_time = |patience| ended.recv_timeout(patience) != Err(RecvTimeoutError::Timeout);
            if in_time(PATIENCE) {
                return false;
            }
            kill(pid, Signal::SIGTERM).unwrap();
            if !in_time(GRACE) {
                kill(pid, Signal::SIGKILL).unwrap();
            }
            true
        });
        let output = child.wait_with_output().unwrap();
        let _ = done.send(());
        let silent = watchdog.join().unwrap();
        let machine_lost =
            String::from_utf8_lossy(&output.stderr).contains("the testbed has stopped while");
        (!silent && !machine_lost).then_some(output)
    }
}

/// What came of a boot.
pub(crate) struct Booted(pub(crate) Output);

impl Booted {
    /// Asserts that init ran, saw what the machine has, and that the guest powered off.
    pub(crate) fn assert_user_space(&self, boot: &Boot) {
        let kernel = self.said("kernel ");
        assert!(kernel.starts_with(&boot.kernel.release()), "{boot:?}: kernel {kernel}");
        let cpus: u32 = self.said("cpus ").parse().unwrap();
        assert_eq!(cpus, boot.seen_cpus.unwrap_or(boot.cpus), "{boot:?}");
        // What the kernel keeps for itself: its image, the initramfs, a description of each page
        // (64 bytes for 4096) and hash tables that grow with memory.
        let mib: u32 = self.said("memory ").trim_end_matches(" MiB").parse().unwrap();
        let kept = 64 + boot.mib / 32;
        assert!(mib <= boot.mib && mib + kept >= boot.mib, "{boot:?}: memory {mib} MiB");
        assert_eq!(self.0.status.code(), Some(0), "{boot:?}: {}", self.stderr());
    }

    /// The rest of the line that the guest's init begins with `key`.
    pub(crate) fn said(&self, key: &str) -> String {
        let output = String::from_utf8_lossy(&self.0.stdout);
        let prefix = format!("duplex guest: {key}");
        let line = output.lines().find_map(|line| line.trim_end().strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no '{prefix}…' in:\n{output}\n{}", self.stderr())).to_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}
