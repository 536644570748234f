//! A run from its start to its results.

use std::error::Error;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::asked::Asked;
use super::observe::OBSERVE;
use super::plan::{Machine, plan, tell};
use super::progress::Progress;
use crate::bench::claims;
use crate::bench::contenders::{Vms, Wanted};
use crate::bench::facts;
use crate::bench::hybrid;
use crate::bench::measure::{Observed, Order, measure};
use crate::bench::results::{Fact, Place, Results, SCHEMA};
use crate::bench::schedule::Schedule;
use crate::bench::scratch::Scratch;
use crate::bench::stop::Stop;
use crate::bench::workshop::{Guest, Workshop};
use crate::cli::{FAILED, INTERRUPTED, say};
use crate::guest_images::Cache;
use crate::image;
use crate::testbed;

/// The statuses of a testbed's command that was interrupted: hung up on, interrupted, terminated.
const SIGNALLED: [u8; 3] = [129, INTERRUPTED, 143];

/// Rounds that do not count.
const WARM_UP: u32 = 2;

/// Measures all that is asked for; and the exit status.
pub(super) fn go(asked: &Asked) -> Result<(Results, ExitCode), Box<dyn Error>> {
    let started = OffsetDateTime::now_utc();
    let clock = Instant::now();
    let stop = Stop::on_signals()?;
    // Told before anything is done, as one that is cut off has to be repeatable too.
    say(format_args!("seed {}", asked.seed));
    let plan = plan(asked);
    let is_emulated = plan.iter().any(|machine| machine.place == Place::Testbed);
    let reason = asked.testbed.reason(false);
    let reason = reason.unwrap_or_else(|| "what could starve this host is measured there".into());
    let cautions = facts::cautions(is_emulated.then_some(&*reason));
    let scratch = Scratch::new(&parent())?;
    let mut workshop = Workshop::set_up(scratch.path())?;
    workshop.guest = Guest::make(&workshop).inspect_err(|error| say(error)).ok();
    let facts = facts::facts(&workshop);
    let schedule = Schedule { warm_up: WARM_UP, rounds: asked.runs, seed: asked.seed };
    let order = Order {
        workshop,
        disk: None,
        wanted: Wanted { peers: asked.peers, only: asked.only.clone(), vms: Vms::Here },
        cases: Vec::new(),
        questions: asked.questions.clone(),
        after: Duration::ZERO,
        schedule,
        place: Place::Host,
    };
    let mut results = Results {
        schema: SCHEMA,
        duplex: env!("CARGO_PKG_VERSION").into(),
        command: std::env::args().collect(),
        started: rfc3339(started),
        seconds: 0.0,
        complete: true,
        seed: asked.seed,
        runs: asked.runs,
        host: facts,
        cautions,
        contenders: Vec::new(),
        tables: Vec::new(),
        claims: Vec::new(),
    };
    tell(&plan);
    let mut failed = false;
    for (number, at) in plan.iter().enumerate() {
        let after = plan.iter().skip(number + 1).map(Machine::takes).sum();
        let order = Order { cases: at.cases.clone(), after, ..order.clone() };
        if !results.complete {
            break;
        }
        match observe(&order, at.place, at.vms.clone(), &stop) {
            Ok(observed) => add(&mut results, at.place, observed),
            Err(error) if results.tables.is_empty() => return Err(error),
            // What was measured elsewhere is kept.
            Err(error) => {
                say(&error);
                failed = true;
                let place = at.place.word();
                results.cautions.push(format!("The {place} measured nothing: {error}."));
            }
        }
    }
    results.seconds = clock.elapsed().as_secs_f64();
    results.claims = claims::of(&results);
    let status = match (failed, results.complete) {
        (true, _) => FAILED.into(),
        (false, false) => INTERRUPTED.into(),
        (false, true) => ExitCode::SUCCESS,
    };
    results.complete &= !failed;
    Ok((results, status))
}

/// Where the run's directory is made: where the caller wants it, or where it is on a disk. No file is cold in memory,
/// where /tmp may be.
fn parent() -> PathBuf {
    std::env::var_os("TMPDIR").map_or("/var/tmp".into(), PathBuf::from)
}

/// Carries the order out at this place, with VMs or without.
fn observe(order: &Order, place: Place, vms: Vms, stop: &Stop) -> Result<Observed, Box<dyn Error>> {
    let wanted = Wanted { vms, ..order.wanted.clone() };
    let order = Order { wanted, ..order.clone() };
    if place != Place::Host {
        return in_testbed(&order, place);
    }
    if let Err(error) = hybrid::leave() {
        log::info!("control groups of both versions stay: {error}; crun may refuse this host");
    }
    let observed = measure(&order, &mut Progress::new(place.word()), stop);
    if let Ok(cache) = Cache::open() {
        // VMs had one.
        image::forget_disk(&cache, &order.workshop.image);
    }
    Ok(observed)
}

fn in_testbed(order: &Order, place: Place) -> Result<Observed, Box<dyn Error>> {
    let order = order.for_testbed(place)?;
    let [asked, found] =
        ["order.json", "observed.json"].map(|name| order.workshop.place.join(name));
    fs::write(&asked, serde_json::to_vec(&order)?)?;
    File::create(&found)?;
    let outcome = testbed::run(&order.session(OBSERVE, &asked, &found)?)?;
    match serde_json::from_slice(&fs::read(&found)?) {
        Ok(observed) => Ok(observed),
        // It was interrupted before it had begun, or the machine ended.
        Err(_) if SIGNALLED.contains(&outcome.status) => Ok(Observed::default()),
        Err(_) => Err(format!(
            "the testbed measured nothing: its observer ended with status {}",
            outcome.status
        )
        .into()),
    }
}

/// Adds what was found at a place.
fn add(results: &mut Results, place: Place, observed: Observed) {
    results.complete &= observed.complete;
    results.tables.extend(observed.tables);
    if place != Place::Host {
        let machine = observed.facts.into_iter().filter(|fact| {
            ["processor", "processors", "memory", "kernel", "control groups"].contains(&&*fact.name)
        });
        let named = |fact: Fact| Fact { name: format!("{}, in the testbed", fact.name), ..fact };
        results.host.extend(machine.map(named));
    }
    for contender in observed.contenders {
        match results.contenders.iter_mut().find(|known| known.id == contender.id) {
            // It may be missing in one place only.
            Some(known) if known.missing.is_some() => *known = contender,
            Some(_) => {}
            None => results.contenders.push(contender),
        }
    }
}

fn rfc3339(time: OffsetDateTime) -> String {
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = time.to_hms();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
