//! The compressions that kernels, modules and initramfs archives come in: recognised by their first
//! bytes, undone by well-kept crates with a bound on what they take and on what comes out.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use thiserror::Error;

/// The most memory that a decoder may take for its window, in KiB: all that `zstd --ultra -22`
/// asks for, which is how Debian's kernels are compressed. `xz -9` asks for half of it, LZ4 and
/// gzip for a few MiB at most.
const MAX_WINDOW_KIB: u32 = 128 << 10;
/// What the xz decoder takes beside its window, in KiB.
const XZ_TABLES_KIB: u32 = 1 << 10;

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// The .xz file format.
    Xz,
    /// RFC 8878.
    Zstd,
    /// The LZ4 frame format, or the older one without an end mark, which Linux uses for itself.
    Lz4,
}

/// Why compressed data could not be unpacked. The caller names the file.
#[derive(Debug, Error)]
pub enum Error {
    /// Malformed or cut-off data.
    #[error("its {0} data cannot be unpacked: {1}; is the file damaged?")]
    Data(Compression, #[source] io::Error),
    /// More comes out than the caller expects of anything honest.
    #[error("its {0} data unpacks to more than {mib} MiB", mib = .1 >> 20)]
    TooLarge(Compression, u64),
    /// A header that asks for a huge window.
    #[error("its {0} data asks for more than {mib} MiB to be unpacked", mib = MAX_WINDOW_KIB >> 10)]
    Window(Compression),
    /// The place for it takes no more.
    #[error("what it unpacks to cannot be kept: {0}")]
    Output(#[source] io::Error),
}

impl Compression {
    /// Recognises a compression by the magic bytes at the start of a file.
    pub fn recognise(head: &[u8]) -> Option<Compression> {
        const MAGICS: [(&[u8], Compression); 5] = [
            (&[0x1F, 0x8B, 0x08], Compression::Gzip),
            (&[0xFD, b'7', b'z', b'X', b'Z', 0x00], Compression::Xz),
            (&[0x28, 0xB5, 0x2F, 0xFD], Compression::Zstd),
            (&[0x04, 0x22, 0x4D, 0x18], Compression::Lz4),
            (&[0x02, 0x21, 0x4C, 0x18], Compression::Lz4),
        ];
        MAGICS.iter().find(|(magic, _)| head.starts_with(magic)).map(|&(_, found)| found)
    }

    /// Unpacks `packed` into `output`, at most `limit` bytes of it.
    ///
    /// # Errors
    /// Malformed data, more than `limit` bytes, or `output` does not take it.
    pub fn unpack(
        self,
        packed: impl Read,
        output: &mut impl Write,
        limit: u64,
    ) -> Result<(), Error> {
        let mut reader = self.reader(packed, Extent::FirstFrame);
        let mut buffer = vec![0; 256 << 10];
        let mut total = 0;
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.refused(error)),
            };
            total += read as u64;
            if total > limit {
                return Err(Error::TooLarge(self, limit));
            }
            output.write_all(buffer.get(..read).unwrap_or_default()).map_err(Error::Output)?;
        }
    }

    /// What `packed` unpacks to, all streams or frames of it, with no bound on what comes out: that is
    /// the caller's. What is wrong with the data is an error of reading.
    pub(crate) fn stream<'a>(self, packed: impl Read + 'a) -> Box<dyn Read + 'a> {
        self.reader(packed, Extent::AllFrames)
    }

    fn reader<'a>(self, packed: impl Read + 'a, extent: Extent) -> Box<dyn Read + 'a> {
        let packed = BufReader::new(packed);
        match self {
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Compression::Xz => {
                let limit = MAX_WINDOW_KIB + XZ_TABLES_KIB;
                Box::new(lzma_rust2::XzReader::new_mem_limit(packed, true, limit))
            }
            Compression::Zstd => Box::new(Zstd::new(packed, extent)),
            Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
        }
    }

    /// The error for what a decoder said.
    fn refused(self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::OutOfMemory => Error::Window(self),
            io::ErrorKind::UnexpectedEof => Error::Data(self, cut_off()),
            _ => Error::Data(self, error),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
            Compression::Lz4 => "LZ4",
        })
    }
}

/// `UnexpectedEof` in words that don't speak of buffers.
fn cut_off() -> io::Error {
    let message = "the file ends too soon, as if it had been cut off";
    io::Error::new(io::ErrorKind::UnexpectedEof, message)
}

/// How much of a zstd file counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// A kernel's payload is one frame, and may have something behind it.
    FirstFrame,
    /// Layers of images are made of several, with skippable ones between them.
    AllFrames,
}

/// Frames of zstd (RFC 8878, section 3.1). The checksum of each, if it has one, is compared at its end:
/// the decoder leaves that to its caller, where the other formats' decoders do it.
struct Zstd<R> {
    packed: R,
    decoder: FrameDecoder,
    extent: Extent,
    /// How many frames have been begun.
    frames: u64,
    is_inside: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(packed: R, extent: Extent) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(u64::from(MAX_WINDOW_KIB) << 10);
        Self { packed, decoder, extent, frames: 0, is_inside: false }
    }

    /// Begins the next frame; false when there is none.
    fn begin(&mut self) -> io::Result<bool> {
        if self.extent == Extent::FirstFrame && self.frames > 0 {
            return Ok(false);
        }
        while !self.is_inside {
            if self.packed.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.packed) {
                Ok(()) => self.is_inside = true,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.packed).take(length), &mut io::sink())? < length {
                        return Err(cut_off());
                    }
                }
                Err(FrameDecoderError::WindowSizeTooBig { .. }) => {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                Err(other) => return Err(io::Error::other(other)),
            }
        }
        self.frames += 1;
        Ok(true)
    }

    fn end(&mut self) -> io::Result<()> {
        self.is_inside = false;
        match self.decoder.get_checksum_from_data() {
            Some(written) if self.decoder.get_calculated_checksum() != Some(written) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum does not match"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.is_inside || self.begin()? {
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.packed, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.end()?;
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::noise;
    use crate::samples::packed::{
        FORMATS, Pack, bomb, gzip, xz_huge_dictionary, zstd, zstd_huge_window,
    };

    fn unpacked(packed: &[u8], limit: u64) -> Result<Vec<u8>, Error> {
        let compression = Compression::recognise(packed).expect("a known format");
        let mut unpacked = Vec::new();
        compression.unpack(packed, &mut unpacked, limit)?;
        Ok(unpacked)
    }

    #[test]
    fn every_format_unpacks_to_what_was_packed() {
        let bytes = [noise(10_000), vec![0; 1 << 20], noise(10_000)].concat();
        for (format, pack) in FORMATS {
            assert!(unpacked(&pack(&bytes), 2 << 20).unwrap() == bytes, "{format}");
        }
    }

    #[test]
    fn a_stream_is_all_frames_and_skips_what_is_to_be_skipped() {
        for (format, pack) in FORMATS {
            if format.starts_with("lz4") {
                continue;
            }
            let mut packed = pack(b"one,");
            if format == "zstd" {
                packed.extend([0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, b'a', b'b', b'c']);
            }
            packed.extend(pack(b"two"));
            let mut all = String::new();
            let compression = Compression::recognise(&packed).expect("a known format");
            compression.stream(&*packed).read_to_string(&mut all).unwrap();
            assert_eq!(all, "one,two", "{format}");
            packed.truncate(packed.len() - 3);
            assert!(compression.stream(&*packed).read_to_string(&mut all).is_err(), "{format}");
        }
    }

    #[test]
    fn the_limit_is_the_most_that_comes_out() {
        let bytes = noise(5000);
        for (format, pack) in FORMATS {
            let packed = pack(&bytes);
            assert!(unpacked(&packed, 5000).is_ok(), "{format}");
            let refused = unpacked(&packed, 4999);
            assert!(matches!(refused, Err(Error::TooLarge(_, 4999))), "{format}");
        }
    }

    #[test]
    fn bombs_end_at_the_limit() {
        for (format, _) in FORMATS {
            let refused = unpacked(&bomb(format, 16), 1 << 20);
            assert!(matches!(refused, Err(Error::TooLarge(..))), "{format}");
        }
    }

    #[test]
    fn no_decoder_takes_a_huge_window() {
        for packed in [xz_huge_dictionary(), zstd_huge_window()] {
            assert!(matches!(unpacked(&packed, 1 << 20), Err(Error::Window(_))));
        }
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        // They stand at the end; gzip's is followed by the length.
        for (pack, from_end) in [(gzip as Pack, 8), (zstd, 1)] {
            let mut packed = pack(&noise(2000));
            let at = packed.len() - from_end;
            packed[at] ^= 1;
            assert!(matches!(unpacked(&packed, 1 << 20), Err(Error::Data(..))));
        }
    }

    #[test]
    fn what_is_cut_off_gives_an_error_or_less_than_was_packed() {
        let bytes = noise(2000);
        for (format, pack) in FORMATS {
            let packed = pack(&bytes);
            for length in 6..packed.len() {
                let found = unpacked(&packed[..length], 1 << 20);
                assert!(found.is_err() || found.is_ok_and(|it| bytes.starts_with(&it)), "{format}");
            }
        }
    }
}
