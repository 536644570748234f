//! What `duplex bench` does with its samples: the bootstrap is nearly all of it.
//! `cargo bench --bench statistics`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use duplex::bench::draw::Draw;
use duplex::bench::statistics::{ratio, summary};

/// Samples of a skewed distribution.
fn samples(count: usize, seed: u64) -> Vec<f64> {
    let mut draw = Draw::seeded(seed);
    let mut one = || f64::from(u32::try_from(draw.below(1 << 20)).unwrap()) / f64::from(1 << 20);
    (0..count).map(|_| 5.0 + one() * one()).collect()
}

fn statistics(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("statistics");
    // The rounds of a quick run, of an ordinary one, and of one that wants its p99.
    for count in [10, 60, 1000] {
        let (own, others) = (samples(count, 1), samples(count, 2));
        group.bench_function(BenchmarkId::new("summary", count), |bencher| {
            bencher.iter(|| summary(black_box(&own), 3));
        });
        let [own, others] =
            [own, others].map(|samples| samples.into_iter().map(Some).collect::<Vec<_>>());
        group.bench_function(BenchmarkId::new("ratio", count), |bencher| {
            bencher.iter(|| ratio(black_box(&own), black_box(&others), 3));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = statistics
}
criterion_main!(benches);
