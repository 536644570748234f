//! Runs one of the shell scripts of `guest-images/`, which are part of the binary.
//!
//! A script runs in a process group of its own, and that group ends when this process does, however
//! it ends: a watcher in the group waits for the end of a pipe whose other end is held here, so even
//! after SIGKILL no compiler and no download goes on.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::cache::{Cache, INPUTS};
use super::error::Error;
use super::progress::Progress;

/// A file of `guest-images/`: its path there, and its text.
pub(super) type Source = (&'static str, &'static str);

/// Sourced by every script that gets Debian packages.
pub(super) const PACKAGES_SH: Source =
    ("apt/packages.sh", include_str!("../../guest-images/apt/packages.sh"));

/// Starts the script named by its arguments beside a watcher that kills the process group when
/// standard input ends.
const WATCHED: &str = "
exec 3<&0 </dev/null
( exec >/dev/null 2>&1; read -r _ <&3; kill -KILL 0 ) &
exec 3<&-
exec sh \"$@\"
";

/// How many of a failed script's last lines the error quotes.
const QUOTED_LINES: usize = 12;

/// A script and what it needs.
pub(super) struct Script<'a> {
    /// What it does, for errors: "get Debian's kernel 6.1".
    pub(super) task: String,
    /// The file that is run, and the files that it reads.
    pub(super) main: Source,
    pub(super) others: &'a [Source],
    /// What the user can do when it fails.
    pub(super) remedy: &'static str,
}

impl Script<'_> {
    /// Runs it to fill the directory `out` of a cache entry: its arguments are `args` and then
    /// `out`. Lines "step TEXT" and "parts DONE TOTAL" on its standard output are shown as progress.
    pub(super) fn fill(
        &self,
        out: &Path,
        args: &[&str],
        cache: &Cache,
        progress: &Progress,
    ) -> Result<(), Error> {
        let scripts = out.join("scripts");
        for (name, text) in std::iter::once(&self.main).chain(self.others) {
            let path = scripts.join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
            }
            fs::write(&path, text).map_err(Error::file("write", &path))?;
        }
        let mut child = Command::new("sh")
            .args(["-c", WATCHED, "sh"])
            .arg(scripts.join(self.main.0))
            .args(args)
            .arg(out)
            .env("DUPLEX_APT", cache.apt_lists())
            .env("DUPLEX_INPUTS", out.join(INPUTS))
            // Tools' messages are quoted in errors, and their output is parsed.
            .env("LC_ALL", "C")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.failed(format!("cannot run `sh`: {error}")))?;
        self.follow(&mut child, progress)?;
        fs::remove_dir_all(&scripts).map_err(Error::file("remove", &scripts))
    }

    fn follow(&self, child: &mut Child, progress: &Progress) -> Result<(), Error> {
        let stderr = child.stderr.take().map(|stderr| thread::spawn(move || last_lines(stderr)));
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                show(&line, progress);
            }
        }
        let lines = stderr.and_then(|thread| thread.join().ok()).unwrap_or_default();
        // The script is over. Closing the watcher's pipe (wait does) ends what is left of the group.
        let status = child.wait().map_err(|error| self.failed(error.to_string()))?;
        if status.success() { Ok(()) } else { Err(self.failed(format!("{lines}({status})"))) }
    }

    fn failed(&self, reason: String) -> Error {
        Error::Script { task: self.task.clone(), reason, remedy: self.remedy }
    }
}

fn show(line: &str, progress: &Progress) {
    if let Some(step) = line.strip_prefix("step ") {
        progress.step(step);
    } else if let Some((done, total)) =
        line.strip_prefix("parts ").and_then(|parts| parts.split_once(' '))
        && let (Ok(done), Ok(total)) = (done.parse(), total.parse())
    {
        progress.parts(done, total);
    } else {
        log::debug!("{line}");
    }
}

fn last_lines(stream: impl Read) -> String {
    let mut last = VecDeque::new();
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        log::debug!("{line}");
        if last.len() == QUOTED_LINES {
            last.pop_front();
        }
        last.push_back(line + "\n");
    }
    last.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::fs::OpenOptions;
    use std::os::fd::AsFd;
    use std::os::unix::fs::OpenOptionsExt;

    /// Runs a script that gets these arguments and then a directory.
    fn run(text: &'static str, args: &[&str]) -> Result<(), Error> {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open_at(dir.path().join("cache")).unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        let script = Script {
            task: "test".to_string(),
            main: ("dir/main.sh", text),
            others: &[],
            remedy: "mend it",
        };
        script.fill(&out, args, &cache, &Progress::new("test"))
    }

    #[test]
    fn a_script_gets_its_arguments_and_no_input() {
        run("[ \"$1\" = 'a b' ] && [ -d \"$2\" ] && ! read -r line", &["a b"]).unwrap();
    }

    #[test]
    fn an_error_quotes_the_last_lines_and_the_remedy() {
        let error = run("echo something broke >&2; exit 3", &[]).unwrap_err().to_string();
        assert!(error.contains("something broke"), "{error}");
        assert!(error.contains("mend it"), "{error}");
    }

    #[test]
    fn what_a_script_leaves_running_ends_with_it() {
        const PATIENCE_MS: u16 = 10_000;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("held-open");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        // Opened first, and without waiting, so that the script need not wait either.
        let held =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        run("sleep 1000 >\"$1\" 2>&1 &", &[path.to_str().unwrap()]).unwrap();
        // It hangs up when the last writer has ended.
        let mut end = [PollFd::new(held.as_fd(), PollFlags::empty())];
        assert_eq!(poll(&mut end, PollTimeout::from(PATIENCE_MS)), Ok(1), "the process lives on");
    }
}
