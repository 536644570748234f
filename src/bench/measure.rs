//! What is to be measured in one place, as one order: on this host, or by this same program in the testbed.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cases::{self, Questions};
use super::contender::Contender;
use super::contenders::{LineUp, Wanted};
use super::facts;
use super::ground::Ground;
use super::results::{Case, Contender as Described, Fact, Place, Table};
use super::rounds::Watch;
use super::schedule::Schedule;
use super::start;
use super::stop::Stop;
use super::workshop::Workshop;

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What contenders are given.
    pub workshop: Workshop,
    /// The image as an ext4 file system, where it is to be started from one: in the testbed, whose root
    /// cannot be shown to containers with other owners.
    pub disk: Option<PathBuf>,
    /// Who is to take part.
    pub wanted: Wanted,
    /// What is asked, in this order.
    pub cases: Vec<Case>,
    /// What is asked beside them.
    pub questions: Questions,
    /// About how long it takes what is to be measured after this, elsewhere.
    pub after: Duration,
    /// How often, and in what order.
    pub schedule: Schedule,
    /// The machine that it is carried out on.
    pub place: Place,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The tables, in the order of the cases.
    pub tables: Vec<Table>,
    /// All that were asked for, those that are missing too.
    pub contenders: Vec<Described>,
    /// The machine.
    pub facts: Vec<Fact>,
    /// False where it was stopped.
    pub complete: bool,
}

/// Carries it out on the machine that this process runs on.
pub fn measure(order: &Order, watch: &mut dyn Watch, stop: &Stop) -> Observed {
    let facts = facts::facts(&order.workshop);
    let line_up = LineUp::find(&order.workshop, &order.wanted);
    let contenders: Vec<&dyn Contender> =
        line_up.present.iter().map(|contender| contender.as_ref()).collect();
    let mut ground = Ground {
        workshop: &order.workshop,
        contenders: &contenders,
        observer: line_up.observer.as_ref(),
        place: order.place,
        schedule: order.schedule,
        budget: order.questions.budget(order.place),
        watch,
        stop,
    };
    let mut tables = Vec::new();
    for (number, case) in order.cases.iter().enumerate() {
        if !stop.is_requested() {
            let left = order.cases.iter().skip(number);
            let left: Duration = left.map(|case| case.usually_takes(order.place)).sum();
            ground.watch.case(*case, order.after + left);
            tables.extend(tables_of(*case, &order.questions, &mut ground));
        }
    }
    Observed { tables, contenders: line_up.described(), facts, complete: !stop.is_requested() }
}

/// A case's tables.
fn tables_of(case: Case, questions: &Questions, ground: &mut Ground<'_>) -> Vec<Table> {
    match case {
        Case::Start => start::tables(ground),
        other => cases::tables(other, questions, ground),
    }
}
