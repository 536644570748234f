//! bzImage files, written field by field (Linux, Documentation/arch/x86/boot.rst).

/// A bzImage. The fields are named as in the boot protocol.
#[derive(Clone)]
pub(crate) struct BzImage {
    pub(crate) setup_sects: u8,
    /// In units of 16 bytes; as long as the body, if not given.
    pub(crate) syssize: Option<u32>,
    pub(crate) boot_flag: u16,
    pub(crate) header_length: u8,
    pub(crate) version: u16,
    pub(crate) loadflags: u8,
    pub(crate) initrd_addr_max: u32,
    pub(crate) kernel_alignment: u32,
    pub(crate) relocatable_kernel: u8,
    pub(crate) xloadflags: u16,
    pub(crate) cmdline_size: u32,
    pub(crate) pref_address: u64,
    pub(crate) init_size: u32,
    pub(crate) body: Vec<u8>,
}

impl BzImage {
    /// A relocatable 64-bit kernel.
    pub(crate) fn kernel(body: Vec<u8>) -> BzImage {
        BzImage {
            setup_sects: 3,
            syssize: None,
            boot_flag: 0xAA55,
            header_length: 0x6A,
            version: 0x020F,
            loadflags: 1,
            initrd_addr_max: 0x7FFF_FFFF,
            kernel_alignment: 0x20_0000,
            relocatable_kernel: 1,
            xloadflags: 1,
            cmdline_size: 2047,
            pref_address: 16 << 20,
            init_size: 1 << 20,
            body,
        }
    }

    /// The file.
    pub(crate) fn build(&self) -> Vec<u8> {
        let sectors = if self.setup_sects == 0 { 4 } else { usize::from(self.setup_sects) };
        let mut file = vec![0; (sectors + 1) * 512];
        let whole = u32::try_from(self.body.len().div_ceil(16)).unwrap();
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x1F1, &[self.setup_sects]);
        put(0x1F4, &self.syssize.unwrap_or(whole).to_le_bytes());
        put(0x1FE, &self.boot_flag.to_le_bytes());
        put(0x200, &[0xEB, self.header_length]);
        put(0x202, b"HdrS");
        put(0x206, &self.version.to_le_bytes());
        put(0x211, &[self.loadflags]);
        put(0x22C, &self.initrd_addr_max.to_le_bytes());
        put(0x230, &self.kernel_alignment.to_le_bytes());
        put(0x234, &[self.relocatable_kernel]);
        put(0x236, &self.xloadflags.to_le_bytes());
        put(0x238, &self.cmdline_size.to_le_bytes());
        put(0x258, &self.pref_address.to_le_bytes());
        put(0x260, &self.init_size.to_le_bytes());
        file.extend(&self.body);
        file
    }
}
