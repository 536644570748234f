//! Layers that are made to do harm: whiteouts, and one layer that prepares the ground for another.

use crate::layout::Layout;
use crate::tarball::Tarball;
use crate::yard::Yard;

fn refuses(yard: &Yard, what: &str, layers: &[Vec<u8>], reason: &str) {
    yard.refuses_bytes(what, &Layout::of(layers).archive(), reason);
}

#[test]
fn whiteouts_that_lead_out_are_refused() {
    let yard = Yard::new();
    let base = Tarball::new().directory("d").file("d/file", b"1").symlink("way", &yard.canary());
    let base = base.symlink("inside", "d").end();
    let layer = |archive: Tarball| [base.clone(), archive.end()];
    let on_the_way = "symbolic link is on its way";
    let cannot_be = "no whiteout that can be";
    let cases = [
        ("of nothing", Tarball::new().file("d/.wh.", b""), cannot_be),
        ("of itself", Tarball::new().file("d/.wh..", b""), cannot_be),
        ("of the parent", Tarball::new().file("d/.wh...", b""), cannot_be),
        ("of a whiteout", Tarball::new().file("d/.wh..wh.plnk", b""), cannot_be),
        ("upwards", Tarball::new().file("../.wh.canary", b""), "leads upwards"),
        ("absolute", Tarball::new().file("/.wh.etc", b""), "is absolute"),
        ("through a link", Tarball::new().file("way/.wh.secret", b""), on_the_way),
        ("of all through a link", Tarball::new().file("way/.wh..wh..opq", b""), on_the_way),
        ("through a link below", Tarball::new().file("inside/.wh.file", b""), on_the_way),
        ("as a directory", Tarball::new().directory("d/.wh.file"), "a whiteout is a file"),
        ("as a link", Tarball::new().symlink("d/.wh.file", "x"), "a whiteout is a file"),
        ("as a hard link", Tarball::new().hard_link("d/.wh.file", "d/file"), "is a file"),
        ("with something in it", Tarball::new().file(".wh.d/x", b""), "has nothing in it"),
        (
            "of all, with something in it",
            Tarball::new().file(".wh..wh..opq/x", b""),
            "nothing in it",
        ),
    ];
    for (what, archive, reason) in cases {
        refuses(&yard, what, &layer(archive), reason);
    }
}

#[test]
fn one_layer_cannot_lead_another_out() {
    let yard = Yard::new();
    let canary = yard.canary();
    let way = Tarball::new().symlink("way", &canary).end();
    let evil = Tarball::new().file("way/evil", b"evil").end();
    refuses(&yard, "a link, then a file", &[way.clone(), evil.clone()], "leads nowhere");
    let link = Tarball::new().hard_link("h", "way/secret").end();
    refuses(&yard, "a link, then a hard link", &[way, link], "symbolic link is on its way");
    let directory = Tarball::new().directory("way").file("way/a", b"").end();
    let replaced = Tarball::new().symlink("way", &canary).end();
    refuses(
        &yard,
        "a directory that becomes a link",
        &[directory, replaced, evil],
        "leads nowhere",
    );
    // What is one layer's end is not the next one's beginning.
    let half = Tarball::new().pax(&[("path", b"a")]).end();
    let rest = Tarball::new().file("x", b"").end();
    refuses(&yard, "a header for the next layer", &[half, rest], "is for no entry");
}

#[test]
fn many_layers_share_the_bounds() {
    let yard = Yard::new();
    let layer = |n: usize| Tarball::new().file(&format!("f{n}"), &[1; 1000]).end();
    let layers: Vec<_> = (0..10).map(layer).collect();
    let mut request = yard.request(&yard.source(&Layout::of(&layers).archive()));
    request.limits.size = 9000;
    // The archive itself has as much, but is read in its place.
    yard.refuses("many bytes in layers", &request, "more than 9000 bytes unpacked");
    request.limits = duplex::image::import::Limits { entries: 9, ..Default::default() };
    yard.refuses("many entries in layers", &request, "more than 9 entries");
    let empty = Tarball::new().end();
    refuses(&yard, "many layers", &vec![empty; 513], "more than 512 layers");
}
