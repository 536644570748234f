//! A look at a trace while it is made, on a terminal.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::common::process::output;
use crate::common::terminal::Terminal;
use crate::common::{duplex, text};
use crate::golden::trace;

/// What another screen begins with, and what gives the first one back.
const ENTERED: &str = "\x1b[?1049h";
const LEFT: &str = "\x1b[?25h\x1b[?1049l";

fn watch(path: &Path) -> Terminal {
    let mut terminal = Terminal::start(&mut duplex(&["trace", "show", "--live", text(path)]));
    terminal.wait_for(ENTERED);
    terminal.wait_for("LAST EXITS");
    terminal
}

/// Every way out leaves the terminal as it was.
fn left(mut terminal: Terminal, status: i32) {
    terminal.wait_for(LEFT);
    assert_eq!(terminal.end().code(), Some(status));
    assert!(terminal.is_as_before());
}

#[test]
fn what_comes_is_seen_until_the_end() {
    let (_files, path, _) = trace();
    let whole = std::fs::read(&path).unwrap();
    // A trace whose end is still to come.
    let half = whole.len() / 2;
    std::fs::write(&path, &whole[..half]).unwrap();
    let mut terminal = watch(&path);
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(&whole[half..]).unwrap();
    terminal.wait_for("ended");
    terminal.wait_for("611 events, 0 dropped");
    terminal.wait_for("no device: port 0x80");
    terminal.type_in("q");
    left(terminal, 0);
}

#[test]
fn a_trace_that_is_begun_anew_is_followed_however_far_it_has_come() {
    let (_files, path, _) = trace();
    let mut terminal = watch(&path);
    terminal.wait_for("--kernel fixture");
    let mut another = std::fs::read(&path).unwrap();
    let name = another.windows(7).position(|bytes| bytes == b"fixture").unwrap();
    another[name..name + 7].copy_from_slice(b"another");
    std::fs::write(&path, another).unwrap();
    terminal.wait_for("--kernel another");
    terminal.wait_for("611 events");
    terminal.type_in("q");
    left(terminal, 0);
}

#[test]
fn every_way_out_gives_the_terminal_back() {
    let (_files, path, _) = trace();
    let mut terminal = watch(&path);
    terminal.wait_until_raw();
    terminal.type_in([3]);
    left(terminal, 0);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let terminal = watch(&path);
        terminal.signal(signal);
        left(terminal, 128 + signal as i32);
    }
    // A file that is cut short below what was read is one that is begun anew; garbage is said to be some.
    let mut terminal = watch(&path);
    std::fs::write(&path, "nothing").unwrap();
    terminal.wait_for(LEFT);
    terminal.wait_for("it is no trace");
    assert_eq!(terminal.end().code(), Some(125));
    assert!(terminal.is_as_before());
}

#[test]
fn a_window_that_changes_is_filled_and_a_stop_gives_it_back() {
    let (_files, path, _) = trace();
    let mut terminal = watch(&path);
    terminal.resize(50, 200);
    terminal.signal(Signal::SIGWINCH);
    // Wide enough for what was cut off in 80 columns: the whole line of the heading, of which nothing is erased.
    terminal.wait_for("q quits\r\n");
    terminal.wait_for("LAST EXITS");
    terminal.signal(Signal::SIGTSTP);
    terminal.wait_for(LEFT);
    terminal.stopped();
    assert!(terminal.is_as_before());
    terminal.signal(Signal::SIGCONT);
    terminal.wait_for(ENTERED);
    terminal.wait_until_raw();
    terminal.type_in("q");
    left(terminal, 0);
}

#[test]
fn without_a_terminal_there_is_no_look() {
    let (_files, path, _) = trace();
    let refused = output(&mut duplex(&["trace", "show", "--live", text(&path)]));
    assert_eq!(refused.status.code(), Some(125));
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(stderr.contains("standard output is no terminal"), "{stderr}");
    assert!(refused.stdout.is_empty());
}
