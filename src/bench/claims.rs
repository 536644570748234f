//! What textbooks say about VMs and containers, beside what a run has measured.
//!
//! A claim is judged by the contender that comes nearest to it: the factor is the least by which it is off. What
//! cannot be told where it was measured is not: an emulated processor says nothing about a real one's speed,
//! except that a real one is no slower.

use std::collections::BTreeMap;

use super::report::words::{self, digits, estimate, figure};
use super::results::{Case, Claim, Interval, Place, Results, Series, Table, Unit, Wall};

/// From before fork to the first byte of the workload.
const START: &str = "first_byte";
/// All memory of an instance that waits.
const IDLE: &str = "idle";
/// What of its memory a guest has touched.
const TOUCHED: &str = "guest_touched";
/// Kinds of work that are done by the processor alone.
const COMPUTING: [&str; 3] = ["integer", "floating_point", "memory"];
/// System calls that the kernel looked at.
const REACHED: &str = "reachable_calls";
/// What was found out about whose kernel it is, and how that ends where it is the host's.
const KERNEL: (&str, &str) = ("kernel", ": the same");

/// The table of claims.
#[must_use]
pub fn of(results: &Results) -> Vec<Claim> {
    vec![
        start(results, Wall::Container, "A container starts in 1 to 5 s.", (1e3, 5e3)),
        start(results, Wall::Vm, "A VM starts in 30 to 300 s.", (30e3, 300e3)),
        memory(results, Wall::Container, "A container costs 10 to 100 MB.", (10e6, 100e6)),
        memory(results, Wall::Vm, "A VM costs 500 MB to 2 GB.", (500e6, 2e9)),
        processor(results),
        isolation(results),
    ]
}

/// One contender's figure.
struct Figure<'a> {
    series: &'a Series,
    median: &'a Interval,
    n: u32,
}

impl Figure<'_> {
    fn told(&self) -> String {
        let (id, n) = (&self.series.contender, self.n);
        format!(
            "{id} {} (95 %: {}), n {n}",
            figure(self.median.value, self.series.unit),
            self.ends()
        )
    }

    fn ends(&self) -> String {
        words::ends(self.median, &words::Scale::of(self.median.value, self.series.unit))
    }
}

/// The figures of those with this wall, lowest first, from the first table that has some: tables of this host are
/// before those of the testbed.
fn figures<'a>(
    results: &'a Results,
    case: Case,
    metric: &str,
    unit: Unit,
    wall: Wall,
) -> Option<(&'a Table, Vec<Figure<'a>>)> {
    let of = |table: &'a Table| {
        let own = |series: &&Series| {
            series.metric == metric
                && series.unit == unit
                && results
                    .contenders
                    .iter()
                    .any(|one| one.id == series.contender && one.wall == wall)
        };
        let figure = |series: &'a Series| {
            let summary = series.summary.as_ref()?;
            Some(Figure { series, median: &summary.median, n: summary.n })
        };
        let figures = table.series.iter().filter(own).filter_map(figure);
        // Nothing starts in no time, nor needs no memory: that would be a measurement that failed.
        let is_real = |figure: &Figure<'_>| figure.median.value > 0.0 || unit == Unit::Count;
        let mut figures: Vec<_> = figures.filter(is_real).collect();
        figures.sort_by(|a, b| a.median.value.total_cmp(&b.median.value));
        (!figures.is_empty()).then_some((table, figures))
    };
    let at = |place: Place| {
        let mut tables =
            results.tables.iter().filter(move |table| table.case == case && table.place == place);
        tables.find_map(of)
    };
    at(Place::Host).or_else(|| at(Place::Testbed))
}

/// By what factor a value is off a range, from its nearer end; 1 within.
fn off(value: f64, (low, high): (f64, f64)) -> f64 {
    if value <= 0.0 || (low..=high).contains(&value) {
        1.0
    } else if value < low {
        low / value
    } else {
        value / high
    }
}

/// The least factor of all figures.
fn least_off(figures: &[Figure<'_>], range: (f64, f64)) -> f64 {
    figures.iter().map(|figure| off(figure.median.value, range)).fold(f64::INFINITY, f64::min)
}

/// The lowest figure, the highest, and duplex's own.
fn told(table: &Table, figures: &[Figure<'_>]) -> String {
    let place = words::place(table.place);
    match figures {
        [] => String::new(),
        [one] => format!("{}, {place}.", one.told()),
        [lowest, between @ .., highest] => {
            let own = between.iter().find(|figure| figure.series.contender.starts_with("duplex-"));
            let own = own.map(|own| format!("; {}", own.told())).unwrap_or_default();
            let all = figures.len();
            format!("{all} contenders, {place}: from {} to {}{own}.", lowest.told(), highest.told())
        }
    }
}

fn nothing(claim: &str, what: &str, results: &Results, wall: Wall) -> Claim {
    let of_wall: Vec<_> = results.contenders.iter().filter(|one| one.wall == wall).collect();
    let missing = of_wall.iter().filter(|one| one.missing.is_some()).count();
    let why = match (of_wall.len(), missing) {
        (0, _) => {
            format!("No contender of this run has a wall of the kind: {}.", words::wall(wall))
        }
        (all, missing) if all == missing => "Every contender of the kind was missing.".to_owned(),
        _ => format!("This run did not measure it: duplex bench {what} does."),
    };
    Claim {
        claim: claim.to_owned(),
        measured: "Nothing.".to_owned(),
        factor: None,
        why,
        tables: Vec::new(),
    }
}

fn start(results: &Results, wall: Wall, claim: &str, range: (f64, f64)) -> Claim {
    let Some((table, figures)) = figures(results, Case::Start, START, Unit::Milliseconds, wall)
    else {
        return nothing(claim, "start", results, wall);
    };
    let emulated = table.place != Place::Host;
    let slowest = figures.last().map_or(0.0, |figure| figure.median.value);
    // A real machine is faster than an emulated one: what is too fast here is too fast there.
    let tells = !emulated || slowest < range.0;
    let mut why = match wall {
        Wall::Vm => "A kernel that is made for it, without firmware and with few devices, has little to wait for; half \
                     a minute is what firmware, a boot loader and the services of a whole distribution take."
            .to_owned(),
        _ => "A start is some system calls (namespaces, mounts, a control group, a filter) and an exec; seconds are \
              what fetching and unpacking an image takes, or the application itself."
            .to_owned(),
    };
    if emulated && tells {
        why = format!("Even on an emulated machine, which is slower than any real one. {why}");
    } else if emulated {
        why = "The machine was emulated, and slower than any real one: that it takes as long there says nothing."
            .to_owned();
    }
    if let Some(longest) = longest_phase(table, &figures) {
        why = format!("{why} {longest}");
    }
    let factor = tells.then(|| least_off(&figures, range));
    let (measured, tables) = (told(table, &figures), vec![table.id.clone()]);
    Claim { claim: claim.to_owned(), measured, factor, why, tables }
}

/// Where most of the time went, for the first of these that has a timeline.
fn longest_phase(table: &Table, figures: &[Figure<'_>]) -> Option<String> {
    let has = |id: &str| figures.iter().any(|figure| figure.series.contender == id);
    let timeline = table.timelines.iter().find(|timeline| has(&timeline.contender))?;
    let spans = super::report::spans(timeline);
    let longest = spans.iter().max_by(|a, b| a.took().total_cmp(&b.took()))?;
    let took = figure(longest.took(), timeline.unit);
    Some(format!("The longest phase of {}: {}, {took}.", timeline.contender, longest.phase.name))
}

fn memory(results: &Results, wall: Wall, claim: &str, range: (f64, f64)) -> Claim {
    let Some((table, figures)) = figures(results, Case::Memory, IDLE, Unit::Bytes, wall) else {
        return nothing(claim, "memory", results, wall);
    };
    let why = if wall == Wall::Vm {
        let touched = self::figures(results, Case::Memory, TOUCHED, Unit::Bytes, wall);
        let touched =
            touched.and_then(|(_, figures)| Some(estimate(figures.first()?.median, Unit::Bytes)));
        let touched =
            touched.map(|touched| format!(" The least that a guest had touched: {touched}."));
        format!(
            "A guest has a page of the host when it touches it, not when it is promised one: the size of a VM is a \
             limit, not a cost.{}",
            touched.unwrap_or_default()
        )
    } else {
        "A container is its processes and what the kernel keeps for them; tens of megabytes are an application's, \
         and the same without a container."
            .to_owned()
    };
    Claim {
        claim: claim.to_owned(),
        measured: told(table, &figures),
        // How much memory is touched does not depend on how fast the machine is.
        factor: Some(least_off(&figures, range)),
        why,
        tables: vec![table.id.clone()],
    }
}

/// The share of the processor that a VM leaves unused, of each kind of work that the processor does alone.
fn processor(results: &Results) -> Claim {
    const CLAIM: &str = "A hypervisor takes 5 to 10 % of the CPU.";
    const RANGE: (f64, f64) = (5.0, 10.0);
    let of_vm = |series: &&Series| words::wall_of(results, &series.contender) == Wall::Vm;
    let tables = || results.tables.iter().filter(|table| table.case == Case::Cpu);
    let at = |place: Place| {
        tables()
            .find(|table| table.place == place && table.series.iter().any(|series| of_vm(&series)))
    };
    let Some(table) = at(Place::Host) else {
        let mut claim = nothing(CLAIM, "cpu", results, Wall::Vm);
        if at(Place::Testbed).is_some() {
            claim.measured = "Nothing that tells: VMs ran on an emulated processor.".to_owned();
            claim.why = "An emulated processor takes other times for what a hypervisor adds, and for everything else; \
                         it takes one with hardware virtualization."
                .to_owned();
        }
        return claim;
    };
    let kind = |series: &'_ Series| {
        let ratio = series.ratio.as_ref()?;
        let lost = |ratio: f64| (1.0 - ratio) * 100.0;
        let median = ratio.median;
        let lost =
            Interval { value: lost(median.value), low: lost(median.high), high: lost(median.low) };
        Some((series.contender.clone(), words::metric(&series.metric), lost, ratio.n))
    };
    let computing = |series: &&Series| of_vm(series) && COMPUTING.contains(&series.metric.as_str());
    let kinds: Vec<_> = table.series.iter().filter(computing).filter_map(kind).collect();
    let Some((.., most, _)) = kinds.iter().max_by(|a, b| a.2.value.total_cmp(&b.2.value)) else {
        return nothing(CLAIM, "cpu", results, Wall::Vm);
    };
    let kind = |(id, kind, lost, n): &(String, String, Interval, u32)| {
        let [value, low, high] = [lost.value, lost.low, lost.high].map(digits);
        format!("{id}, {kind}: {value} % (95 %: {low} to {high}), n {n}")
    };
    let measured = kinds.iter().map(kind).collect::<Vec<_>>().join("; ");
    // Where it may be nothing at all, the claim is off by at least as much as it may be at most.
    let value = if most.low <= 0.0 { most.high } else { most.value };
    let factor = if value > 0.0 { off(value, RANGE) } else { f64::INFINITY };
    Claim {
        claim: CLAIM.to_owned(),
        measured: format!("Lost to the plain process: {measured}."),
        factor: factor.is_finite().then_some(factor),
        why: format!(
            "A guest's instructions run on the processor itself. What costs is leaving the guest, and a second set of \
             page tables: {}.",
            services(table, &of_vm)
        ),
        tables: vec![table.id.clone()],
    }
}

/// What is left in VMs of work in which the kernel takes part.
fn services(table: &Table, of_vm: &dyn Fn(&&Series) -> bool) -> String {
    let others = table.series.iter().filter(|series| of_vm(series));
    let told = |series: &Series| {
        let ratio = series.ratio.as_ref()?;
        let times = digits(ratio.median.value);
        Some(format!("{} {times} times the process's rate", words::metric(&series.metric)))
    };
    let others = others.filter(|series| !COMPUTING.contains(&series.metric.as_str()));
    others.filter_map(told).collect::<Vec<_>>().join(", ")
}

fn isolation(results: &Results) -> Claim {
    const CLAIM: &str = "Containers share the kernel, so isolate less.";
    let tables = || results.tables.iter().filter(|table| table.case == Case::Isolation);
    let (mut kernels, mut shared) = (BTreeMap::new(), Vec::new());
    for table in tables() {
        let finding = table.findings.iter().find(|finding| finding.subject == KERNEL.0);
        for (id, found) in finding.iter().flat_map(|finding| &finding.found) {
            let wall = words::wall_of(results, id);
            // What was found on the host comes first, and is not told again of the testbed.
            if kernels.contains_key(id) || !matches!(wall, Wall::Container | Wall::Vm) {
                continue;
            }
            if wall == Wall::Container {
                shared.push(found.ends_with(KERNEL.1));
            }
            kernels.insert(id, format!("{id} {found}"));
        }
    }
    let kernels: Vec<String> = kernels.into_values().collect();
    if shared.is_empty() {
        return nothing(CLAIM, "isolation", results, Wall::Container);
    }
    let of = |wall: Wall| Some(figures(results, Case::Isolation, REACHED, Unit::Count, wall)?.1);
    let [process, containers, vms] = [Wall::Process, Wall::Container, Wall::Vm].map(of);
    let reached = |figures: &Option<Vec<Figure<'_>>>| {
        let told = |figure: &Figure<'_>| {
            format!(
                "{} {}",
                figure.series.contender,
                words::figure(figure.median.value, Unit::Count)
            )
        };
        figures.iter().flatten().map(told).collect::<Vec<_>>().join(", ")
    };
    let mut why =
        "It is the same kernel, and a fault of it is met by whatever still reaches it.".to_owned();
    if process.is_some() && containers.is_some() {
        why = format!(
            "{why} How much less depends on what is taken away: dangerous system calls that reach the kernel are {} \
             from a plain process and {} from a container.",
            reached(&process),
            reached(&containers)
        );
    }
    if vms.is_some() {
        why = format!(
            "{why} From a VM they reach the guest's own kernel ({}), not the host's.",
            reached(&vms)
        );
    }
    Claim {
        claim: CLAIM.to_owned(),
        measured: format!("Kernels seen from inside: {}.", kernels.join("; ")),
        factor: shared.iter().all(|shared| *shared).then_some(1.0),
        why,
        tables: tables().map(|table| table.id.clone()).collect(),
    }
}

#[cfg(test)]
mod tests;
