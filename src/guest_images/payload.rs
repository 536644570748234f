//! The ELF kernel that a bzImage carries, compressed, behind its set-up code.
//!
//! The x86 boot protocol (Documentation/arch/x86/boot.rst in Linux) says where it is from version
//! 2.08 on. For an ELF nothing need be decompressed when a guest starts, and its segments can be
//! mapped instead of copied.

use crate::compression::{self, Compression};

/// Where the fields of the set-up header are in the file.
const SETUP_SECTS: usize = 0x1f1;
const HEADER_MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// The first protocol version with the two payload fields.
const VERSION_WITH_PAYLOAD: u16 = 0x0208;
/// What a setup_sects of 0 means.
const DEFAULT_SETUP_SECTS: usize = 4;
const SECTOR: usize = 512;
/// No kernel is larger, and a lying header does not fill the memory.
const MAX_KERNEL: u32 = 512 << 20;

/// Why no kernel can be had from a bzImage.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// It has no set-up header.
    #[error("it is not a bzImage")]
    NotBzImage,
    /// Its boot protocol is older than 2.08.
    #[error("its boot protocol {}.{:02} does not say where the kernel is (2.08 does)", .0 >> 8, .0 & 0xff)]
    TooOld(u16),
    /// The payload's place is outside the file.
    #[error("it is cut off: the kernel in it reaches beyond its end")]
    CutOff,
    /// The payload is compressed in a way not known here.
    #[error("the kernel in it is neither an ELF nor compressed by gzip, xz, zstd or LZ4")]
    UnknownCompression,
    /// Decompression failed.
    #[error("the kernel in it does not unpack: {0}")]
    Corrupt(#[from] compression::Error),
    /// What came out is not an ELF.
    #[error("what unpacks from it is not an ELF kernel")]
    NotElf,
}

/// Unpacks the ELF kernel (vmlinux) in a bzImage, by its content and never by its name.
pub fn elf_from_bzimage(image: &[u8]) -> Result<Vec<u8>, PayloadError> {
    if bytes_at(image, HEADER_MAGIC) != Some(*b"HdrS") {
        return Err(PayloadError::NotBzImage);
    }
    let version = u16::from_le_bytes(bytes_at(image, VERSION).ok_or(PayloadError::CutOff)?);
    if version < VERSION_WITH_PAYLOAD {
        return Err(PayloadError::TooOld(version));
    }
    let payload = payload(image).ok_or(PayloadError::CutOff)?;
    let elf = match Compression::recognise(payload) {
        Some(compression) => {
            // The build appends the unpacked size to all formats (gzip ends with it by itself).
            let (stream, size) = payload
                .split_last_chunk::<4>()
                .map(|(a, b)| (a, u32::from_le_bytes(*b)))
                .ok_or(PayloadError::CutOff)?;
            let stream = if compression == Compression::Gzip { payload } else { stream };
            let mut kernel = Vec::new();
            compression.unpack(stream, &mut kernel, size.min(MAX_KERNEL).into())?;
            kernel
        }
        None if payload.starts_with(b"\x7fELF") => payload.to_vec(),
        None => return Err(PayloadError::UnknownCompression),
    };
    if elf.starts_with(b"\x7fELF") { Ok(elf) } else { Err(PayloadError::NotElf) }
}

fn payload(image: &[u8]) -> Option<&[u8]> {
    let sectors = match usize::from(*image.get(SETUP_SECTS)?) {
        0 => DEFAULT_SETUP_SECTS,
        sectors => sectors,
    };
    let offset = u32::from_le_bytes(bytes_at(image, PAYLOAD_OFFSET)?);
    let length = u32::from_le_bytes(bytes_at(image, PAYLOAD_LENGTH)?);
    // The boot sector comes first and is not counted.
    let protected_mode_code = image.get((sectors + 1) * SECTOR..)?;
    protected_mode_code.get(usize::try_from(offset).ok()?..)?.get(..usize::try_from(length).ok()?)
}

fn bytes_at<const N: usize>(image: &[u8], offset: usize) -> Option<[u8; N]> {
    image.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    /// A bzImage with one sector of set-up code and this payload 16 bytes after it.
    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR + 16];
        image[SETUP_SECTS] = 1;
        image[HEADER_MAGIC..][..4].copy_from_slice(b"HdrS");
        image[VERSION..][..2].copy_from_slice(&0x020f_u16.to_le_bytes());
        image[PAYLOAD_OFFSET..][..4].copy_from_slice(&16_u32.to_le_bytes());
        let length = u32::try_from(payload.len()).unwrap();
        image[PAYLOAD_LENGTH..][..4].copy_from_slice(&length.to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    fn zstd_payload(kernel: &[u8], size: usize) -> Vec<u8> {
        let mut payload = compress_to_vec(kernel, CompressionLevel::Fastest);
        payload.extend_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
        payload
    }

    #[test]
    fn the_kernel_comes_out() {
        let kernel = [b"\x7fELF".as_slice(), &[7; 5000]].concat();
        let packed = bzimage(&zstd_payload(&kernel, kernel.len()));
        assert_eq!(elf_from_bzimage(&packed).unwrap(), kernel);
        assert_eq!(elf_from_bzimage(&bzimage(&kernel)).unwrap(), kernel);
    }

    #[test]
    fn each_lie_has_its_error() {
        let kernel = [b"\x7fELF".as_slice(), &[7; 5000]].concat();
        let good = bzimage(&zstd_payload(&kernel, kernel.len()));
        let patched = |offset: usize, bytes: &[u8]| {
            let mut image = good.clone();
            image[offset..][..bytes.len()].copy_from_slice(bytes);
            elf_from_bzimage(&image).unwrap_err()
        };
        assert!(matches!(patched(HEADER_MAGIC, b"none"), PayloadError::NotBzImage));
        assert!(matches!(patched(VERSION, &[7, 2]), PayloadError::TooOld(0x0207)));
        assert!(matches!(patched(SETUP_SECTS, &[255]), PayloadError::CutOff));
        assert!(matches!(patched(PAYLOAD_OFFSET, &[0xff; 4]), PayloadError::CutOff));
        assert!(matches!(patched(PAYLOAD_LENGTH, &[0xff; 4]), PayloadError::CutOff));
        assert!(matches!(patched(PAYLOAD_OFFSET, &[0; 4]), PayloadError::UnknownCompression));
        let error = elf_from_bzimage(&good[..good.len() - 1]).unwrap_err();
        assert!(matches!(error, PayloadError::CutOff));

        let larger_than_said = bzimage(&zstd_payload(&kernel, 100));
        assert!(matches!(elf_from_bzimage(&larger_than_said), Err(PayloadError::Corrupt(_))));
        let not_elf = bzimage(&zstd_payload(&[1; 100], 100));
        assert!(matches!(elf_from_bzimage(&not_elf), Err(PayloadError::NotElf)));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(sectors: u8, offset in 0..4096_u32, length in 0..8192_u32, tail: Vec<u8>) {
            let mut image = bzimage(&tail);
            image[SETUP_SECTS] = sectors;
            image[PAYLOAD_OFFSET..][..4].copy_from_slice(&offset.to_le_bytes());
            image[PAYLOAD_LENGTH..][..4].copy_from_slice(&length.to_le_bytes());
            drop(elf_from_bzimage(&image));
        }
    }
}
