//! What is done to instances from other processes: the same words for either half.

use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::process::Process;

/// A half, and how its instances are reached.
pub(crate) struct Half {
    /// As `ps` calls it.
    pub(crate) name: &'static str,
    /// duplex with these arguments, among the instances of these tests.
    pub(crate) duplex: fn(&[&str]) -> Command,
    /// `duplex run` with these options, and a shell's script.
    pub(crate) shell: fn(&[&str], &str) -> Command,
}

/// Answers signals, and writes to both outputs.
const SERVER: &str = "trap 'echo usr1' USR1; trap 'echo term; exit 7' TERM
                      echo up; echo bad >&2; touch /ready
                      while :; do sleep 1000 & wait $!; done";

impl Half {
    fn do_it(&self, arguments: &[&str]) -> Output {
        Process::start(&mut (self.duplex)(arguments)).output()
    }

    /// What it says on standard output; it must succeed.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.do_it(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Why it fails.
    fn complained(&self, arguments: &[&str]) -> String {
        let output = self.do_it(arguments);
        assert_eq!(output.status.code(), Some(125), "{arguments:?}: {}", text(&output.stdout));
        text(&output.stderr)
    }

    fn start(&self, name: &str, options: &[&str], script: &str) {
        // What a killed run of these tests has left.
        self.do_it(&["rm", "--force", name]);
        let options = [&["--detach", "--name", name], options].concat();
        let output = Process::start(&mut (self.shell)(&options, script)).output();
        assert_eq!(text(&output.stdout), format!("{name}\n"), "{}", text(&output.stderr));
    }

    /// Waits until it answers signals, where there is no log to tell.
    fn is_ready(&self, name: &str) {
        let script = "until [ -e /ready ]; do sleep 0.1; done";
        self.said(&["exec", name, "sh", "-c", script]);
    }

    fn inspect(&self, name: &str) -> Value {
        let all: Value = serde_json::from_str(&self.said(&["inspect", name])).unwrap();
        all[0].clone()
    }

    fn status(&self, name: &str) -> String {
        self.inspect(name)["status"].as_str().unwrap().to_owned()
    }

    /// Its log, followed until this text is there.
    fn log_until(&self, name: &str, wanted: &str) {
        let mut logs = Process::start(&mut (self.duplex)(&["logs", "--follow", name]));
        logs.stdout.wait_for(wanted);
        logs.kill();
    }

    /// One instance from its start to its removal.
    pub(crate) fn lives(&self) {
        let name = format!("lives-{}", self.name);
        let name = name.as_str();
        self.start(name, &[], SERVER);
        self.log_until(name, "up\n");
        let row = self.said(&["ps"]);
        assert!(row.lines().any(|row| row.contains(name) && row.contains(self.name)), "{row}");
        assert_eq!(self.inspect(name)["half"], self.name);
        assert_eq!(self.said(&["exec", name, "sh", "-c", "echo $0", "arg"]), "arg\n");

        self.said(&["kill", "--signal", "USR1", name]);
        self.log_until(name, "usr1\n");
        assert!(self.complained(&["rm", name]).contains("end it first"));
        let again = Process::start(&mut (self.shell)(&["--name", name], "true")).output();
        assert_eq!(again.status.code(), Some(125));
        assert!(text(&again.stderr).contains("there is an instance called"));

        let waiting = Process::start(&mut (self.duplex)(&["wait", name]));
        let mut following = Process::start(&mut (self.duplex)(&["logs", "--follow", name]));
        following.stdout.wait_for("usr1\n");
        assert_eq!(self.said(&["stop", name]), format!("{name}\n"));
        assert_eq!(text(&waiting.output().stdout), "7\n");
        assert_eq!(text(&following.output().stdout), "up\nusr1\nterm\n");
        assert!(!self.said(&["ps"]).contains(name));
        assert!(self.said(&["ps", "--all"]).contains("exited (7)"));
        assert_eq!(self.inspect(name)["exit_status"], 7);
        let output = self.do_it(&["logs", name]);
        assert_eq!(text(&output.stdout), "up\nusr1\nterm\n");
        assert!(text(&output.stderr).contains("bad\n"));
        assert_eq!(self.said(&["logs", "--tail", "1", name]), "term\n");
        let complaint = self.complained(&["exec", name, "true"]);
        assert!(complaint.contains("has ended, with status 7"), "{complaint}");
        assert_eq!(self.said(&["rm", name]), format!("{name}\n"));
        assert!(self.complained(&["logs", name]).contains("no instance called"));
    }

    /// Its time is stopped, and goes on; what it uses is counted.
    pub(crate) fn is_paused_and_counted(&self) {
        let name = format!("paused-{}", self.name);
        let name = name.as_str();
        self.start(name, &[], SERVER);
        self.is_ready(name);
        assert_eq!(self.said(&["pause", name]), format!("{name}\n"));
        assert!(self.complained(&["exec", name, "true"]).contains("paused"));
        self.said(&["resume", name]);
        assert_eq!(self.said(&["exec", name, "echo", "on"]), "on\n");
        let stats: Value = serde_json::from_str(&self.said(&["stats", "--json", name])).unwrap();
        let usage = &stats[0]["usage"];
        assert!(usage["cpu"]["total_us"].as_u64().unwrap() > 0, "{stats}");
        assert!(usage["memory"]["peak"].as_u64().unwrap() > 100_000, "{stats}");
        assert!(stats[0]["cpu_percent"].as_f64().unwrap() >= 0.0, "{stats}");
        // One that is paused is ended like any other.
        self.said(&["pause", name]);
        self.said(&["stop", name]);
        assert_eq!(self.inspect(name)["exit_status"], 7);
        self.said(&["rm", name]);
    }

    /// The process that runs it is killed: others know what to say, and clean up.
    pub(crate) fn is_lost(&self) {
        let name = format!("lost-{}", self.name);
        let name = name.as_str();
        self.start(name, &[], SERVER);
        self.log_until(name, "up\n");
        let before = self.inspect(name);
        let waiting = Process::start(&mut (self.duplex)(&["wait", name]));
        let pid = i32::try_from(before["pid"].as_i64().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        assert_eq!(text(&waiting.output().stdout), "137\n");
        let after = self.inspect(name);
        assert_eq!((&after["status"], &after["exit_status"]), (&"exited".into(), &137.into()));
        assert!(after["reason"].as_str().unwrap().contains("was killed"));
        for group in before["control_groups"].as_array().unwrap() {
            assert!(!std::path::Path::new(group.as_str().unwrap()).exists(), "{group}");
        }
        assert_eq!(self.said(&["logs", name]), "up\n");
        self.said(&["rm", name]);
    }

    /// Nothing remains of one that was to leave nothing; whoever waits for it learns its status.
    pub(crate) fn leaves_nothing(&self) {
        let name = format!("brief-{}", self.name);
        let name = name.as_str();
        self.start(name, &["--rm"], SERVER);
        assert!(self.complained(&["logs", name]).contains("has one"));
        self.is_ready(name);
        let waiting = Process::start(&mut (self.duplex)(&["wait", name]));
        self.said(&["stop", name]);
        assert_eq!(text(&waiting.output().stdout), "7\n");
        assert!(self.complained(&["inspect", name]).contains("no instance called"));
        // What others of its commands do does not depend on it.
        self.start(name, &[], SERVER);
        let output = self.do_it(&["stop", "--time", "0", "nonesuch", name]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(125), format!("{name}\n")));
        assert_eq!(self.inspect(name)["exit_status"], 137);
        self.said(&["rm", name]);
        self.start(name, &[], SERVER);
        assert_eq!(self.said(&["rm", "--force", name]), format!("{name}\n"));
    }

    /// So many at once.
    pub(crate) fn are_many(&self, count: usize, options: &[&str]) {
        let names: Vec<_> =
            (0..count).map(|number| format!("crowd-{}-{number}", self.name)).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let with = |command: &'static str| [&[command], &names[..]].concat();
        let listed = names.iter().map(|name| format!("{name}\n")).collect::<String>();
        for name in &names {
            self.start(name, options, SERVER);
        }
        let running = self.said(&["ps", "--quiet"]);
        assert!(names.iter().all(|name| running.lines().any(|line| line == *name)), "{running}");
        for name in &names {
            assert_eq!(self.said(&["exec", name, "hostname"]), format!("{name}\n"));
        }
        assert_eq!(self.said(&with("pause")), listed);
        assert!(names.iter().all(|name| self.status(name) == "paused"));
        assert_eq!(self.said(&with("resume")), listed);
        let stats: Value =
            serde_json::from_str(&self.said(&[&["stats", "--json"], &names[..]].concat())).unwrap();
        assert_eq!(stats.as_array().unwrap().len(), count);
        assert_eq!(self.said(&with("kill")), listed);
        assert_eq!(self.said(&with("wait")), "137\n".repeat(count));
        assert_eq!(self.said(&with("rm")), listed);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
