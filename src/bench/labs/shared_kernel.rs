//! What a fault of the kernel would reach in each half, shown by what can be reached, tried from inside.

mod behind;

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::bench::cases::asked::{Asker, job};
use crate::bench::cases::held::Held;
use crate::bench::cases::isolation;
use crate::bench::cases::processes::Census;
use crate::bench::contender::Contender;
use crate::bench::ground::Ground;
use crate::bench::results::{Case, Finding, Table};
use crate::bench::schedule::Schedule;

pub(super) const STORY: &str = "\
Somebody has found a fault in a system call of Linux, and runs code in your workload. In a container that call is
the host's kernel's; in a VM it is the guest's own, and what is behind that is a process of the host's. Which calls
can be reached is tried from inside, with arguments that do nothing; what is behind is looked at from outside.
";

pub(super) fn run(ground: &mut Ground<'_>) -> Table {
    let looked = isolation::run(ground);
    let title = "Lab: what a fault of the kernel would reach";
    let how = format!(
        "{} behind: while the probe waits in the instance, the process that the kernel or the VMM runs as is looked \
         at from outside (/proc/PID/status and namespaces): for a VM the one with the guest's memory, for others \
         the one that was started last.",
        looked.how
    );
    let mut table = ground.table(Case::Lab, "shared-kernel", title, how);
    table.baseline.clone_from(&looked.baseline);
    let asker = Asker::on(ground.place, ground.stop);
    let once = Schedule { warm_up: 0, rounds: 1, ..ground.schedule };
    let seen: RefCell<BTreeMap<String, String>> = RefCell::default();
    let found = ground.rounds(once, None, |one, turn| {
        let number = turn.number | BEHIND;
        let told = look_behind(&asker, one, number);
        one.clean_up(number);
        seen.borrow_mut().insert(one.described().id.clone(), told?);
        Ok(Vec::new())
    });
    table.series = looked.series;
    table.failures = looked.failures;
    table.failures.extend(found.failures);
    table.findings = looked.findings;
    table.findings.insert(1, behind(seen.into_inner()));
    table
}

/// Numbers of starts beyond those of the look round.
const BEHIND: u64 = 1 << 32;

fn look_behind(
    asker: &Asker<'_>,
    contender: &dyn Contender,
    number: u64,
) -> Result<String, String> {
    let census = Census::take()?;
    let mut held = Held::start(asker, contender, job(&["hold", "1"]), number)?;
    held.answer(asker)?;
    let told = behind::tell(contender.described().wall, &census.newcomers());
    held.end(asker)?;
    Ok(told)
}

fn behind(found: BTreeMap<String, String>) -> Finding {
    Finding {
        subject: "behind that kernel".into(),
        meaning: "Who has taken over the kernel in a container has taken over the host. Who has taken over a guest's \
                  kernel has a process of the host's to attack next, through its virtual devices, and then is what \
                  that process is."
            .into(),
        found,
    }
}
