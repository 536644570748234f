//! What the wall costs: the VM, the container and what else is on this host, measured on the same work.
//!
//! ```text
//! schedule ──► case (start, cpu, …) ──► contender's command ──► observer ──► samples
//!                                                                              │ statistics
//!                              report.json ◄── results ◄───────────────────────┘
//! ```
//!
//! One observer stands outside of all contenders. They take turns in an order that is drawn anew for each
//! round, so that what disturbs the machine disturbs all alike, and are compared within rounds
//! (docs/bench.md).

pub mod cases;
pub mod claims;
pub mod compare;
pub mod contender;
pub mod contenders;
pub mod draw;
pub mod facts;
pub mod ground;
pub mod guest;
pub mod hybrid;
pub mod in_testbed;
pub mod labs;
pub mod measure;
pub mod observer;
pub mod report;
pub mod results;
pub mod rounds;
pub mod schedule;
pub mod scratch;
pub mod start;
pub mod statistics;
pub mod stop;
pub mod workshop;
