//! The attempts to get out that the walls of duplex are tested with (docs/security.md), tried behind every wall.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::bench::cases::asked::{Answer, Asker, job};
use crate::bench::cases::held::Held;
use crate::bench::contender::Contender;
use crate::bench::ground::Ground;
use crate::bench::results::{Finding, Unit, Wall};
use crate::bench::rounds::{Found, Measured};
use crate::bench::schedule::Schedule;
use crate::bench::stop::Stop;
use crate::bench::workshop::PROBE;

/// Has too little of a wall for attempts that would reach this machine.
const TOO_OPEN: &str = "unshare";

/// Those whose proof is something of this machine's, which no guest has of its own.
const OUTSIDE: [&str; 17] = [
    "marker",
    "process-roots",
    "leaked-descriptor",
    "parent-directories",
    "chroot",
    "signal",
    "trace",
    "memory",
    "host-namespaces",
    "keys",
    "abstract-socket",
    "passed-descriptor",
    "loopback",
    "host-name",
    "segment",
    "shared-memory",
    "queue",
];

/// Those that are about a PID 1 that belongs to whoever made the wall.
const AT_INIT: [&str; 4] = ["own-program", "trace-init", "init-memory", "init-descriptor"];

/// Tries them, once, behind each wall that is one; returns what came of it, as a figure and in words. Where PID 1
/// is the probe itself, as `is_init` tells by a contender's id, what reaches PID 1 reaches nobody else.
pub(super) fn tried(
    ground: &mut Ground<'_>,
    is_init: impl Fn(&str) -> bool,
) -> Result<(Found, Finding), String> {
    let asker = Asker::on(ground.place, ground.stop);
    let (target, facts) = start_target(ground, &asker)?;
    let walls: Vec<&dyn Contender> =
        ground.contenders.iter().filter(|one| is_wall(**one)).copied().collect();
    let once = Schedule { warm_up: 0, rounds: 1, ..ground.schedule };
    let told: RefCell<Vec<(String, String)>> = RefCell::default();
    let found = ground.rounds_of(&walls, once, None, |one, turn| {
        let mut words = vec!["escape", "all"];
        words.extend(facts.iter().map(String::as_str));
        let number = turn.number | NUMBERS;
        let answer = asker.ask(one, &job(&words), number);
        one.clean_up(number);
        let answer = answer?;
        let id = &one.described().id;
        // What gVisor's kernel lets through is not the host's either.
        let own_kernel = matches!(one.described().wall, Wall::Vm | Wall::Sandbox);
        let out = out(&answer, own_kernel, is_init(id));
        told.borrow_mut().push((id.clone(), words_for(&answer, &out)?));
        Ok(vec![Measured::new("escapes", Unit::Count, out.len() as f64)])
    });
    // Also after an interruption: it removes what goes by names.
    target.end(&Asker::on(ground.place, &Stop::default()))?;
    let mut told = told.into_inner();
    for open in ground.contenders.iter().filter(|one| !is_wall(**one)) {
        told.push((open.described().id.clone(), "not tried: there is no wall to try".into()));
    }
    let finding = Finding {
        subject: "attempts to get out".into(),
        meaning: "Each of them succeeds where its wall is taken away (docs/security.md). What gets through to \
                  what is the workload's own, a guest's kernel or a PID 1 that is the workload, is still inside."
            .into(),
        found: told.into_iter().collect(),
    };
    Ok((found, finding))
}

/// Numbers of starts beyond those of the look round.
const NUMBERS: u64 = 1 << 33;

fn is_wall(contender: &dyn Contender) -> bool {
    let described = contender.described();
    described.wall != Wall::Process && described.id != TOO_OPEN
}

/// What attempts are after: a process of this machine's, which lives as long as they are tried; and what it tells
/// about itself.
fn start_target(ground: &Ground<'_>, asker: &Asker<'_>) -> Result<(Held, Vec<String>), String> {
    let directory = ground.workshop.directory("target")?;
    // Whoever finds the way may read it.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut command = Command::new(ground.workshop.in_image(PROBE));
    command.args(["escape", "target"]).arg(directory);
    let mut held = Held::of(asker, &mut command)?;
    let mut facts = Vec::new();
    loop {
        match held.line(asker)? {
            line if line.trim() == "ready" => return Ok((held, facts)),
            line => facts.push(line),
        }
    }
}

/// The names of those that got out.
fn out(answer: &Answer, own_kernel: bool, is_init: bool) -> Vec<&str> {
    let mut out = answer.texts("out");
    out.retain(|name| !own_kernel || OUTSIDE.contains(name));
    out.retain(|name| !is_init || !AT_INIT.contains(name));
    out
}

fn words_for(answer: &Answer, out: &[&str]) -> Result<String, String> {
    let held = answer.number("held")?;
    let through = answer.texts("out").len();
    let tried = held + through as f64;
    let inside = through - out.len();
    let which = if out.is_empty() { String::new() } else { format!(" ({})", out.join(", ")) };
    let own = match inside {
        0 => String::new(),
        _ => format!("; {inside} more got through to what is its own"),
    };
    let not_tried = answer.texts("not_tried").len();
    Ok(format!(
        "{} of {tried} got out{which}{own}; {not_tried} more need a volume, a user or a terminal, and were not tried",
        out.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ones_own_is_inside() {
        let answer = Answer(serde_json::json!({
            "held": 30, "out": ["mount", "marker", "trace-init"], "not_tried": ["set-user-id"],
        }));
        let names = |is_vm, is_init| out(&answer, is_vm, is_init);
        assert_eq!(names(false, false), ["mount", "marker", "trace-init"]);
        assert_eq!(names(false, true), ["mount", "marker"]);
        assert_eq!(names(true, false), ["marker"]);
        let words = words_for(&answer, &names(true, false)).unwrap();
        assert!(
            words.starts_with(
                "1 of 33 got out (marker); 2 more got through to what is its own; 1 more"
            ),
            "{words}"
        );
        let words = words_for(&answer, &names(false, false)).unwrap();
        assert!(
            words.starts_with("3 of 33 got out (mount, marker, trace-init); 1 more"),
            "{words}"
        );
    }
}
