//! Every command that the book shows is run, and says what the book shows.
//!
//! What a block needs stands behind `console`: `container`, `vm` (the testbed, where this host has no
//! hardware virtualization), `kvm` (any KVM). Where that is missing the block is left out, visibly.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use duplex::guest_images::{Cache, busybox, hello_initramfs, tuned_kernel};

use super::common::containers::{has_containers, runtime_directory};
use super::common::process::Process;
use super::common::{DUPLEX, empty_directory, has_kvm, has_testbed, say, testbed};
use super::console::{Shown, agrees, commands};
use super::document::Document;

/// What is said where a guest runs in the testbed, and only there.
const NOTICES: [&str; 2] = ["duplex: booting in the testbed (", "duplex: running in the testbed ("];

/// A folder for what the book has its reader prepare, and the files that it names.
struct Desk {
    folder: PathBuf,
    busybox: PathBuf,
    kernel: PathBuf,
    initramfs: PathBuf,
}

impl Desk {
    fn new() -> Desk {
        let folder = empty_directory("book");
        for name in ["bin", "desk"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        symlink(DUPLEX, folder.join("bin/duplex")).unwrap();
        let cache = Cache::open().unwrap();
        Desk {
            folder,
            busybox: busybox(&cache).unwrap(),
            kernel: tuned_kernel(&cache).unwrap().elf,
            initramfs: hello_initramfs(&cache).unwrap(),
        }
    }

    /// Its output, both streams as a terminal shows them; it must end with 0.
    fn run(&self, shown: &Shown, state: &Path) -> Result<String, String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec 2>&1\n{}", shown.command));
        command.current_dir(self.folder.join("desk")).env("XDG_RUNTIME_DIR", state);
        command.env("PATH", format!("{}:{path}", self.folder.join("bin").display()));
        command.env("B", &self.busybox).env("K", &self.kernel).env("H", &self.initramfs);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let output = Process::start(&mut command).output();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(said) } else { Err(format!("{}: {said}", output.status)) }
    }
}

/// Whether this host has what a block needs.
fn can(need: &str) -> bool {
    match need {
        "container" => has_containers(),
        "vm" => has_testbed(),
        "kvm" => has_kvm(),
        other => panic!("```console {other}: no such word"),
    }
}

/// Runs a document's commands in order; what went wrong.
fn faults(document: &Document, desk: &Desk) -> Vec<String> {
    let name = document.path.file_name().unwrap().to_string_lossy();
    let mut faults = Vec::new();
    for block in document.blocks.iter().filter(|block| is_console(&block.words)) {
        let numbers = block.words.iter().any(|word| word == "numbers");
        let mut needs = block.words.iter().skip(1).filter(|word| *word != "numbers");
        if !needs.all(|need| can(need)) {
            say(&format!("SKIPPED: {name}, line {}", block.line));
            continue;
        }
        let in_vm = block.words.iter().any(|word| word == "vm");
        let state = if in_vm { testbed::shared() } else { runtime_directory() };
        for shown in commands(block) {
            let place = format!("{name}, line {}: $ {}", block.line, shown.command);
            match desk.run(&shown, state) {
                Ok(said) if agrees(&shown.output, &without_notices(&said), numbers) => {}
                Ok(said) => faults.push(format!("{place}\nshown:\n{}said:\n{said}", shown.output)),
                Err(error) => faults.push(format!("{place}\n{error}")),
            }
        }
    }
    faults
}

fn is_console(words: &[String]) -> bool {
    words.first().is_some_and(|word| word == "console")
}

fn without_notices(said: &str) -> String {
    let is_notice = |line: &str| NOTICES.iter().any(|notice| line.starts_with(notice));
    said.lines().filter(|line| !is_notice(line)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_command_does_what_the_book_shows() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/book");
    let mut chapters: Vec<PathBuf> =
        fs::read_dir(book).unwrap().map(|entry| entry.unwrap().path()).collect();
    chapters.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    // The contents say what to prepare.
    chapters.sort_by_key(|path| (!path.ends_with("README.md"), path.clone()));
    let desk = Desk::new();
    let faults: Vec<String> =
        chapters.iter().flat_map(|path| faults(&Document::read(path), &desk)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
