//! Fetches or builds guest images ahead of time, with progress:
//! `cargo run --example guest-images -- debian-6.1 debian-6.12 tuned tools`.

use std::error::Error;
use std::path::PathBuf;

use duplex::guest_images::{
    Cache, Series, debian_kernel, demo_initramfs, hello_initramfs, tools_image, tuned_kernel,
};

fn main() -> Result<(), Box<dyn Error>> {
    let cache = Cache::open()?;
    for name in std::env::args().skip(1) {
        for path in fetch(&cache, &name)? {
            eprintln!("{name}: {}", path.display());
        }
    }
    Ok(())
}

fn fetch(cache: &Cache, name: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let debian = |series| -> Result<Vec<PathBuf>, Box<dyn Error>> {
        let kernel = debian_kernel(cache, series)?;
        let initramfs = demo_initramfs(cache, &kernel)?;
        Ok(vec![kernel.elf, kernel.bzimage, initramfs])
    };
    match name {
        "debian-6.1" => debian(Series::V6_1),
        "debian-6.12" => debian(Series::V6_12),
        "tuned" => {
            let kernel = tuned_kernel(cache)?;
            Ok(vec![kernel.elf, kernel.bzimage, hello_initramfs(cache)?])
        }
        "tools" => Ok(vec![tools_image(cache)?]),
        other => Err(format!("'{other}': give debian-6.1, debian-6.12, tuned or tools").into()),
    }
}
