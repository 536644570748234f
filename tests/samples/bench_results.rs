//! Results of a run that never was, for the tests of reports: all that a report can show, with figures that are
//! drawn from a seed. Whoever includes this has `bench` in scope.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::bench::draw::Draw;
use super::bench::results::*;
use super::bench::statistics;

const SEED: u64 = 20_261_123;

/// The run.
pub(crate) fn results() -> Results {
    drawn(0)
}

/// The same run on another day: other samples of the same distributions.
pub(crate) fn drawn(day: u64) -> Results {
    Results {
        schema: SCHEMA,
        duplex: "0.0.0 (a test's)".into(),
        command: words(&["duplex", "bench", "all", "--runs", "30"]),
        started: "2001-02-03T04:05:06Z".into(),
        seconds: 1745.2,
        complete: true,
        seed: SEED,
        runs: 30,
        host: host(),
        cautions: words(&[
            "This host has no hardware virtualization: VMs ran in the testbed, an emulated machine. Their times are \
             not those of a real one; compare them within their table only.",
            "The load was 3.2 on 2 processors when it began: times are longer and spread wider than on a quiet host.",
        ]),
        contenders: contenders(),
        tables: vec![start_on_host(day), start_in_testbed(day), cpu(day), memory(day), density(day), isolation()],
        claims: vec![
            Claim {
                claim: "A container starts in 1 to 5 s.".into(),
                measured: "duplex-container 6.71 ms (6.52 to 6.90, n 30), podman 96.6 ms (92.0 to 101, n 30)".into(),
                factor: Some(10.4),
                why: "A start is a handful of system calls and one exec; the rest is what an engine does around it."
                    .into(),
                tables: words(&["start.host.warm"]),
            },
            Claim {
                claim: "A hypervisor takes 5 to 10 % of the CPU.".into(),
                measured: "Nothing that could tell: VMs ran on an emulated machine.".into(),
                factor: None,
                why: "An emulated processor is slow in other places than a real one.".into(),
                tables: Vec::new(),
            },
            Claim {
                claim: "Containers share the kernel, so isolate less.".into(),
                measured: "duplex-container sees the host's kernel 6.1.0; duplex-vm one of its own, 6.12.0.".into(),
                factor: Some(1.0),
                why: "Each system call that gets through is answered by the kernel that all share.".into(),
                tables: words(&["isolation.host"]),
            },
        ],
    }
}

/// The same with text and numbers that are meant to do harm, where a report takes them from a file.
pub(crate) fn hostile() -> Results {
    const EVIL: &str = "</script></title><script>document.title = 'owned'</script>\n# Injected\n\n\x1b[2J\0\u{202e}|`*&\"'";
    let evil = || EVIL.to_owned();
    let mut results = results();
    results.duplex = evil();
    results.command = vec![evil()];
    results.started = evil();
    results.cautions.push(evil());
    results.complete = false;
    results.seconds = 1e300;
    results.host.push(Fact { name: evil(), value: EVIL.repeat(50) });
    for contender in &mut results.contenders {
        contender.id.push_str(EVIL);
        contender.name = evil();
        contender.version = Some(evil());
    }
    for claim in &mut results.claims {
        (claim.claim, claim.measured, claim.why) = (evil(), evil(), evil());
    }
    for table in &mut results.tables {
        table.id.push_str(EVIL);
        table.title = evil();
        table.how = evil();
        table.baseline = table.baseline.as_ref().map(|baseline| baseline.clone() + EVIL);
        table.failures.push(Fact { name: evil(), value: evil() });
        for series in &mut table.series {
            series.contender.push_str(EVIL);
            series.metric.push_str(EVIL);
            series.samples.extend([Some(-1e300), Some(1e300), Some(0.0), Some(5e-324), None]);
        }
        for timeline in &mut table.timelines {
            timeline.contender.push_str(EVIL);
            let phase = |end| Phase { name: evil(), end, by: evil() };
            timeline.phases.extend([phase(-5.0), phase(1e300), phase(0.0)]);
        }
        for curve in &mut table.curves {
            curve.contender.push_str(EVIL);
            curve.metric.push_str(EVIL);
            curve.end = evil();
            curve.points.extend([(u32::MAX, 1e300), (0, -1e300)]);
        }
        for finding in &mut table.findings {
            (finding.subject, finding.meaning) = (evil(), evil());
            finding.found.insert(evil(), evil());
        }
    }
    results
}

/// The same run on a machine that is slower by `times`, where these contenders are slower by as much again.
pub(crate) fn slower(times: f64, again: &[(&str, f64)], seed: u64) -> Results {
    let mut results = results();
    results.seed = seed;
    let mut draw = Draw::seeded(seed);
    for table in &mut results.tables {
        for series in &mut table.series {
            let own =
                again.iter().find(|(id, _)| *id == series.contender).map_or(1.0, |(_, own)| *own);
            for sample in series.samples.iter_mut().flatten() {
                *sample =
                    rounded(*sample * times * own * (1.0 + (uniform(&mut draw) - 0.5) * 0.01));
            }
        }
        summarize(table);
    }
    results
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn host() -> Vec<Fact> {
    let facts = [
        ("processor", "Fictitious Processor 9000, made up for tests"),
        ("processors", "2"),
        ("kernel", "Linux 6.1.0-0-amd64"),
        ("governor", "none"),
        ("hardware virtualization", "none"),
        (
            "mitigations",
            "spectre_v2: Mitigation: Retpolines; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected",
        ),
        ("control groups", "version 2"),
        ("load at the start", "3.20, 2.10, 1.00"),
        ("guest kernel", "sha256:0000000000000000000000000000000000000000000000000000000000000000"),
    ];
    facts.map(|(name, value)| Fact { name: name.into(), value: value.into() }).into()
}

fn contenders() -> Vec<Contender> {
    let contender =
        |id: &str, name: &str, wall, version: Option<&str>, missing: Option<&str>| Contender {
            id: id.into(),
            name: name.into(),
            wall,
            version: version.map(Into::into),
            missing: missing.map(Into::into),
        };
    vec![
        contender("process", "the program itself", Wall::Process, None, None),
        contender(
            "duplex-container",
            "duplex run --container",
            Wall::Container,
            Some("0.0.0"),
            None,
        ),
        contender("crun", "crun run", Wall::Container, Some("crun version 1.0"), None),
        contender("podman", "podman run", Wall::Container, Some("podman version 4.0"), None),
        contender("duplex-vm", "duplex run", Wall::Vm, Some("0.0.0"), None),
        contender(
            "qemu-microvm",
            "QEMU, -M microvm",
            Wall::Vm,
            Some("QEMU emulator version 7.0"),
            None,
        ),
        contender(
            "runsc",
            "gVisor",
            Wall::Sandbox,
            None,
            Some("runsc is not installed: get it from gvisor.dev"),
        ),
        contender("firecracker", "Firecracker", Wall::Vm, None, Some("firecracker is not in PATH")),
    ]
}

/// A number from 0 to 1.
fn uniform(draw: &mut Draw) -> f64 {
    f64::from(u32::try_from(draw.below(1 << 24)).unwrap()) / f64::from(1 << 24)
}

/// Rounds around a value, skewed as times are, now and then one that is far off.
fn rounds(draw: &mut Draw, around: f64) -> Vec<Option<f64>> {
    let one = |draw: &mut Draw| {
        let far = if draw.below(20) == 0 { 1.8 } else { 1.0 };
        rounded(around * (0.9 + 0.35 * uniform(draw) * uniform(draw)) * far)
    };
    (0..30).map(|_| Some(one(draw))).collect()
}

/// One series for each contender and value; summaries and ratios come later.
fn series(draw: &mut Draw, metric: &str, unit: Unit, of: &[(&str, f64)]) -> Vec<Series> {
    let one = |(contender, around): &(&str, f64)| Series {
        contender: (*contender).into(),
        metric: metric.into(),
        unit,
        samples: rounds(draw, *around),
        summary: None,
        ratio: None,
    };
    of.iter().map(one).collect()
}

/// Six figures: numbers so short come back from JSON as they went.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap()
}

fn shorten(interval: Interval) -> Interval {
    let Interval { value, low, high } = interval;
    Interval { value: rounded(value), low: rounded(low), high: rounded(high) }
}

fn short(summary: Summary) -> Summary {
    let [median, p95, p99] = [summary.median, summary.p95, summary.p99].map(shorten);
    Summary { median, p95, p99, ..summary }
}

fn summarize(table: &mut Table) {
    let all = table.series.clone();
    for series in &mut table.series {
        let samples: Vec<f64> = series.samples.iter().flatten().copied().collect();
        series.summary = statistics::summary(&samples, SEED).map(short);
        let Some(baseline) = table.baseline.as_ref().filter(|id| **id != series.contender) else {
            continue;
        };
        let other =
            all.iter().find(|other| other.contender == *baseline && other.metric == series.metric);
        let ratio =
            other.and_then(|other| statistics::ratio(&series.samples, &other.samples, SEED));
        series.ratio = ratio.map(|ratio| Ratio { median: shorten(ratio.median), ..ratio });
    }
}

fn table(id: &str, case: Case, title: &str, place: Place, how: &str, series: Vec<Series>) -> Table {
    let mut table = Table {
        id: id.into(),
        case,
        title: title.into(),
        place,
        how: how.into(),
        baseline: Some("process".into()),
        series,
        timelines: Vec::new(),
        curves: Vec::new(),
        findings: Vec::new(),
        failures: Vec::new(),
    };
    summarize(&mut table);
    table
}

fn start_on_host(day: u64) -> Table {
    let mut draw = Draw::seeded(day * 100 + 1);
    let of = [("process", 0.6), ("duplex-container", 6.7), ("crun", 14.3), ("podman", 96.6)];
    let mut all = series(&mut draw, "first_byte", Unit::Milliseconds, &of);
    all.extend(series(
        &mut draw,
        "exit",
        Unit::Milliseconds,
        &of.map(|(id, time)| (id, time * 1.2)),
    ));
    // Two rounds of one failed.
    for lost in [4, 17] {
        all[2].samples[lost] = None;
    }
    let how = "From exec of the contender to the first byte on its stdout, and to its exit, as the caller sees them, \
               on the monotonic clock.\n\nThe page cache is warm: two rounds before those that count.";
    let mut table =
        table("start.host.warm", Case::Start, "Start, warm page cache", Place::Host, how, all);
    let phase = |name: &str, end, by: &str| Phase { name: name.into(), end, by: by.into() };
    table.timelines = vec![Timeline {
        contender: "duplex-container".into(),
        unit: Unit::Milliseconds,
        phases: vec![
            phase("main", 0.3, "duplex"),
            phase("command line, image", 0.7, "duplex"),
            phase("control group", 1.2, "duplex"),
            phase("clone3 with six namespaces", 2.1, "duplex"),
            phase("mounts", 3.0, "PID 1"),
            phase("users, layered image", 2.8, "duplex"),
            phase("system call filter", 3.3, "PID 1"),
            phase("exec", 4.9, "PID 1"),
            phase("first byte", 6.7, "duplex"),
        ],
    }];
    table.failures = vec![Fact {
        name: "crun, first_byte".into(),
        value: "2 of 30: exit status 1: cgroup is busy".into(),
    }];
    table
}

fn start_in_testbed(day: u64) -> Table {
    let mut draw = Draw::seeded(day * 100 + 2);
    let of = [
        ("process", 9.0),
        ("duplex-container", 88.0),
        ("duplex-vm", 2450.0),
        ("qemu-microvm", 5200.0),
    ];
    let all = series(&mut draw, "first_byte", Unit::Milliseconds, &of);
    let how = "The same schedule inside the testbed, by an observer there.";
    let mut table = table(
        "start.testbed.warm",
        Case::Start,
        "Start, warm page cache",
        Place::Testbed,
        how,
        all,
    );
    let phase = |name: &str, end| Phase { name: name.into(), end, by: "duplex".into() };
    table.timelines = vec![Timeline {
        contender: "duplex-vm".into(),
        unit: Unit::Milliseconds,
        phases: vec![
            phase("main", 30.0),
            phase("first KVM_RUN", 380.0),
            phase("guest's init", 2100.0),
            phase("first byte", 2440.0),
        ],
    }];
    table
}

fn cpu(day: u64) -> Table {
    let mut draw = Draw::seeded(day * 100 + 3);
    let mut all = Vec::new();
    for (metric, unit, around, container) in [
        ("integer", Unit::PerSecond, 1.9e9, 1.0),
        ("memory_bandwidth", Unit::BytesPerSecond, 8.4e9, 0.99),
        ("system_call", Unit::PerSecond, 4.1e6, 0.82),
        ("fork_exec", Unit::PerSecond, 900.0, 0.71),
    ] {
        let of = [
            ("process", around),
            ("duplex-container", around * container),
            ("crun", around * 0.93),
        ];
        all.extend(series(&mut draw, metric, unit, &of));
    }
    let how = "A fixed amount of work, timed by the probe's own monotonic clock.";
    table("cpu.host", Case::Cpu, "Computing", Place::Host, how, all)
}

fn memory(day: u64) -> Table {
    let mut draw = Draw::seeded(day * 100 + 4);
    let of = [("process", 0.31e6), ("duplex-container", 2.9e6), ("crun", 3.4e6)];
    let mut all = series(&mut draw, "idle", Unit::Bytes, &of);
    // A contender of which nothing could be measured.
    all.push(Series {
        contender: "podman".into(),
        metric: "idle".into(),
        unit: Unit::Bytes,
        samples: vec![None; 30],
        summary: None,
        ratio: None,
    });
    let how = "The proportional set size of every process that an instance needs.";
    table("memory.host", Case::Memory, "Memory of an idle instance", Place::Host, how, all)
}

fn density(day: u64) -> Table {
    let mut draw = Draw::seeded(day * 100 + 5);
    let of = [("duplex-container", 41.0), ("crun", 28.0)];
    let all = series(&mut draw, "starts_a_second", Unit::PerSecond, &of);
    let how = "Instances are started one after the other and kept.";
    let mut table = table("density.host", Case::Density, "Many at once", Place::Host, how, all);
    let curve = |contender: &str, metric: &str, unit, at: &dyn Fn(f64) -> f64, end: &str| Curve {
        contender: contender.into(),
        metric: metric.into(),
        unit,
        points: [1, 2, 5, 10, 20, 50].map(|n| (n, at(f64::from(n)))).into(),
        end: end.into(),
    };
    let all_started = "all 50 that were asked for";
    table.curves = vec![
        curve("duplex-container", "start", Unit::Milliseconds, &|n| 6.5 + n * 0.125, all_started),
        curve("crun", "start", Unit::Milliseconds, &|n| 14.0 + n * 0.5, all_started),
        curve(
            "podman",
            "start",
            Unit::Milliseconds,
            &|n| 90.0 + n * 1.25,
            "memory: 12 % are left on this machine",
        ),
        curve("process", "start", Unit::Milliseconds, &|n| rounded(0.6 + n * 0.01), all_started),
        curve("duplex-container", "memory", Unit::Bytes, &|n| n * 2.9e6, all_started),
        curve("crun", "memory", Unit::Bytes, &|n| n * 3.4e6, all_started),
    ];
    table
}

fn isolation() -> Table {
    let how = "The probe looks around from inside and says what it finds.";
    let mut table = table(
        "isolation.host",
        Case::Isolation,
        "What a workload sees and reaches",
        Place::Host,
        how,
        vec![],
    );
    let finding = |subject: &str, meaning: &str, found: [&str; 3]| Finding {
        subject: subject.into(),
        meaning: meaning.into(),
        found: ["process", "duplex-container", "duplex-vm"]
            .into_iter()
            .map(Into::into)
            .zip(found.map(Into::into))
            .collect(),
    };
    table.findings = vec![
        finding(
            "kernel",
            "Who has the kernel of this host (6.1.0) has its faults, and what gets out by them.",
            ["6.1.0: the same", "6.1.0: the same", "6.12.0: another"],
        ),
        finding(
            "filter",
            "How many numbers of system calls a filter lets through.",
            ["none: all 374 pass", "291 of 374 pass", "none: all 374 pass"],
        ),
        finding(
            "processes",
            "Who can be seen; this host has more.",
            ["143 besides the probe", "1 besides the probe", "38 besides the probe"],
        ),
    ];
    table.series = [("process", 46.0), ("duplex-container", 19.0), ("duplex-vm", 46.0)]
        .map(|(contender, reached)| Series {
            contender: contender.into(),
            metric: "reachable_calls".into(),
            unit: Unit::Count,
            samples: vec![Some(reached)],
            summary: None,
            ratio: None,
        })
        .into();
    summarize(&mut table);
    table
}
