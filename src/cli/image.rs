//! `duplex image`: the images of the store.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args as ClapArgs, Subcommand};

use super::say;
use crate::guest_images::Cache;
use crate::image::import::{LeftOut, Limits, Request};
use crate::image::{self, Name, Store, StoredImage};
use crate::workload::parse_size;

/// Import, list, remove and export images: root file systems for `duplex run`
#[derive(ClapArgs)]
#[command(after_help = "\
Examples:
  duplex image import ./rootfs debian:12        a directory
  duplex image import alpine.tar.gz             a tarball of a root file system
  docker save debian:12 | duplex image import - debian:12
  buildah push IMAGE oci-archive:image.tar;  duplex image import image.tar
  duplex image export debian:12 | tar t")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Import an image from a directory, a tarball (perhaps compressed) of a root file system, an OCI
    /// layout or archive, or what `docker save` writes; and print its name
    Import(Import),
    /// List the images
    Ls {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove images that nobody uses
    Rm {
        /// Which
        #[arg(required = true, value_name = "NAME")]
        names: Vec<Name>,
    },
    /// Write an image's root file system as a tarball
    Export {
        /// Where to: a file, which must not be there [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Which
        #[arg(value_name = "NAME")]
        name: Name,
    },
}

#[derive(ClapArgs)]
struct Import {
    /// Which image, where the source has several: its tag, or its manifest's digest
    #[arg(long = "ref", visible_alias = "tag", value_name = "REFERENCE")]
    reference: Option<String>,
    /// Put it in the place of an image of the same name that nobody uses
    #[arg(long)]
    replace: bool,
    /// Take paths in archives that begin with `/` as paths below the image's root
    #[arg(long)]
    absolute_names: bool,
    /// How much its files may hold together
    #[arg(long, value_name = "SIZE", default_value = "64G", value_parser = parse_size)]
    max_size: u64,
    /// How many entries its archives may have together
    #[arg(long, value_name = "N", default_value_t = Limits::default().entries)]
    max_entries: u64,
    /// How many times as large compressed data may become
    #[arg(long, value_name = "N", default_value_t = Limits::default().ratio)]
    max_ratio: u64,
    /// The source; `-` for standard input
    source: PathBuf,
    /// What it shall be called, such as debian:12 [default: what the source calls itself]
    name: Option<Name>,
}

/// Runs the command; returns the exit status.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let store = Store::open()?;
    match &args.command {
        Command::Import(args) => import(&store, args)?,
        Command::Ls { json } => print(&store.list()?, *json)?,
        Command::Rm { names } => {
            for name in names {
                let root = store.remove(name)?;
                // Without a cache there is no disk of it.
                if let Ok(cache) = Cache::open() {
                    image::forget_disk(&cache, &root);
                }
                writeln!(io::stdout(), "{name}")?;
            }
        }
        Command::Export { output, name } => export(&store, name, output.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn import(store: &Store, args: &Import) -> Result<(), Box<dyn Error>> {
    let request = Request {
        source: args.source.clone(),
        name: args.name.clone(),
        reference: args.reference.clone(),
        replace: args.replace,
        absolute_names: args.absolute_names,
        limits: Limits { size: args.max_size, entries: args.max_entries, ratio: args.max_ratio },
    };
    let imported = store.import(&request)?;
    if let Some(text) = left_out(imported.left_out) {
        say(text);
    }
    writeln!(io::stdout(), "{}", imported.image.config.name)?;
    Ok(())
}

/// What the image has to do without, in words.
fn left_out(left_out: LeftOut) -> Option<String> {
    let LeftOut { devices, attributes, sockets, owners } = left_out;
    let mut parts = Vec::new();
    if owners {
        parts.push("its files belong to you, and can be read and written by you".to_owned());
    }
    let counted =
        [(devices, "device node"), (attributes, "extended attribute"), (sockets, "socket")];
    for (count, what) in counted.into_iter().filter(|(count, _)| *count > 0) {
        let ending = if count == 1 { "" } else { "s" };
        parts.push(format!("{count} {what}{ending} left out"));
    }
    let why = if owners { "; root's images are whole" } else { "" };
    (!parts.is_empty()).then(|| format!("{}{why}", parts.join("; ")))
}

fn print(images: &[StoredImage], json: bool) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    if json {
        let all: Vec<_> = images.iter().map(|image| &image.config).collect();
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
        return Ok(());
    }
    let mut table = super::table(&["NAME", "FROM", "DIGEST", "SIZE", "CREATED"]);
    for StoredImage { config, .. } in images {
        let digest = config.digest.as_deref().and_then(|digest| digest.strip_prefix("sha256:"));
        table.add_row([
            config.name.to_string(),
            config.form.clone(),
            digest.and_then(|hex| hex.get(..12)).unwrap_or("-").to_owned(),
            size(config.size),
            age(config.created),
        ]);
    }
    for row in table.lines() {
        writeln!(out, "{}", row.trim_end())?;
    }
    Ok(())
}

fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fitting = units.into_iter().find(|(shift, _)| bytes >> shift > 0);
    fitting.map_or_else(
        || format!("{bytes} B"),
        |(shift, unit)| {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        },
    )
}

fn age(created: u64) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(created));
    let seconds = since.unwrap_or_default().as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "min")];
    let fitting = units.into_iter().find(|(unit, _)| seconds >= *unit);
    let (number, unit) = fitting.map_or((seconds, "s"), |(length, unit)| (seconds / length, unit));
    format!("{number} {unit} ago")
}

fn export(
    store: &Store,
    name: &Name,
    output: Option<&std::path::Path>,
) -> Result<(), Box<dyn Error>> {
    let found = store.find(name)?.ok_or_else(|| image::StoreError::None(name.clone()))?;
    let _lease = found.lease()?;
    let Some(path) = output else {
        let out = io::stdout().lock();
        if out.is_terminal() {
            return Err("a tarball is nothing for a terminal: give -o FILE, or a pipe".into());
        }
        return Ok(image::export(&found.root, BufWriter::new(out))?);
    };
    let failed = |error: io::Error| format!("--output {}: {error}", path.display());
    let file = File::create_new(path).map_err(failed)?;
    let written = image::export(&found.root, BufWriter::new(file));
    if written.is_err() {
        // Half a tarball is none.
        let _ = std::fs::remove_file(path);
    }
    Ok(written?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
        assert_eq!(size(u64::MAX), "17179869183.9 GiB");
    }

    #[test]
    fn what_is_left_out_is_said_once() {
        assert_eq!(left_out(LeftOut::default()), None);
        let some = LeftOut { devices: 1, attributes: 2, sockets: 0, owners: true };
        let text = left_out(some).unwrap();
        assert!(text.contains("1 device node left out; 2 extended attributes left out"), "{text}");
    }
}
