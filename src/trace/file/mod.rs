//! The file of a trace: a header and blocks, each with its kind and length. docs/trace.md has every byte.
//!
//! | file | idea |
//! |---|---|
//! | `about` | what a trace is of, and what else is said once |
//! | `write` | blocks out |
//! | `read` | blocks in, whoever made them |

pub mod about;
pub mod read;
pub mod write;

/// What a trace begins with.
const MAGIC: [u8; 8] = *b"duplextr";
/// Goes up when what is there changes its meaning; a block of a new kind needs no new version.
const VERSION: u32 = 1;
/// The magic, the version and the size of the header itself.
const HEADER: usize = 16;
/// A block's kind and the length of what follows, four bytes each.
const BLOCK: usize = 8;

// Kinds of blocks. All but events are JSON.
const ABOUT: u32 = 1;
const DEVICES: u32 = 2;
const LANE: u32 = 3;
const EVENTS: u32 = 4;
const PHASES: u32 = 5;
const STEPS: u32 = 6;
const COUNTERS: u32 = 7;
const END: u32 = 8;

/// The most bytes of a block; a longer one is none.
const MOST_BYTES: usize = 4 << 20;
/// What precedes the events of a block: the lane (4 bytes), how many bytes an event has (4), how many
/// events of the lane were dropped so far (8).
const EVENTS_HEADER: usize = 16;
