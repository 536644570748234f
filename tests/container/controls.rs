//! The attempts to get out with the one wall taken away that holds them: each gets out then. They run in
//! the testbed, whose machine is thrown away; with DUPLEX_SOAK each after the same attempt with the wall.

use std::fmt::Write as _;

use super::attempts::{ATTEMPTS, Attempt, Control, ON_TERMINAL};
use super::escapes::image_with_attempts;
use crate::common::testbed::{disk, in_testbed};
use crate::common::{has_testbed, process, say, soak, text};

/// Shell functions: `start_target COMMAND…` starts what makes what attempts are after, and puts what it
/// says about it into the environment, and into $facts as options; `attempt ROW HOW COMMAND…` tries.
pub(crate) const FUNCTIONS: &str = r#"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin ROOT TARGET=/mnt/target
# Of this session alone, unlike /run.
here=$(mktemp -d)
export XDG_RUNTIME_DIR=$here
duplex=/run/duplex/bin/duplex
mkfifo $here/hold $here/facts && exec 3<>$here/hold
start_target() {
    "$@" < $here/hold 3<&- > $here/facts &
    exec 4< $here/facts
    facts=
    while read -r fact <&4 && [ "$fact" != ready ]; do
        export "$fact"; facts="$facts -e $fact"
    done
    exec 4<&-
}
attempt() {
    row="$1 $2"; shift 2
    said=$("$@" 2>&1 3<&- < /dev/null); status=$?
    echo "$row $status" $said
}
on_terminal() { timeout 60 script -qec "$*" /dev/null; }
"#;

/// A disk whose file system allows idmapped mounts, for volumes; an interface beside loopback; and what the
/// attempts are after.
const BEFORE: &str = r#"
mkfs.ext4 -q -F /dev/vda && mount /dev/vda /mnt && mkdir -p $TARGET/inside || exit
mknod -m 666 $TARGET/inside/zero c 1 5
ip link add escape0 type veth peer name escape1 && ip link set escape0 up || exit
start_target $ROOT/bin/escape target $TARGET
$duplex run --container $ROOT /bin/escape list > /dev/null
"#;

/// Each attempt, with the wall and without.
fn script(image: &str) -> String {
    let mut script = format!("ROOT={image}\n{FUNCTIONS}{BEFORE}");
    for Attempt { name, options, control, .. } in ATTEMPTS {
        let options = options.join(" ").replace("INSIDE", "$TARGET/inside");
        let run = if *name == ON_TERMINAL { "on_terminal" } else { "timeout 60" };
        let shell = if *name == ON_TERMINAL { "on_terminal" } else { "timeout 60 sh -c" };
        let container = |more: &str| {
            format!(
                "{run} $duplex run --container $facts {options} {more} \
                 $ROOT /bin/escape {name}"
            )
        };
        let without = match control {
            Control::Options(more) => container(&more.join(" ")),
            Control::Shell(command) => format!("{shell} '{}'", command.replace('\'', "'\\''")),
        };
        // On the testbed's kernel, too; the short list has them on this host alone.
        if soak() {
            writeln!(script, "attempt {name} with {}", container("")).unwrap();
            for (number, fewer) in but_one(control).iter().enumerate() {
                writeln!(script, "attempt {name} with-{number} {}", container(fewer)).unwrap();
            }
        }
        writeln!(script, "attempt {name} without {without}").unwrap();
    }
    script.push_str(SWAP);
    script
}

/// A control's options, each time without another one of them.
fn but_one(control: &Control) -> Vec<String> {
    let Control::Options(words) = control else { return Vec::new() };
    let pairs: Vec<_> = words.chunks(2).map(|pair| pair.join(" ")).collect();
    let without = |number| [&pairs[..number], &pairs[number + 1..]].concat().join(" ");
    if pairs.len() < 2 { Vec::new() } else { (0..pairs.len()).map(without).collect() }
}

/// What `links_that_change_lead_nowhere_else` is about, with a path that is looked up outside.
const SWAP: &str = r#"
mkdir /mnt/swapped /mnt/outside
look_up_outside() {
    timeout 60 $ROOT/bin/escape swap /mnt/swapped /mnt/outside | {
        read -r ready
        until [ -e /mnt/outside/new ]; do mkdir -p /mnt/swapped/data/new; done
        touch /mnt/swapped/stop
        echo out: made a directory outside
    }
}
attempt swap without look_up_outside
"#;

#[test]
fn without_its_wall_every_attempt_gets_out() {
    if !has_testbed() {
        return;
    }
    let (_directory, image) = image_with_attempts();
    let _disk = disk();
    let output = process::output(&mut in_testbed(&script(text(&image))));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let of = |name: &str, how: &str| {
        let start = format!("{name} {how} ");
        let line = said.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or("nothing was said").to_owned()
    };
    let mut wrong = String::new();
    let mut table = String::new();
    let swap = of("swap", "without");
    if !swap.contains("out: ") {
        writeln!(wrong, "swap without: {swap}").unwrap();
    }
    for Attempt { name, held_by, control, .. } in ATTEMPTS {
        let mut with = vec!["1 held: on this host".to_owned()];
        if soak() {
            let fewer = 0..but_one(control).len();
            let fewer = fewer.map(|number| of(name, &format!("with-{number}")));
            with = [of(name, "with")].into_iter().chain(fewer).collect();
        }
        let is_held = with.iter().all(|said| said.contains("1 held: "));
        let without = of(name, "without");
        if !is_held || !without.starts_with("0 ") || !without.contains("out: ") {
            writeln!(wrong, "{name}: {with:?}\n    without: {without}").unwrap();
        }
        let control = match control {
            Control::Options(options) => options.join(" "),
            Control::Shell(command) => (*command).to_owned(),
        };
        writeln!(table, "{name}\n    held by {held_by}: {with:?}\n    {control}: {without}")
            .unwrap();
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(wrong.is_empty(), "{wrong}{stderr}");
    say(&table);
}
