//! What is measured where, and about how long that takes.

use std::time::Duration;

use super::asked::Asked;
use crate::bench::contenders::Vms;
use crate::bench::results::{Case, Place};
use crate::cli::say;
use crate::cli::testbed_mode::TestbedMode;
use crate::host;

/// A machine, and what is measured on it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Machine {
    pub(super) place: Place,
    pub(super) vms: Vms,
    pub(super) cases: Vec<Case>,
}

impl Machine {
    /// About how long it takes.
    pub(super) fn takes(&self) -> Duration {
        self.cases.iter().map(|case| case.usually_takes(self.place)).sum()
    }
}

/// All machines on which something is measured, in turn.
pub(super) fn plan(asked: &Asked) -> Vec<Machine> {
    let at = |(place, vms): (Place, Vms)| Machine { place, vms, cases: cases_at(asked, place) };
    let mut plan: Vec<Machine> = places(asked).into_iter().map(at).collect();
    plan.retain(|machine| !machine.cases.is_empty());
    plan
}

/// Says it, if it is more than one case.
pub(super) fn tell(plan: &[Machine]) {
    if plan.iter().all(|machine| machine.cases.len() < 2) {
        return;
    }
    for machine in plan {
        let words: Vec<_> = machine.cases.iter().map(|case| case.word()).collect();
        let minutes = machine.takes().as_secs().div_ceil(60);
        say(format_args!("{}: {}: about {minutes} min", machine.place.word(), words.join(", ")));
    }
}

/// Where to measure: VMs are with all others in one place.
fn places(asked: &Asked) -> Vec<(Place, Vms)> {
    if asked.count_instructions {
        return vec![(Place::Counting, Vms::Here)];
    }
    match (asked.testbed.reason(false), host::virtualization().lack()) {
        (Some(_), _) => vec![(Place::Host, Vms::Elsewhere), (Place::Testbed, Vms::Here)],
        (None, Some(lack)) => vec![(Place::Host, Vms::Nowhere(lack))],
        (None, None) if asked.testbed == TestbedMode::Never => vec![(Place::Host, Vms::Here)],
        // Cases that could starve this host have their place there.
        (None, None) => vec![(Place::Host, Vms::Here), (Place::Testbed, Vms::Here)],
    }
}

/// What is to be measured at a place: what could starve this host in the testbed, unless that is never to be
/// used; the rest where VMs can be had, and without them here.
fn cases_at(asked: &Asked, place: Place) -> Vec<Case> {
    let here = place == Place::Host;
    let never = asked.testbed == TestbedMode::Never;
    let vms_here = asked.testbed.reason(false).is_none();
    let belongs = |case: &Case| match case.could_starve_the_host(&asked.questions) && !never {
        true => !here,
        false => here || !vms_here,
    };
    asked.cases.iter().copied().filter(belongs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cases::Questions;

    fn planned(cases: &[Case], testbed: TestbedMode) -> Vec<(Place, Vec<Case>)> {
        let asked = Asked {
            cases: cases.to_vec(),
            questions: Questions::default(),
            peers: false,
            only: Vec::new(),
            runs: 1,
            seed: 1,
            testbed,
            count_instructions: false,
        };
        plan(&asked).into_iter().map(|machine| (machine.place, machine.cases)).collect()
    }

    #[test]
    fn what_could_starve_the_host_is_measured_elsewhere() {
        let both = [Case::Cpu, Case::Noise];
        assert_eq!(
            planned(&both, TestbedMode::Always),
            [(Place::Host, vec![Case::Cpu]), (Place::Testbed, both.to_vec())]
        );
        assert_eq!(planned(&both, TestbedMode::Never), [(Place::Host, both.to_vec())]);
        assert_eq!(
            planned(&[Case::Noise], TestbedMode::Auto),
            [(Place::Testbed, vec![Case::Noise])]
        );
    }
}
