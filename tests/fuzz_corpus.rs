//! A short, deterministic run of what `make fuzz` does for as long as it is told: the fuzzer's
//! seeds, and mutations of each, through the loader, and what it has found.
//!
//! `UPDATE_SEEDS=1 cargo test --test fuzz_corpus` writes the seeds anew from `tests/samples`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;

mod common;
#[path = "../fuzz/gdb.rs"]
mod gdb;
#[path = "../fuzz/loader.rs"]
mod loader;
#[path = "samples/mod.rs"]
mod samples;

use samples::elf::START;
use samples::packed::FORMATS;
use samples::{BzImage, Elf, ProgramHeader, Random, noise};

const MUTATIONS_PER_SEED: u64 = 500;
/// Values that headers lie with.
const TELLING: [u64; 8] = [0, 1, 0xFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 0x1_0000_0000, 1 << 63, u64::MAX];

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")
}

/// One kernel of every kind that the loader knows, as small as can be.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let elf = Elf::kernel(noise(0x300)).build();
    let two = [ProgramHeader::load(START, 0x1800), ProgramHeader::load(START + 0x1800, 0x100)];
    let mut seeds = BTreeMap::from([
        ("elf".to_owned(), elf.clone()),
        ("elf-pvh".to_owned(), Elf::pvh(noise(0x300)).build()),
        ("elf-two-in-a-page".to_owned(), Elf::kernel(noise(0x1800)).segments(&two).build()),
        ("bzimage".to_owned(), BzImage::kernel(noise(0x400)).build()),
        ("text".to_owned(), b"no kernel\n".to_vec()),
    ]);
    seeds.extend(FORMATS.map(|(format, pack)| (format.to_owned(), pack(&elf))));
    seeds
}

fn committed() -> BTreeMap<String, Vec<u8>> {
    let entries = directory().read_dir().unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn the_seeds_are_what_the_samples_make() {
    if std::env::var_os("UPDATE_SEEDS").is_some() {
        for (name, bytes) in seeds() {
            std::fs::write(directory().join(name), bytes).unwrap();
        }
    }
    let committed = committed();
    for (name, bytes) in seeds() {
        assert_eq!(committed.get(&name), Some(&bytes), "{name}: UPDATE_SEEDS=1 writes it anew");
    }
    assert!(committed.values().map(Vec::len).sum::<usize>() < 200 << 10);
}

#[test]
fn no_seed_and_no_mutation_of_one_is_loaded_wrongly() {
    for (name, bytes) in committed() {
        assert_eq!(loader::load(&bytes), name != "text", "{name}");
        let mut loaded = 0;
        let mut random = Random(0x2545_F491_4F6C_DD1D);
        for _ in 0..MUTATIONS_PER_SEED {
            let mut mutated = bytes.clone();
            for _ in 0..=random.below(3) {
                mutate(&mut mutated, &mut random);
            }
            loaded += u64::from(loader::load(&mutated));
        }
        eprintln!("{name}: {loaded} of {MUTATIONS_PER_SEED} mutations loaded");
    }
}

#[test]
fn what_fuzzing_has_found_is_loaded_or_refused() {
    common::kept::replay("kernel", |bytes| {
        loader::load(bytes);
    });
}

#[test]
fn hostile_packets_to_the_gdb_stub_and_mutations_of_them_crash_nothing() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    common::kept::replay("gdb", |bytes| {
        gdb::feed(bytes);
        // The random numbers are the same for each input, and enough of them differ.
        let mut random = Random(0x2545_F491_4F6C_DD1D ^ u64::try_from(bytes.len()).unwrap());
        for _ in 0..50 {
            let mut mutated = bytes.to_vec();
            mutate(&mut mutated, &mut random);
            gdb::feed(&mutated);
        }
    });
    for _ in 0..2000 {
        let length = random.below(200);
        let noise: Vec<u8> =
            (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        gdb::feed(&noise);
    }
}

#[test]
fn an_interrupt_of_a_guest_that_stands_still_is_not_told_once_it_runs() {
    // Found by fuzzing: the stub told of it as a stop, and the guest that ran was asked for its memory.
    gdb::feed(b"\x01\x03\n\x03\nc\nm0,4\nm0,4\nm0,4");
}

/// One change: mostly where headers are.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let near = if random.below(4) == 0 { bytes.len() } else { bytes.len().min(0x300) };
    let at = random.below(near.max(1));
    match random.below(5) {
        0 => bytes.truncate(at),
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => {
            let length = random.below(64).min(bytes.len() - at);
            let copied = bytes[at..at + length].to_vec();
            bytes.splice(at..at, copied);
        }
        _ => {
            let value = TELLING[random.below(TELLING.len())].to_le_bytes();
            let width = 1 << random.below(4);
            let at = at / width * width;
            if let Some(field) = bytes.get_mut(at..at + width) {
                field.copy_from_slice(&value[..width]);
            }
        }
    }
}
