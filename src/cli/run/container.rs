//! Runs a command in a container.

use std::error::Error;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;

use super::attend::{Conclusion, Lost, attend};
use super::order::{ContainerOrder, Subject};
use super::security::Confinement;
use super::volumes::directory;
use super::{Args, limits, network};
use crate::cli::FAILED;
use crate::cli::testbed_mode::TestbedMode;
use crate::cli::timing::{self, Timing, Unit};
use crate::cli::tracing::{TraceOrder, Tracing};
use crate::container::{Container, Plan, Times, USERS, Volume, Wanted};
use crate::guest_images::Cache;
use crate::image;
use crate::init::Start;
use crate::instances::Instance;
use crate::isolate::capabilities::Capabilities;
use crate::isolate::cgroups;
use crate::isolate::is_master_of_all_files;
use crate::session::host::{End, Signals};
use crate::session::protocol::Ending;
use crate::trace::boot::{Phase, Recorder};
use crate::trace::file::{self, about::About};
use crate::trace::steps::SharedStamps;
use crate::workload::{self, AddressedNet, NetBackend};

const STARVED: &str =
    "the container ran out of memory, and the kernel killed in it: give it more with --memory";

/// Decides everything. What a container cannot have is refused.
pub(super) fn decide(args: &Args, mut subject: Subject) -> Result<ContainerOrder, Box<dyn Error>> {
    refuse(args)?;
    let shares_users = args.security.openings().users;
    subject.start.user.as_deref().map_or(Ok(()), |user| check_user(user, shares_users))?;
    subject.about.testbed = args.count_instructions;
    let capabilities = Capabilities::changed(&args.cap_add, &args.cap_drop);
    let confinement = args.security.confinement()?;
    let wanted = Wanted {
        image: subject.image.clone(),
        hostname: subject.about.name.clone(),
        volumes: args.volume.iter().map(volume).collect::<Result<_, _>>()?,
        read_only: args.mounts.read_only,
        capabilities,
        tmpfs: args.mounts.tmpfs.clone(),
        shm_size: args.mounts.shm_size,
        ulimits: args.limits.ulimits_here()?,
        oom_score: args.limits.oom_score_adj,
        apparmor: confinement != Confinement::Unconfined,
        network: network::container::decide(&args.network, capabilities)?,
        openings: args.security.openings(),
        // The testbed sees this host's files by a file system that cannot show them with other owners.
        disk: match args.count_instructions {
            true => Some(image::disk(&Cache::open()?, &subject.image)?),
            false => None,
        },
    };
    let mut plan = Plan::new(&wanted)?;
    if let Some(until) = &args.until {
        if wanted.openings.users {
            return Err("--until: with --userns host a half-made container is the host's root: leave one of the two away".into());
        }
        plan.cut(until)?;
    }
    let unit = if args.count_instructions { Unit::Instructions } else { Unit::Milliseconds };
    let measured = args.timing || args.count_instructions;
    let timing = measured.then_some(Timing { unit, json: args.json });
    let cgroup_parent = args.limits.parent();
    let limits = args.limits.read()?;
    let trace = args.trace.order()?;
    let trace = trace.map(|trace| TraceOrder { calls: args.trace_syscalls, ..trace });
    Ok(ContainerOrder { subject, plan, confinement, limits, cgroup_parent, timing, trace })
}

/// What would be done, in order and with reasons. Nothing is.
///
/// # Errors
/// There can be no such control group.
pub(super) fn explain(order: &ContainerOrder) -> Result<String, cgroups::Error> {
    let (name, plan) = (&order.subject.about.name, &order.plan);
    let group = limits::plan(name, &order.limits, &order.cgroup_parent, plan.devices())?;
    let none =
        if group.steps().is_empty() { "none: this user has none to make one in\n" } else { "" };
    Ok(format!("Its control group:\n{none}{group}\nThe way to it:\n{plan}"))
}

fn refuse(args: &Args) -> Result<(), &'static str> {
    let asked = [
        (
            args.trace.wants_samples(),
            "--trace-samples: it asks vCPUs, which a container has none of: leave it away",
        ),
        (
            args.keep.is_some(),
            "--keep: a container's changes cannot be kept: mount a directory with -v",
        ),
        (
            args.count_instructions && !args.network.nets.is_empty(),
            "--count-instructions: it counts in the testbed, which has no network: leave --net away",
        ),
        (
            args.security.openings().users && is_user(&args.network.nets),
            "--userns host: pasta cannot serve a container without a user namespace: give --net bridge, or \
             leave one of the two away",
        ),
        (
            // What the environment says is for VMs.
            args.testbed == TestbedMode::Always && std::env::var_os("DUPLEX_TESTBED").is_none(),
            "--testbed: a container needs none: leave it away",
        ),
    ];
    asked.into_iter().find(|(asked, _)| *asked).map_or(Ok(()), |(_, reason)| Err(reason))
}

/// Whether it can have this user. Names beside root's are looked up in the image.
fn check_user(user: &str, shares_users: bool) -> Result<(), String> {
    let mut parts = user.split(':');
    if !is_master_of_all_files() && parts.any(|part| part != "0" && part != "root") {
        return Err(format!(
            "user {user}: an ordinary user's container has root alone, who is that user outside: give \
             --user 0, or leave --container away"
        ));
    }
    let beyond = |part: &str| part.parse::<u64>().is_ok_and(|number| number >= USERS.into());
    if !shares_users && user.split(':').any(beyond) {
        let last = USERS - 1;
        return Err(format!(
            "user {user}: a container has users and groups 0 to {last}: give one of them"
        ));
    }
    Ok(())
}

/// Whether pasta is to serve it.
fn is_user(nets: &[AddressedNet]) -> bool {
    nets.iter().any(|net| net.net.backend == NetBackend::User)
}

fn volume(wanted: &workload::Volume) -> Result<Volume, String> {
    let workload::Volume { host, guest, read_only } = wanted;
    let host = directory(host).map_err(|reason| format!("-v {}: {reason}", host.display()))?;
    Ok(Volume { host, at: guest.clone(), read_only: *read_only })
}

/// Runs the container until its command ends; returns the exit status.
pub(super) fn run(
    order: &mut ContainerOrder,
    recorder: &Recorder,
) -> Result<ExitCode, Box<dyn Error>> {
    order.plan.confine(order.confinement.provide()?);
    if order.timing.is_none() && order.trace.is_none() {
        return carry_out(order, Times { outside: recorder, inside: None }, None);
    }
    let tracing = order.trace.as_ref().map(|to| trace(to, order, recorder)).transpose()?;
    let steps = order.plan.inside();
    let stamps = SharedStamps::new(steps.len())?;
    let times = Times { outside: recorder, inside: Some(&stamps) };
    let status = carry_out(order, times, tracing.as_ref())?;
    recorder.reached(Phase::Removed);
    if let Some(tracing) = tracing {
        tracing.steps(recorder, &steps, &stamps);
        tracing.conclude(recorder, true);
    }
    if let Some(timing) = order.timing {
        timing::print_steps(recorder, &steps, &stamps, timing)?;
    }
    Ok(status)
}

/// Begins a trace.
fn trace(
    to: &TraceOrder,
    order: &ContainerOrder,
    recorder: &Recorder,
) -> Result<Tracing, Box<dyn Error>> {
    let unit = order.timing.map_or(Unit::Milliseconds, |timing| timing.unit);
    let about = About { command: order.subject.command_line(), ..About::default() };
    Tracing::begin(to, file::about::Half::Container, unit, recorder, about)
}

fn carry_out(
    order: &ContainerOrder,
    times: Times<'_>,
    tracing: Option<&Tracing>,
) -> Result<ExitCode, Box<dyn Error>> {
    let (subject, recorder) = (&order.subject, times.outside);
    let instance = Instance::claim(&subject.about)?;
    let room = instance.room()?;
    recorder.reached(Phase::Claimed);
    let reserved = network::reserve(&order.plan.network().published)?;
    let signals = Signals::take()?;
    let door = UnixListener::bind(instance.socket())?;
    let (ours, theirs) = UnixStream::pair()?;
    let name = &subject.about.name;
    let devices = order.plan.devices();
    let group = limits::group(&instance, name, &order.limits, &order.cgroup_parent, devices)?;
    recorder.reached(Phase::GroupMade);
    let container = Container::start(&order.plan, &group, &theirs, &door, &room, times)?;
    if let Some(step) = order.plan.last_step() {
        write!(io::stdout(), "Behind step {step}:\n{}", container.look()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    drop((theirs, door));
    // From now on there may be other threads.
    let follower = tracing.map(|tracing| tracing.follow(recorder, container.pid())).transpose()?;
    let (held, setting) =
        network::container::connect(&container, &group, name, order.plan.network(), reserved)?;
    let start = Start { setting, ..subject.start.clone() };
    let ended = container.as_fd();
    let attended =
        attend(subject, start, &instance, ours, (ended, &group), signals, Some(recorder))?;
    recorder.reached(Phase::End);
    match attended.end {
        End::Ended(_) | End::NotStarted { .. } => container.wait()?,
        // Whatever its PID 1 waits for: this ends it.
        End::Interrupted(_) | End::Lost => drop(container),
    }
    if let Some(follower) = follower.flatten() {
        follower.wait();
    }
    recorder.reached(Phase::Gone);
    drop(held);
    let starved = group.oom_kills().is_some_and(|kills| kills > 0).then(|| STARVED.to_owned());
    let usage = subject.about.remains.then(|| group.usage());
    drop(group);
    // The kernel may have chosen PID 1.
    let status =
        if starved.is_some() { Ending::Killed(libc::SIGKILL).exit_status() } else { FAILED };
    let said = "the container ended before its command".to_owned();
    let lost = || Lost { status, said };
    Ok(Conclusion::new(attended.end, starved, lost).tell(instance, usage)?.into())
}
