//! What fuzzing has found to reach something new in reading traces, once more; and mutations of a trace.

use crate::common::kept::replay;
use crate::fuzz;
use crate::golden::trace;
use crate::samples::Random;

#[test]
fn kept_traces_hurt_nobody() {
    replay("trace", |bytes| {
        fuzz::read(bytes);
    });
}

#[test]
fn a_trace_is_read_and_no_mutation_of_it_hurts_anybody() {
    let (_files, path, _) = trace();
    let whole = std::fs::read(path).unwrap();
    assert!(fuzz::read(&whole));
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    for _ in 0..300 {
        let mut mutated = whole.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(mutated.len());
            match random.below(3) {
                0 => mutated[at] = 0xFF,
                1 => mutated[at] ^= 1 << random.below(8),
                _ => mutated.truncate(at.max(16)),
            }
        }
        fuzz::read(&mutated);
    }
}
