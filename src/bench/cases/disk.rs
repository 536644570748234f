//! How fast files are read, written and made durable, on the paths that workloads have to a disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::asked::{Asker, job};
use super::yard::Yard;
use crate::bench::contender::{Contender, Job};
use crate::bench::ground::Ground;
use crate::bench::results::{Case, Fact, Finding, Place, Table, Unit};
use crate::bench::rounds::Measured;

/// What the probe measures, and in what.
const FIGURES: [(&str, Unit); 6] = [
    ("sequential_write", Unit::BytesPerSecond),
    ("sequential_read", Unit::BytesPerSecond),
    ("random_write", Unit::PerSecond),
    ("random_read", Unit::PerSecond),
    ("fsync", Unit::Milliseconds),
    ("fsync_p99", Unit::Milliseconds),
];

/// Who has a layer on a virtual disk, besides the plain process, whose file is as good as any.
const WITH_LAYER: [&str; 2] = ["process", "duplex-vm"];

/// How much: MiB of the file, and operations anywhere in it. Natively, and emulated.
const AMOUNT: [&str; 2] = ["64", "1024"];
const AMOUNT_EMULATED: [&str; 2] = ["8", "128"];

/// The same file, through a volume and through a layer of the root.
pub fn run(ground: &mut Ground<'_>) -> Table {
    let amount = if ground.place == Place::Host { AMOUNT } else { AMOUNT_EMULATED };
    let yard = Yard::prepare(ground);
    let file_system = yard.as_ref().map_or("none", Yard::file_system);
    let [mib, operations] = amount;
    let how = format!(
        "The probe makes a file of {mib} MiB on the same file system of this machine ({file_system}) by each \
         contender's own way: volume: in a directory of the host that the contender shows (for containers a bind \
         mount, for duplex's VM virtiofs, for the plain process the directory itself); layer: in the root file \
         system, whose changes are kept in an ext4 image in that file system (for duplex's VM overlayfs on \
         virtio-blk; others have no such layer, the plain process writes to the directory). Blocks of 256 KiB in \
         order, then {operations} blocks of 4 KiB at places drawn with a fixed seed, reading and writing; with \
         direct I/O where the file system takes it. What was written is made durable within the time \
         (fdatasync). fsync: the time that fsync(2) takes after a write of 4 KiB, the median of an eighth as \
         many; fsync_p99: their 99th percentile (of less than a hundred, the greatest). The host may keep what a guest reads in its page cache. \
         Memory: 256 MiB."
    );
    let mut table = ground.table(Case::Disk, "", "Reading, writing, making durable", how);
    let yard = match yard {
        Ok(yard) => yard,
        Err(reason) => {
            table.failures.push(Fact { name: "all".into(), value: reason });
            return table;
        }
    };
    table.baseline = ground.baseline();
    let asker = Asker::on(ground.place, ground.stop);
    let baseline = table.baseline.clone();
    let ways: RefCell<BTreeMap<String, String>> = RefCell::default();
    let found = ground.rounds(ground.schedule, baseline.as_deref(), |one, turn| {
        let mut all = vec![through_volume(&asker, one, &yard, amount, turn.number)?];
        if WITH_LAYER.contains(&one.described().id.as_str()) {
            all.push(through_layer(&asker, one, &yard, amount, turn.number)?);
        }
        let told: Vec<&str> = all.iter().map(|path| path.way.as_str()).collect();
        ways.borrow_mut().insert(one.described().id.clone(), told.join(", "));
        Ok(all.into_iter().flat_map(|path| path.figures).collect())
    });
    table.take(found);
    table.findings = vec![Finding {
        subject: "direct I/O".into(),
        meaning: "Whether reads and writes go past the page cache of the kernel that the workload has. Figures of one \
                  who does and one who does not cannot be compared."
            .into(),
        found: ways.into_inner(),
    }];
    table
}

/// What came of one path.
struct Path {
    figures: Vec<Measured>,
    /// Whether it was direct I/O, in words.
    way: String,
}

fn through_volume(
    asker: &Asker<'_>,
    contender: &dyn Contender,
    yard: &Yard,
    amount: [&str; 2],
    number: u64,
) -> Result<Path, String> {
    let job = Job { data: Some(yard.data()), ..question(&yard.seen_by(contender), amount) };
    ask(asker, contender, &job, number, "volume")
}

fn through_layer(
    asker: &Asker<'_>,
    contender: &dyn Contender,
    yard: &Yard,
    amount: [&str; 2],
    number: u64,
) -> Result<Path, String> {
    if contender.described().id == "process" {
        return ask(asker, contender, &question(&yard.seen_by(contender), amount), number, "layer");
    }
    let layer = yard.file(&format!("layer-{number}.ext4"));
    let job = Job { layer: Some(layer.clone()), ..question("/", amount) };
    // A name of its own: the turn's first start has the number.
    let figures = ask(asker, contender, &job, number | LAYER, "layer");
    let _ = fs::remove_file(layer);
    contender.clean_up(number | LAYER);
    figures
}

/// Numbers of starts that are the second of their turn.
const LAYER: u64 = 1 << 32;

fn question(directory: &str, [mib, operations]: [&str; 2]) -> Job {
    job(&["disk", directory, mib, operations])
}

fn ask(
    asker: &Asker<'_>,
    contender: &dyn Contender,
    job: &Job,
    number: u64,
    path: &str,
) -> Result<Path, String> {
    let answer = asker.ask(contender, job, number).map_err(|why| format!("{path}: {why}"))?;
    let figure = |(name, unit): &(&str, Unit)| {
        Ok(Measured::new(format!("{path}.{name}"), *unit, answer.number(name)?))
    };
    let direct = answer.0.get("direct").and_then(Value::as_bool).unwrap_or(false);
    let way = format!("{path}: {}", if direct { "direct" } else { "by the page cache" });
    Ok(Path { figures: FIGURES.iter().map(figure).collect::<Result<_, String>>()?, way })
}
