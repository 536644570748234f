//! The compressions that kernels, initramfs archives and modules come in, undone by well-kept crates
//! with a bound on what comes out.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use lz4_flex::frame::FrameDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

/// The largest back-reference distance accepted from zstd: what `zstd --ultra -22` uses, which is
/// how Debian's kernels are compressed.
const ZSTD_MAX_WINDOW: u64 = 128 << 20;
/// The most memory for xz, in KiB: `xz -9` needs 64 MiB for its dictionary, and a little more.
const XZ_MAX_MEMORY_KIB: u32 = 72 << 10;

/// How bytes are compressed, recognised by how they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip (RFC 1952).
    Gzip,
    /// The .xz format.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
    /// LZ4's frame format, or its older one without an end mark, which Linux uses for itself.
    Lz4,
}

impl Compression {
    /// Looks at the first bytes; None when they are none of these.
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        const MAGICS: [(&[u8], Compression); 5] = [
            (&[0x1f, 0x8b, 0x08], Compression::Gzip),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0x00], Compression::Xz),
            (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
            (&[0x04, 0x22, 0x4d, 0x18], Compression::Lz4),
            (&[0x02, 0x21, 0x4c, 0x18], Compression::Lz4),
        ];
        MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|&(_, kind)| kind)
    }

    /// Reads what the stream that `packed` begins with unpacks to. What follows the stream is
    /// ignored, but for legacy LZ4, which has no end mark. The memory it takes is bounded; what comes
    /// out is not, so read it through [`Read::take`].
    pub fn reader<'a>(self, packed: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(GzDecoder::new(packed)),
            Self::Xz => Box::new(XzReader::new_mem_limit(packed, false, XZ_MAX_MEMORY_KIB)),
            Self::Zstd => Box::new(
                StreamingDecoder::new_with_max_window_size(packed, ZSTD_MAX_WINDOW)
                    .map_err(io::Error::other)?,
            ),
            Self::Lz4 => Box::new(FrameDecoder::new(packed)),
        })
    }

    /// Unpacks the stream that `bytes` begins with. An error when more than `limit` bytes come out.
    pub fn unpack(self, bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        let mut unpacked = Vec::new();
        self.reader(bytes)?.take(limit.saturating_add(1)).read_to_end(&mut unpacked)?;
        if unpacked.len() as u64 > limit {
            let message = format!("more than {limit} bytes come out");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(unpacked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// One block, as Linux's build makes them.
    fn lz4_legacy(bytes: &[u8]) -> Vec<u8> {
        let block = lz4_flex::block::compress(bytes);
        let size = u32::try_from(block.len()).unwrap();
        [&[0x02, 0x21, 0x4c, 0x18], size.to_le_bytes().as_slice(), &block].concat()
    }

    /// `printf 'duplex\n%.0s' 1 2 3 | xz`
    const XZ: &[u8] = include_bytes!("testdata/three-lines.xz");

    #[test]
    fn every_format_is_recognised_and_unpacked() {
        let text = b"duplex\n".repeat(10_000);
        let packed = [
            (Compression::Gzip, gzip(&text)),
            (Compression::Zstd, compress_to_vec(text.as_slice(), CompressionLevel::Fastest)),
            (Compression::Lz4, lz4(&text)),
            (Compression::Lz4, lz4_legacy(&text)),
        ];
        for (kind, bytes) in packed {
            assert_eq!(Compression::detect(&bytes), Some(kind));
            assert_eq!(kind.unpack(&bytes, 1 << 20).unwrap(), text, "{kind:?}");
        }
        assert_eq!(Compression::detect(XZ), Some(Compression::Xz));
        assert_eq!(Compression::Xz.unpack(XZ, 1 << 20).unwrap(), b"duplex\n".repeat(3));
        assert_eq!(Compression::detect(b"\x7fELF"), None);
        assert_eq!(Compression::detect(b""), None);
    }

    #[test]
    fn the_bound_holds() {
        let packed = gzip(&vec![0; 1 << 20]);
        assert_eq!(Compression::Gzip.unpack(&packed, 1 << 20).unwrap().len(), 1 << 20);
        assert!(Compression::Gzip.unpack(&packed, (1 << 20) - 1).is_err());
    }

    #[test]
    fn cut_off_input_is_an_error_or_shorter_never_a_panic() {
        let text = b"duplex\n".repeat(1000);
        for packed in [gzip(&text), lz4_legacy(&text), XZ.to_vec()] {
            let kind = Compression::detect(&packed).unwrap();
            for len in 0..packed.len() {
                drop(kind.unpack(&packed[..len], 1 << 20));
            }
        }
    }
}
