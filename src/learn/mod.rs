//! Lessons: guests of a few instructions, told exit by exit from what really happened.
//!
//! A guest is assembly in `guest-images/lessons`, assembled with the program. It runs on `/dev/kvm` an
//! instruction at a time, also where there is no hardware virtualization; the story is made of what the
//! registers, the memory and the exits were, and of nothing else. Questions and exercises are checked against
//! such a run.

mod assembler;
pub mod catalogue;
pub mod containers;
mod facts;
pub mod guest;
mod happened;
pub mod lesson;
mod lessons;
mod listing;
mod names;
pub mod narration;
mod object;
pub mod program;
pub mod runner;
pub mod steps;
mod stops;
mod walk;
