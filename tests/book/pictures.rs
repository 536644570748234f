//! The pictures are what the script makes of the data that is kept.

use std::fs;
use std::path::Path;

#[path = "../../examples/book-pictures/pictures/mod.rs"]
mod drawn;

#[test]
fn pictures_are_drawn_from_the_data_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/book/pictures");
    let drawn = drawn::all(&folder.join("data"));
    for (name, svg) in &drawn {
        let kept = fs::read_to_string(folder.join(name)).unwrap();
        assert!(kept == *svg, "{name}: cargo run --example book-pictures");
    }
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
    files.retain(|name| name.ends_with(".svg"));
    assert_eq!(files.len(), drawn.len(), "a picture that nothing draws: {files:?}");
}

#[test]
fn the_measured_table_is_what_the_reports_say() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/book");
    let chapter = fs::read_to_string(book.join("06-vm-or-container.md")).unwrap();
    let reports = drawn::reports(&book.join("pictures/data"));
    assert!(!reports.is_empty());
    let made = drawn::measured::in_chapter(&chapter, &reports);
    assert!(made == chapter, "cargo run --example book-pictures");
}
