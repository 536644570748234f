//! What happened and when.
//!
//! | file | idea |
//! |---|---|
//! | `boot` | the phases of a start |
//! | `exits` | exits by reason, counted |
//! | `steps` | when another process was done with each of its steps |
//! | `calls` | what system calls are called |
//! | `event` | what is recorded, each event as eight words |
//! | `ring` | events between the thread that makes them and the one that writes them |
//! | `tracer` | a lane for each source of events, and the thread that writes |
//! | `devices` | who answers where: addresses back into names |
//! | `file` | the file of a trace, written and read |
//! | `cost` | how often, how long, and how that is spread |
//! | `requests` | requests of a queue, from kick to interrupt |
//! | `symbols` | what the functions of a guest's kernel are called |
//! | `system_map` | the file that a kernel's build leaves beside it: addresses and names |
//! | `kallsyms` | the table of its symbols that a kernel has for itself |
//! | `summary` | what a trace tells as a whole |
//! | `live` | what a trace that is being made tells of the last moment |
//! | `export` | a trace for other programs |

pub mod boot;
pub mod calls;
pub mod cost;
pub mod devices;
pub mod event;
pub mod exits;
pub mod export;
pub mod file;
mod kallsyms;
pub mod live;
pub mod requests;
pub mod ring;
pub mod steps;
pub mod summary;
pub mod symbols;
pub mod system_map;
pub mod tracer;
