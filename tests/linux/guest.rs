//! A boot of the demo guest, and what it must say.

use std::fmt::Debug;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::common::process::Process;
use crate::common::terminal::Terminal;
use crate::common::{has_testbed, say, soak, testbed, text};
use crate::kernels::{self, Kernel, Packing};

/// How long a guest may say nothing, with everything else that this machine does.
pub(crate) const SILENCE: Duration = Duration::from_secs(90);

/// The same in a soak, where guests move much data without a word; `usual` elsewhere.
pub(crate) fn patience(usual: Duration) -> Duration {
    if soak() { Duration::from_secs(1800) } else { usual }
}

/// How the initrd is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initrd {
    Plain,
    Gzip,
    Zstd,
}

/// Where cargo has put an example, beside the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples").join(name)
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
    console: &'static str,
    words: Vec<String>,
    options: Vec<String>,
}

impl Boot {
    pub(crate) fn new(kernel: Kernel) -> Boot {
        let (packing, seen_cpus) = (None, None);
        let (words, options) = (Vec::new(), Vec::new());
        let (initrd, console) = (Initrd::Plain, "ttyS0");
        Boot { kernel, packing, initrd, cpus: 1, seen_cpus, mib: 256, console, words, options }
    }

    /// With the virtio device as its console instead of the serial port.
    pub(crate) fn hvc(self) -> Boot {
        Boot { console: "hvc0", ..self }.option("--hvc").option("stdio")
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
    fn command(&self) -> (tempfile::TempDir, Command) {
        let directory = tempfile::tempdir().unwrap();
        let mut kernel = self.kernel.file(directory.path());
        if let Some(packing) = self.packing {
            kernel = kernels::pack(&kernel, packing, directory.path());
        }
        let initrd = self.initrd_file(directory.path());
        let cmdline = format!("console={} quiet panic=-1 {}", self.console, self.words.join(" "));
        let mut command = testbed::duplex(testbed::shared());
        command
            .args(["boot", "--kernel", text(&kernel), "--initrd", text(&initrd)])
            .args(["--cmdline", cmdline.trim_end(), "--cpus", &self.cpus.to_string()])
            .args(["--memory", &format!("{}M", self.mib)])
            .args(&self.options)
            .stdin(Stdio::null());
        (directory, command)
    }

    /// Boots it at a terminal of its own.
    pub(crate) fn at_terminal(&self) -> AtTerminal {
        let (files, mut command) = self.command();
        AtTerminal { terminal: Terminal::start(&mut command), _files: files }
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
    pub(crate) fn run(&self) -> Booted {
        let (_files, mut command) = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Booted(
            Process::start(&mut command)
                .output_within(SILENCE)
                .unwrap_or_else(|late| panic!("{late}")),
        )
    }
}

/// A guest's terminal, and the files that were made for it.
pub(crate) struct AtTerminal {
    terminal: Terminal,
    _files: tempfile::TempDir,
}

impl Deref for AtTerminal {
    type Target = Terminal;

    fn deref(&self) -> &Terminal {
        &self.terminal
    }
}

impl DerefMut for AtTerminal {
    fn deref_mut(&mut self) -> &mut Terminal {
        &mut self.terminal
    }
}

/// Does something with a guest, if that is possible here, and up to twice more while it fails.
///
/// QEMU's emulation of AMD-V can lose a guest (docs/testbed.md, "Known faults"), fewer than one boot in a
/// hundred. What fails three times is ours; what failed is said, so that nobody overlooks it.
pub(crate) fn in_emulation(what: &impl Debug, check: impl Fn()) {
    const RETRIES: usize = 2;
    /// How much of a panic's words is shown, in characters from their end.
    const SHOWN: usize = 600;
    if !has_testbed() {
        return;
    }
    for attempt in 1..=RETRIES {
        let Err(panic) = catch_unwind(AssertUnwindSafe(&check)) else { return };
        // A test that passes in the end keeps the rest to itself.
        let why = panic.downcast_ref::<String>().map_or("", String::as_str);
        let end = why.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
        say(&format!("RETRIED: {what:?} has failed, attempt {attempt}: {:?}", &why[end..]));
    }
    check();
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

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }
}
