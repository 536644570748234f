//! `duplex trace export`: a trace for other programs.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::cli::say;
use crate::trace::export::{self, Format};

/// Write a trace in a form that other programs read
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  duplex trace export boot.trace --format perfetto -o boot.pftrace    open it at https://ui.perfetto.dev
  duplex trace export boot.trace --format chrome -o boot.json         the same, or chrome://tracing
  duplex trace export boot.trace --format folded | flamegraph.pl >boot.svg")]
pub(super) struct Args {
    /// The trace
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The form: Chrome's JSON, Perfetto's protocol buffers, or stacks for flame graphs
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Form,
    /// Where it goes, a file that is made or overwritten [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where the names of the guest's functions are: the System.map of its kernel, or its vmlinux
    #[arg(long, value_name = "FILE")]
    symbols: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Chrome,
    Perfetto,
    Folded,
}

impl From<Form> for Format {
    fn from(form: Form) -> Format {
        match form {
            Form::Chrome => Format::Chrome,
            Form::Perfetto => Format::Perfetto,
            Form::Folded => Format::Folded,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let (mut reader, symbols) = super::open_with_symbols(&args.file, args.symbols.as_ref())?;
    let format = args.format.into();
    let exported = match &args.output {
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            export::export(&mut reader, symbols, format, &mut out).and_then(|()| Ok(out.flush()?))
        }
        Some(path) if same_file(path, &args.file) => {
            return Err(
                format!("-o {}: that is the trace itself: give another", path.display()).into()
            );
        }
        Some(path) => {
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
            let file = file.map_err(|error| format!("-o {}: {error}", path.display()))?;
            let mut out = BufWriter::new(file);
            export::export(&mut reader, symbols, format, &mut out).and_then(|()| Ok(out.flush()?))
        }
    };
    match exported {
        Ok(()) => {}
        Err(export::Error::Write(error)) => return Err(error.into()),
        Err(export::Error::Read(error)) => return Err(super::named(&args.file, &error).into()),
    }
    if reader.is_cut_off() {
        say(format_args!("{}: it is cut off: what is there was exported", args.file.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn same_file(a: &std::path::Path, b: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |path: &std::path::Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    inode(a).is_some() && inode(a) == inode(b)
}
