//! Compressed files: honest ones, and bombs that are cheap to make.

use std::io::Write;

/// Packs bytes.
pub(crate) type Pack = fn(&[u8]) -> Vec<u8>;

/// The formats that kernels come compressed in.
pub(crate) const FORMATS: [(&str, Pack); 5] =
    [("gzip", gzip), ("xz", xz), ("zstd", zstd), ("lz4", lz4), ("lz4-legacy", lz4_legacy)];

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

pub(crate) fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As Linux's build makes it: a block for every 8 MiB, of which a sample needs one.
pub(crate) fn lz4_legacy(bytes: &[u8]) -> Vec<u8> {
    let block = lz4_flex::block::compress(bytes);
    let size = u32::try_from(block.len()).unwrap();
    [&[0x02, 0x21, 0x4C, 0x18], size.to_le_bytes().as_slice(), &block].concat()
}

/// A file of `packed` streams that unpacks to about `mib` MiB of zeroes. What takes several streams
/// after one another is packed once and repeated.
pub(crate) fn bomb(format: &str, mib: usize) -> Vec<u8> {
    const CHUNK_MIB: usize = 4;
    let zeroes = vec![0; CHUNK_MIB << 20];
    let chunks = mib.div_ceil(CHUNK_MIB);
    match format {
        "gzip" => gzip(&zeroes).repeat(chunks),
        "xz" => xz(&zeroes).repeat(chunks),
        "lz4" => lz4_bomb(&zeroes, chunks),
        "lz4-legacy" => {
            let stream = lz4_legacy(&zeroes);
            let (magic, block) = stream.split_at(4);
            [magic, &block.repeat(chunks)].concat()
        }
        "zstd" => zstd_bomb(mib),
        other => panic!("no such format: {other}"),
    }
}

/// An LZ4 frame of the same block again and again: 7 bytes of header, the block, an end mark.
fn lz4_bomb(zeroes: &[u8], blocks: usize) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max4MB)
        .block_mode(lz4_flex::frame::BlockMode::Independent);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(zeroes).unwrap();
    let frame = encoder.finish().unwrap();
    let (header, rest) = frame.split_at(7);
    let (block, end_mark) = rest.split_at(rest.len() - 4);
    [header, &block.repeat(blocks), end_mark].concat()
}

/// A zstd frame of run-length blocks of 128 KiB, 4 bytes each (RFC 8878, section 3.1.1).
fn zstd_bomb(mib: usize) -> Vec<u8> {
    const RUN_LENGTH: u32 = 1 << 1;
    const LAST: u32 = 1;
    let block = |flags: u32| {
        let header = (128 << 10) << 3 | RUN_LENGTH | flags;
        let [a, b, c, _] = header.to_le_bytes();
        [a, b, c, 0]
    };
    // No content size, no checksum; a window of 1 MiB.
    let mut file = vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, 10 << 3];
    file.extend(block(0).repeat(mib * 8));
    file.extend(block(LAST));
    file
}

/// A zstd frame header that asks for a window of 2 TiB.
pub(crate) fn zstd_huge_window() -> Vec<u8> {
    vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, 31 << 3, 1, 0, 0]
}

/// An xz file whose block header asks for a dictionary of almost 4 GiB.
pub(crate) fn xz_huge_dictionary() -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut file = {
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        encoder.write_all(b"kernel").unwrap();
        encoder.finish().unwrap()
    };
    // The block header follows the stream header of 12 bytes: its size, flags, then the filter
    // LZMA2 (0x21) with one byte of properties, the dictionary's size.
    let header = 12;
    let length = (usize::from(file[header]) + 1) * 4;
    let properties = header + file[header..].iter().position(|byte| *byte == 0x21).unwrap() + 2;
    file[properties] = 40;
    let end = header + length - 4;
    let checksum = crc32(&file[header..end]);
    file[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
