//! The steps to a group: a value first, carried out second.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use super::controller::Controller;
use super::devices::DeviceRule;
use super::error::Error;
use super::files;
use super::group::{Group, Member, Version};
use super::hierarchies::{Cgroups, Home, check_name};
use super::limits::{Setting, Wanted};
use super::step::{Action, Step};
use super::v2::SUBTREE;
use crate::workload::{Bound, Limits};

/// What a group is for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// Limits: a host that can't set one of them has no such group.
    pub limits: &'a Limits,
    /// How many tasks there may be if the limits do not say, where that can be limited.
    pub default_tasks: Option<u64>,
    /// Controllers to have besides, where the host has them: for what they count, and for limits to
    /// come. See [`Purpose::COUNTED`].
    pub besides: &'a [Controller],
    /// The only devices that may be used; without, the group has no say in that.
    pub devices: Option<&'a [DeviceRule]>,
}

impl Purpose<'_> {
    /// What counts that which is always asked for, and what it takes to stop and find all processes.
    pub const COUNTED: &'static [Controller] =
        &[Controller::Pids, Controller::Memory, Controller::Cpuacct, Controller::Freezer];
}

/// The steps to a group.
#[derive(Clone, Debug)]
pub struct Plan {
    steps: Vec<Step>,
    group: Group,
}

impl Cgroups {
    /// The steps to a group for an instance of this name, which no other has.
    ///
    /// Where no group may be made, and no limit asks for one, there are none, and the group is none.
    pub fn plan(&self, name: &str, purpose: &Purpose<'_>) -> Result<Plan, Error> {
        check_name(name)?;
        purpose.limits.check()?;
        let required = Wanted::new(purpose.limits, purpose.devices)?.controllers();
        let mut limits = purpose.limits.clone();
        limits.pids = limits.pids.or(purpose.default_tasks.map(Bound::AtMost));
        let wanted = Wanted::new(&limits, purpose.devices)?;
        let tasks = limits.pids.map(|_| Controller::Pids);
        let optional = purpose.besides.iter().copied().chain(tasks);

        let mut uses = Uses(Vec::new());
        // A group of version 2 is had in any case: a process starts in it, and all in it can be
        // stopped and killed at once.
        if let Some(home) = self.unified_home() {
            uses.0.push((home, BTreeSet::new()));
        }
        let unified = !uses.0.is_empty();
        for controller in &required {
            uses.add(self.home(*controller)?, *controller);
        }
        for controller in optional {
            let built_in = matches!(controller, Controller::Cpuacct | Controller::Freezer);
            if (unified && built_in) || uses.has(controller) {
                continue;
            }
            if let Ok(home) = self.home(controller) {
                uses.add(home, controller);
            }
        }
        let mut plan = Plan { steps: Vec::new(), group: Group::default() };
        for (home, mut controllers) in uses.0 {
            match home.version {
                Version::Two => plan.pass_down(&home, &mut controllers, &required)?,
                Version::One => plan.share(&home),
            }
            if controllers.contains(&Controller::Cpuset) {
                wanted.check_cpus(home.version, &home.base)?;
            }
            plan.add_member(&home, name, &controllers, &wanted, &required);
        }
        Ok(plan)
    }
}

/// Which hierarchies are used, each for which controllers.
struct Uses(Vec<(Home, BTreeSet<Controller>)>);

impl Uses {
    fn has(&self, controller: Controller) -> bool {
        self.0.iter().any(|(_, controllers)| controllers.contains(&controller))
    }

    fn add(&mut self, home: Home, controller: Controller) {
        match self.0.iter_mut().find(|(known, _)| *known == home) {
            Some((_, controllers)) => {
                controllers.insert(controller);
            }
            None => self.0.push((home, BTreeSet::from([controller]))),
        }
    }
}

impl Plan {
    /// The steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The group that will be.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Carries the steps out.
    ///
    /// # Errors
    /// Of the first step that failed. The instance's groups that were made are removed then.
    pub fn create(self) -> Result<Group, Error> {
        for (at, step) in self.steps.iter().enumerate() {
            if let Err(error) = step.carry_out() {
                for done in self.steps.iter().take(at).rev() {
                    if let Action::Make(path) = &done.action {
                        // What stays, a sweep finds.
                        let _ = fs::remove_dir(path);
                    }
                }
                return Err(error);
            }
        }
        Ok(self.group)
    }

    fn push(&mut self, action: Action, reason: &'static str) {
        self.steps.push(Step { action, reason });
    }

    fn share(&mut self, home: &Home) {
        self.push(Action::Share(home.parent.clone()), "all instances are below one group");
    }

    /// In version 2 a group's children have the controllers that it passes down: from the base to
    /// ours, and from ours to the instances'. Those not needed, and not to be had, are left out.
    fn pass_down(
        &mut self,
        home: &Home,
        controllers: &mut BTreeSet<Controller>,
        required: &[Controller],
    ) -> Result<(), Error> {
        if controllers.iter().all(|controller| controller.unified().is_none()) {
            self.share(home);
            return Ok(());
        }
        let passed_by_ours = files::read(&home.parent.join(SUBTREE));
        let has = |text: &str, controller: &Controller| {
            controller
                .unified()
                .is_some_and(|name| text.split_whitespace().any(|word| word == name))
        };
        let ours = passed_by_ours.as_deref().unwrap_or_default();
        let in_files = controllers.iter().copied().filter(|one| one.unified().is_some());
        let mut lacking: Vec<Controller> = in_files.filter(|one| !has(ours, one)).collect();
        let mut above = Vec::new();
        if !lacking.is_empty() {
            let passed = files::read(&home.base.join(SUBTREE)).unwrap_or_default();
            above =
                lacking.iter().copied().filter(|controller| !has(&passed, controller)).collect();
        }
        if !above.is_empty() {
            let there = files::read(&home.base.join("cgroup.controllers")).unwrap_or_default();
            let (known, unknown): (Vec<_>, Vec<_>) =
                above.into_iter().partition(|controller| has(&there, controller));
            if let Some(controller) = unknown.iter().find(|one| required.contains(one)) {
                return Err(Error::NotAvailable(*controller));
            }
            controllers.retain(|controller| !unknown.contains(controller));
            lacking.retain(|controller| !unknown.contains(controller));
            above = known;
        }
        self.enable(&home.base, &above, required, "controllers are passed down to our group");
        if passed_by_ours.is_none() {
            self.share(home);
        }
        self.enable(&home.parent, &lacking, required, "controllers are passed down to instances");
        Ok(())
    }

    fn enable(
        &mut self,
        group: &Path,
        controllers: &[Controller],
        required: &[Controller],
        reason: &'static str,
    ) {
        // One that can't be had must not keep back another, so what is optional is asked for alone.
        let (needed, others): (Vec<Controller>, Vec<Controller>) =
            controllers.iter().partition(|controller| required.contains(controller));
        for (controllers, optional) in [(needed, false), (others, true)] {
            let names = controllers.iter().filter_map(|controller| controller.unified());
            let value = names.map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
            if !value.is_empty() {
                self.push(Action::Write { file: group.join(SUBTREE), value, optional }, reason);
            }
        }
    }

    fn add_member(
        &mut self,
        home: &Home,
        name: &str,
        controllers: &BTreeSet<Controller>,
        wanted: &Wanted<'_>,
        required: &[Controller],
    ) {
        let path = home.parent.join(name);
        let cpuset = home.version == Version::One && controllers.contains(&Controller::Cpuset);
        if cpuset {
            self.fill_cpuset(home);
        }
        self.push(Action::Make(path.clone()), "the instance's group");
        if cpuset {
            let mems = files::read(&home.base.join("cpuset.mems")).unwrap_or_default();
            let reason = "version 1 lets nobody into a group without memory nodes";
            self.write(&path, Setting::new("cpuset.mems", mems.trim(), reason), true);
        }
        for controller in controllers {
            for setting in wanted.settings(home.version, *controller) {
                self.write(&path, setting, required.contains(controller));
            }
        }
        if let (Version::Two, Some(rules)) = (home.version, wanted.devices)
            && controllers.contains(&Controller::Devices)
        {
            let action = Action::Restrict { group: path.clone(), rules: rules.to_vec() };
            self.push(action, "no devices but these");
        }
        let controllers = controllers.iter().copied().collect();
        self.group.push(Member { version: home.version, controllers, path });
    }

    /// Version 1 gives a new group no CPUs and no memory nodes, and no group more than that above.
    fn fill_cpuset(&mut self, home: &Home) {
        for (file, from) in
            [("cpuset.cpus", "cpuset.effective_cpus"), ("cpuset.mems", "cpuset.effective_mems")]
        {
            let known = files::read(&home.parent.join(file)).unwrap_or_default();
            if known.trim().is_empty() {
                let all = files::read(&home.base.join(from)).unwrap_or_default();
                let reason = "instances may have any that the host has";
                self.write(&home.parent.clone(), Setting::new(file, all.trim(), reason), true);
            }
        }
    }

    fn write(&mut self, group: &Path, setting: Setting, required: bool) {
        let Setting { file, value, reason, optional } = setting;
        let file = group.join(&*file);
        self.push(Action::Write { file, value, optional: optional || !required }, reason);
    }
}

impl fmt::Display for Plan {
    /// A line a step, each with its reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{}: {}", step.action, step.reason)?;
        }
        Ok(())
    }
}
