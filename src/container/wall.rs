//! What each command in a container is behind, beside what PID 1 itself is.

use std::io;

use super::plan::Plan;
use crate::isolate::apparmor;
use crate::isolate::rlimits::Ulimit;
use crate::isolate::seccomp::Filter;
use crate::session::guest::BeforeExec;

/// The parts, ready to be put up between fork and exec.
pub(super) struct Wall {
    ulimits: Vec<Ulimit>,
    apparmor: bool,
    /// If PID 1 does not have one already that all inherit, and one is wanted.
    filter: Option<Filter>,
}

impl Wall {
    pub(super) fn new(plan: &Plan) -> Self {
        let open = plan.openings;
        let filter = (!open.calls && !open.privileges).then(|| Filter::new(plan.capabilities));
        Self { ulimits: plan.ulimits.clone(), apparmor: plan.apparmor, filter }
    }
}

impl BeforeExec for Wall {
    fn as_parent(&self) -> io::Result<()> {
        self.ulimits.iter().try_for_each(Ulimit::apply)?;
        if self.apparmor { Ok(apparmor::change_at_exec()?) } else { Ok(()) }
    }

    /// The filter comes last: it refuses what the steps before need.
    fn last(&self) -> io::Result<()> {
        Ok(self.filter.as_ref().map_or(Ok(()), Filter::install)?)
    }
}
