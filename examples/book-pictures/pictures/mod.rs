//! The pictures, each from its data.

mod boot;
mod byte;
mod container;
mod exits;
pub(crate) mod measured;
mod memory_map;
mod svg;

use std::fs;
use std::path::{Path, PathBuf};

use duplex::bench::results::Results;
use serde_json::Value;

/// The reports of `duplex bench` that are kept, by name.
pub(crate) fn reports(data: &Path) -> Vec<Results> {
    let files = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let is_report = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("bench-"))
    };
    let mut files: Vec<PathBuf> = files.filter(is_report).collect();
    files.sort();
    let read = |path: &PathBuf| serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    files.iter().map(read).collect()
}

/// Name and content of each.
pub(crate) fn all(data: &Path) -> Vec<(&'static str, String)> {
    let json = |name: &str| -> Value {
        let text = fs::read_to_string(data.join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let runs = [
        ("duplex boot, quiet", "boot-quiet.json"),
        ("duplex boot, the kernel talks: 12,651 characters", "boot-talkative.json"),
        ("duplex run, whose command writes 1 byte", "socket-1.json"),
        ("duplex run, whose command writes 1,048,576 bytes", "socket-1048576.json"),
    ];
    vec![
        ("memory-map.svg", memory_map::draw(&json("memory.json"))),
        ("boot.svg", boot::draw(&json("boot-instructions.json"))),
        ("exits.svg", exits::draw(&runs.map(|(run, file)| (run, json(file))))),
        ("byte.svg", byte::draw(&json("trace-talkative.json"), &json("trace-socket.json"))),
        ("container.svg", container::draw(&json("container.json"))),
    ]
}
