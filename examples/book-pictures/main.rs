//! Draws the book's pictures, and writes its measured table, from the data kept beside the pictures.
//!
//!     cargo run --example book-pictures
//!     cargo run --example book-pictures -- --place "$K" "$H" >docs/book/pictures/data/memory.json
//!
//! The second says where a guest's kernel and initrd go; docs/book/pictures/data/take.sh takes the other
//! data. A test (`tests/book`) checks that the pictures are what this makes of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod pictures;

use std::path::Path;

use duplex::vm::boot::kernel::Kernel;
use duplex::vm::boot::plan::Plan;
use serde_json::json;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--place", kernel, initrd] => place(Path::new(kernel), Path::new(initrd)),
        _ => draw(),
    }
}

fn draw() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/book");
    let data = book.join("pictures/data");
    for (name, svg) in pictures::all(&data) {
        std::fs::write(book.join("pictures").join(name), svg).unwrap();
    }
    let chapter = book.join("06-vm-or-container.md");
    let text = std::fs::read_to_string(&chapter).unwrap();
    let text = pictures::measured::in_chapter(&text, &pictures::reports(&data));
    std::fs::write(chapter, text).unwrap();
}

/// Where the files go in a guest of 128 MiB, as a boot plans it.
fn place(kernel: &Path, initrd: &Path) {
    let memory = "128M".parse().unwrap();
    let kernel = Kernel::open(kernel).unwrap();
    let plan = Plan::new(kernel, Some(initrd), "quiet".parse().unwrap(), memory, 0).unwrap();
    let pieces: Vec<_> =
        plan.pieces.iter().map(|piece| json!({ "gpa": piece.gpa, "size": piece.size })).collect();
    let end = plan.written.iter().map(|range| range.end).max().unwrap();
    let initrd = plan.initrd.unwrap().gpa;
    println!(
        "{}",
        json!({ "memory": memory.bytes(), "kernel": pieces, "kernel_end": end, "initrd": initrd.start })
    );
}
