//! bzImage kernels: the setup header of the Linux/x86 boot protocol
//! (Documentation/arch/x86/boot.rst) and what it promises.

use std::io;

use linux_loader::bootparam::setup_header;
use thiserror::Error;

use super::source::ReadAt;
use crate::vm::layout::{FIRST_MAPPED, HIGH_RAM, PAGE, Range, ZERO_PAGE};

/// Where the setup header lies in the file, and in the zero page.
pub const SETUP_HEADER: u64 = 0x1F1;
/// The setup header's own length byte: the operand of the jump at 0x200, relative to 0x202.
const HEADER_LENGTH: u64 = 0x201;
const BOOT_FLAG: u16 = 0xAA55;
/// "HdrS".
const HEADER_MAGIC: u32 = 0x5372_6448;
/// Protocol 2.12 (Linux 3.8) brought `xloadflags`, which tell whether there is a 64-bit entry.
const MIN_VERSION: u16 = 0x020C;
/// loadflags: the protected-mode code goes to 1 MiB or higher.
const LOADED_HIGH: u8 = 1 << 0;
/// xloadflags: there is a 64-bit entry at 0x200.
const XLF_KERNEL_64: u16 = 1 << 0;
/// Where the 64-bit entry lies in the protected-mode code.
const ENTRY_64: u64 = 0x200;

/// A bzImage, understood.
#[derive(Clone, Copy)]
pub struct BzImage {
    /// The setup header as the file has it; what the loader owes it is not filled in.
    pub header: setup_header,
    /// Where the protected-mode code starts in the file.
    pub code_offset: u64,
    /// How many bytes of protected-mode code there are.
    pub code_size: u64,
}

/// Why a bzImage cannot be booted.
#[derive(Debug, Error)]
pub enum Error {
    /// The file ended too soon or could not be read.
    #[error("its setup header cannot be read: {0}")]
    Read(#[source] io::Error),
    /// No bzImage: the boot sector's signature is missing.
    #[error("its boot sector lacks the signature 0xAA55: it is no bzImage, or damaged")]
    BootFlag,
    /// Too old to have a 64-bit entry.
    #[error(
        "it speaks boot protocol {}.{:02}; duplex needs 2.12 (Linux 3.8) or later", .0 >> 8, .0 & 0xFF
    )]
    Protocol(u16),
    /// A 32-bit kernel, or one that asks to be loaded below 1 MiB.
    #[error("it has no 64-bit entry point (xloadflags {0:#x}); is it a 32-bit kernel?")]
    No64BitEntry(u16),
    /// loadflags without LOADED_HIGH: a zImage.
    #[error("it wants to be loaded below 1 MiB (a zImage); duplex boots bzImages")]
    LoadedLow,
    /// A header whose fields contradict each other or the file.
    #[error("its setup header lies: {0}")]
    Lying(&'static str),
    /// The file ends before its code does.
    #[error("its code ends at byte {0} of the file, which has {1}: the file is cut off")]
    CutOff(u64, u64),
    /// pref_address is not where the guest has RAM, and the kernel accepts no other place.
    #[error(
        "it can only run at {1:#x}, and the guest's memory (from 1 MiB to at most 3 GiB) has no {0} \
         bytes there: give it more with --memory, or another kernel"
    )]
    NoRoomThere(u64, u64),
    /// No place in RAM satisfies the header.
    #[error(
        "it needs {0} bytes at a multiple of {1:#x}, which the guest's memory below 3 GiB has no \
         room for: give it more with --memory"
    )]
    NoRoom(u64, u64),
}

/// Whether the bytes at the file's start look like a bzImage.
pub fn is_bzimage(head: &[u8]) -> bool {
    head.get(0x202..0x206) == Some(&HEADER_MAGIC.to_le_bytes())
}

/// Reads and checks a bzImage's setup header.
///
/// # Errors
/// Whatever makes the file unfit to be booted by its 64-bit entry.
pub fn parse(file: &impl ReadAt) -> Result<BzImage, Error> {
    let header = read_header(file)?;
    if header.boot_flag != BOOT_FLAG {
        return Err(Error::BootFlag);
    }
    let (version, xloadflags) = (header.version, header.xloadflags);
    if version < MIN_VERSION {
        return Err(Error::Protocol(version));
    }
    if header.loadflags & LOADED_HIGH == 0 {
        return Err(Error::LoadedLow);
    }
    if xloadflags & XLF_KERNEL_64 == 0 {
        return Err(Error::No64BitEntry(xloadflags));
    }
    // "For backwards compatibility, if the setup_sects field contains 0, the real value is 4."
    let setup_sectors = if header.setup_sects == 0 { 4 } else { u64::from(header.setup_sects) };
    let code_offset = (setup_sectors + 1) * 512;
    let code_size = u64::from(header.syssize) * 16;
    let size = file.size().map_err(Error::Read)?;
    // syssize counts in units of 16 bytes: the last of them may reach beyond the file's end.
    let code_end = code_offset + code_size;
    if code_end > size.next_multiple_of(16) {
        return Err(Error::CutOff(code_end, size));
    }
    let code_size = code_size.min(size.saturating_sub(code_offset));
    if code_size <= ENTRY_64 {
        return Err(Error::Lying("syssize leaves no room for the 64-bit entry"));
    }
    let (alignment, init_size) = (header.kernel_alignment, header.init_size);
    if !alignment.is_power_of_two() || u64::from(alignment) < PAGE {
        return Err(Error::Lying("kernel_alignment is not a power of two of at least 4096"));
    }
    if u64::from(init_size) < code_size {
        return Err(Error::Lying("init_size is smaller than the code"));
    }
    Ok(BzImage { header, code_offset, code_size })
}

/// Reads as much of the setup header as the file says there is; later fields are zero.
fn read_header(file: &impl ReadAt) -> Result<setup_header, Error> {
    use vm_memory::ByteValued;
    let mut jump = [0];
    file.read_exact_at(&mut jump, HEADER_LENGTH).map_err(Error::Read)?;
    let end = 0x202 + u64::from(jump[0]);
    let mut header = setup_header::default();
    let bytes = header.as_mut_slice();
    let length = usize::try_from(end.saturating_sub(SETUP_HEADER)).unwrap_or(0).min(bytes.len());
    let bytes = bytes.get_mut(..length).unwrap_or_default();
    file.read_exact_at(bytes, SETUP_HEADER).map_err(Error::Read)?;
    Ok(header)
}

impl BzImage {
    /// Where in `ram` the kernel may unpack itself: at its preferred address, else, if it can be
    /// relocated, at the lowest aligned address where `init_size` bytes fit; never beyond what is
    /// mapped when it is entered.
    ///
    /// # Errors
    /// [`Error::NoRoomThere`] and [`Error::NoRoom`].
    pub fn place(&self, ram: &[Range]) -> Result<Range, Error> {
        let (preferred, size) = (self.header.pref_address, u64::from(self.header.init_size));
        let alignment = u64::from(self.header.kernel_alignment);
        let fits = |start: u64| {
            let range = Range::sized(start, size)?;
            let mapped = range.start >= HIGH_RAM && range.end <= FIRST_MAPPED;
            (mapped && ram.iter().any(|ram| ram.contains(range))).then_some(range)
        };
        if let Some(range) = fits(preferred) {
            return Ok(range);
        }
        if self.header.relocatable_kernel == 0 {
            return Err(Error::NoRoomThere(size, preferred));
        }
        fits(HIGH_RAM.next_multiple_of(alignment)).ok_or(Error::NoRoom(size, alignment))
    }

    /// The guest-physical address of the 64-bit entry of a kernel placed at `start`.
    pub fn entry(start: u64) -> u64 {
        start + ENTRY_64
    }
}

const _: () = assert!(
    SETUP_HEADER + size_of::<setup_header>() as u64 <= ZERO_PAGE.size(),
    "the setup header is part of the zero page"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use crate::vm::layout::{GIB, MIB, ram};
    use proptest::prelude::*;

    fn sample() -> samples::BzImage {
        samples::BzImage::kernel(vec![0xF4; 0x1000])
    }

    fn parsed(sample: &samples::BzImage) -> BzImage {
        parse(&sample.build().as_slice()).map_err(|error| error.to_string()).unwrap()
    }

    fn placed(sample: &samples::BzImage, memory: u64) -> Option<u64> {
        parsed(sample).place(&ram(memory)).ok().map(|range| range.start)
    }

    #[test]
    fn the_code_follows_the_setup_sectors_of_which_0_means_4() {
        for (setup_sects, offset) in [(0, 5 * 512), (1, 2 * 512), (4, 5 * 512), (64, 65 * 512)] {
            let image = parsed(&samples::BzImage { setup_sects, ..sample() });
            assert_eq!((image.code_offset, image.code_size), (offset, 0x1000));
        }
    }

    #[test]
    fn the_last_16_bytes_of_code_may_be_cut_short() {
        let image = parsed(&samples::BzImage { body: vec![0xF4; 0x1001], ..sample() });
        assert_eq!(image.code_size, 0x1001);
    }

    #[test]
    fn fields_beyond_the_headers_end_are_zero() {
        // Ends behind xloadflags: the kernel has said nothing about init_size.
        let short = samples::BzImage { header_length: 0x36, ..sample() };
        assert!(matches!(parse(&short.build().as_slice()), Err(Error::Lying(_))));
    }

    #[test]
    fn a_kernel_goes_to_its_preferred_address_or_else_where_it_fits() {
        assert_eq!(placed(&sample(), 64 * MIB), Some(16 * MIB));
        let high = samples::BzImage { pref_address: GIB, ..sample() };
        assert_eq!(placed(&high, 64 * MIB), Some(2 * MIB));
        assert_eq!(placed(&high, 2 * GIB), Some(GIB));
        let fixed = samples::BzImage { relocatable_kernel: 0, ..high };
        assert_eq!(placed(&fixed, 64 * MIB), None);
    }

    #[test]
    fn a_kernel_is_never_placed_beyond_the_first_mapping() {
        let beyond = samples::BzImage { pref_address: 5 * GIB, ..sample() };
        assert_eq!(placed(&beyond, 8 * GIB), Some(2 * MIB));
        let fixed = samples::BzImage { relocatable_kernel: 0, ..beyond };
        assert_eq!(placed(&fixed, 8 * GIB), None);
    }

    proptest! {
        #[test]
        fn a_place_is_ram_and_large_enough(
            pref_address in prop_oneof![any::<u64>(), 0..5 * GIB],
            init_size in 0x1000_u32..,
            shift in 12..32,
            memory in 32 * MIB..6 * GIB,
        ) {
            let kernel_alignment = 1_u32 << shift;
            let kernel = samples::BzImage { pref_address, init_size, kernel_alignment, ..sample() };
            let ram = ram(memory / PAGE * PAGE);
            if let Ok(place) = parsed(&kernel).place(&ram) {
                prop_assert!(ram[0].contains(place) && place.start >= HIGH_RAM);
                prop_assert_eq!(place.size(), u64::from(init_size));
                prop_assert!(
                    place.start == pref_address || place.start % u64::from(kernel_alignment) == 0
                );
            }
        }
    }
}
