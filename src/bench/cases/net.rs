//! How fast a workload talks with this host, by the networks that it can have.

mod path;

use self::path::Path;
use super::asked::{Answer, Asker, job};
use super::held::Held;
use crate::bench::contender::Contender;
use crate::bench::ground::Ground;
use crate::bench::results::{Case, Fact, Place, Table, Unit};
use crate::bench::workshop::PROBE;

/// What the probe measures, and in what.
const FIGURES: [(&str, Unit); 4] = [
    ("send", Unit::BytesPerSecond),
    ("receive", Unit::BytesPerSecond),
    ("round_trip", Unit::Milliseconds),
    ("round_trip_p99", Unit::Milliseconds),
];

/// How much: MiB each way, and bytes there and back. Natively, and emulated.
const AMOUNT: [&str; 2] = ["64", "1000"];
const AMOUNT_EMULATED: [&str; 2] = ["4", "100"];

/// The most seconds that a server lives.
const SERVED: u64 = 600;

/// A client behind each wall and a server in front of it, by each path that there is here.
pub fn run(ground: &mut Ground<'_>) -> Vec<Table> {
    vec![by_user(ground), by(ground, Path::Bridge)]
}

/// By the path that changes nothing here.
pub fn by_user(ground: &mut Ground<'_>) -> Table {
    by(ground, Path::User)
}

fn by(ground: &mut Ground<'_>, path: Path) -> Table {
    let amount = if ground.place == Place::Host { AMOUNT } else { AMOUNT_EMULATED };
    let [mib, rounds] = amount;
    let how = format!(
        "A server of the probe's runs on this machine, without a wall; the probe behind each wall connects to it by \
         TCP {}. send, receive: {mib} MiB in blocks of 128 KiB one way, from the first byte until the other side has \
         the last; round_trip: a byte there and back, {rounds} times one after the other, the median, with Nagle's \
         algorithm off; round_trip_p99: their 99th percentile. The plain process talks over the loopback \
         interface. The contenders' own set-up of the network is not in these times. Memory: 256 MiB.",
        path.how()
    );
    let mut table = ground.table(Case::Net, path.word(), path.title(), how);
    table.baseline = ground.baseline();
    let _way = match path.prepare(ground.workshop, ground.place) {
        Ok(way) => way,
        Err(reason) => {
            table.failures.push(Fact { name: "all".into(), value: reason });
            return table;
        }
    };
    let asker = Asker::on(ground.place, ground.stop);
    let server = ground.workshop.in_image(PROBE);
    let baseline = table.baseline.clone();
    let place = ground.place;
    let all: Vec<&dyn Contender> =
        ground.contenders.iter().filter(|one| path.is_had_by(**one, place)).copied().collect();
    let found = ground.rounds_of(&all, ground.schedule, baseline.as_deref(), |one, turn| {
        let mut command = std::process::Command::new(&server);
        command.args(["net", "serve", path.listens_at(one), &SERVED.to_string()]);
        let mut server = Held::of(&asker, &mut command)?;
        let port = server.answer(&asker)?.number("port")?;
        let answer = call(&asker, one, path, port, amount, turn.number)?;
        server.end(&asker)?;
        answer.figures(&FIGURES)
    });
    table.take(found);
    table
}

fn call(
    asker: &Asker<'_>,
    contender: &dyn Contender,
    path: Path,
    port: f64,
    [mib, rounds]: [&str; 2],
    number: u64,
) -> Result<Answer, String> {
    let port = port.to_string();
    let address = path.server_seen_by(contender);
    let job = path.ask(job(&["net", "call", address, &port, mib, rounds]));
    asker.ask(contender, &job, number)
}
