//! What a workload can see and reach, as it finds out itself.

mod escapes;
mod findings;

use std::cell::RefCell;

use super::asked::{Answer, Asker, job};
use crate::bench::ground::Ground;
use crate::bench::results::{Case, Fact, Place, Table, Unit};
use crate::bench::rounds::Measured;
use crate::bench::schedule::Schedule;

use super::processes::PROBE_NAME;
use findings::findings;

/// Looks round behind every wall, once.
pub fn run(ground: &mut Ground<'_>) -> Table {
    let how = "The probe looks round behind each wall, once, and changes nothing. reachable_calls: of 46 system calls \
               that much of the kernel lies behind, each made in a child of its own with arguments that no kernel \
               takes, those whose answer shows that the kernel looked at the arguments; EPERM, EACCES, ENOSYS or \
               the child's death show that it did not. filter_passes: of all 374 numbers of system calls, those \
               that the filter in force lets through, found without making one: a second filter hands what \
               passes to a supervisor. writable_switches: files below /proc/sys and /sys that may be opened for \
               writing (access(2)); devices: nodes below /dev that may be opened. processes: others that /proc \
               shows. escapes: how many of the attempts of docs/security.md got out, where there is a wall. In a VM all of this is of the guest's own kernel: reaching it is not reaching the host's.";
    let mut table = ground.table(Case::Isolation, "", "What can be seen and reached", how.into());
    table.baseline = ground.baseline();
    let asker = Asker::on(ground.place, ground.stop);
    let once = Schedule { warm_up: 0, rounds: 1, ..ground.schedule };
    let looks: RefCell<Vec<(String, Answer)>> = RefCell::default();
    let baseline = table.baseline.clone();
    let found = ground.rounds(once, baseline.as_deref(), |one, turn| {
        let look = asker.ask(one, &job(&["look"]), turn.number)?;
        let figures = figures(&look)?;
        looks.borrow_mut().push((one.described().id.clone(), look));
        Ok(figures)
    });
    table.take(found);
    let (looks, host) = (looks.into_inner(), host_release());
    table.findings = findings(&looks, &host, ground.place == Place::Testbed);
    let is_init =
        |id: &str| looks.iter().any(|(of, look)| of == id && look.text("init") == PROBE_NAME);
    match escapes::tried(ground, is_init) {
        Ok((found, finding)) => {
            table.take(found);
            table.findings.push(finding);
        }
        Err(reason) => table.failures.push(Fact { name: "all".into(), value: reason }),
    }
    table
}

fn figures(look: &Answer) -> Result<Vec<Measured>, String> {
    let reached = findings::calls(look, "reached").len();
    let count = |metric, value: f64| Measured::new(metric, Unit::Count, value);
    let switches = look.number("proc_sys_writable")? + look.number("sys_writable")?;
    let mut figures = vec![
        count("reachable_calls", reached as f64),
        count("writable_switches", switches),
        count("devices", look.texts("devices").len() as f64),
        count("processes", look.number("processes")?),
    ];
    // Where a filter refuses to be followed by another, it can't be told.
    if let Ok(passes) = look.number("filter_passes") {
        figures.insert(1, count("filter_passes", passes));
    }
    Ok(figures)
}

/// The kernel that this process runs on.
fn host_release() -> String {
    let name = nix::sys::utsname::uname();
    name.map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}
