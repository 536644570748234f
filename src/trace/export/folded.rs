//! Stacks on one line each, from the outermost to the innermost, with nanoseconds: what flame graphs are
//! made of. An exit's time in the VMM is on top of the function of the guest that it came from.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};

use super::Error;
use crate::trace::event::{Access, Event};
use crate::trace::exits::Reason;
use crate::trace::file::read::{Block, Reader};
use crate::trace::summary::{Names, reason};
use crate::trace::symbols::Symbols;

/// The most different stacks: what is beyond has one line.
const MOST_STACKS: usize = 1 << 16;

pub(super) fn write<R: Read + Seek>(
    reader: &mut Reader<R>,
    symbols: Option<Symbols>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut names = Names::new(symbols);
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    let mut add = |stack: String, time: u64| {
        let known = stacks.contains_key(&stack) || stacks.len() < MOST_STACKS;
        let time_of = stacks.entry(if known { stack } else { "others".to_owned() }).or_default();
        *time_of = time_of.saturating_add(time);
    };
    while let Some(block) = reader.next_block()? {
        match block {
            Block::Devices(devices) => names.devices(devices),
            Block::Events(events) => {
                for event in events.iter() {
                    match event {
                        Event::Exit(exit) => {
                            let function =
                                exit.rip.map_or("unknown".to_owned(), |rip| names.function(rip));
                            let source = frame(&events.source.to_string());
                            let guest = format!("{source};guest;{}", frame(&function));
                            let handled = match names.register(&exit) {
                                Some(register) => {
                                    let way = match register.access {
                                        Access::Read => "read",
                                        Access::Write => "write",
                                    };
                                    format!("{} ({way})", register.text())
                                }
                                None => reason(&exit),
                            };
                            add(format!("{guest};VMM: {}", frame(&handled)), exit.vmm);
                            // Only where the VMM has interrupted it is that where the guest was all the time.
                            let was_there = exit.reason == Reason::Interrupted;
                            let ran = if was_there { guest } else { format!("{source};guest") };
                            add(ran, exit.guest);
                        }
                        Event::Call(call) => {
                            let name = crate::trace::calls::name(call.number);
                            add(format!("process {};{}", call.process, frame(&name)), call.took);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    for (stack, time) in stacks {
        writeln!(out, "{stack} {time}")?;
    }
    Ok(())
}

/// A name without what separates frames and lines, or steers a terminal.
fn frame(name: &str) -> String {
    let plain = |c: char| if c == ';' || c.is_control() { '_' } else { c };
    name.chars().map(plain).collect()
}
