//! ELF files, written field by field (System V gABI, chapters 4 and 5).

pub(crate) const PT_LOAD: u32 = 1;
pub(crate) const PT_NOTE: u32 = 4;
pub(crate) const PT_TLS: u32 = 7;
/// Where the notes lie in the file.
pub(crate) const NOTES: u64 = 0x800;
/// Where the body lies in the file.
pub(crate) const BODY: u64 = 0x1000;
/// Where a sample kernel is linked to.
pub(crate) const START: u64 = 16 << 20;

/// A program header, without the fields that no loader of kernels reads.
#[derive(Clone, Copy)]
pub(crate) struct ProgramHeader {
    pub(crate) kind: u32,
    pub(crate) offset: u64,
    pub(crate) paddr: u64,
    pub(crate) filesz: u64,
    pub(crate) memsz: u64,
}

impl ProgramHeader {
    /// A segment of `size` bytes of the body at `paddr`.
    pub(crate) fn load(paddr: u64, size: u64) -> ProgramHeader {
        ProgramHeader { kind: PT_LOAD, offset: BODY, paddr, filesz: size, memsz: size }
    }

    /// The notes.
    pub(crate) fn notes(size: u64) -> ProgramHeader {
        ProgramHeader { kind: PT_NOTE, offset: NOTES, paddr: 0, filesz: size, memsz: size }
    }
}

/// An ELF file.
#[derive(Clone)]
pub(crate) struct Elf {
    pub(crate) class: u8,
    pub(crate) data: u8,
    pub(crate) kind: u16,
    pub(crate) machine: u16,
    pub(crate) entry: u64,
    pub(crate) phoff: u64,
    pub(crate) phentsize: u16,
    /// How many program headers it claims to have, if not as many as it has.
    pub(crate) phnum: Option<u16>,
    pub(crate) headers: Vec<ProgramHeader>,
    pub(crate) notes: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Elf {
    /// A kernel that is entered by the 64-bit Linux boot protocol, with one segment.
    pub(crate) fn kernel(body: Vec<u8>) -> Elf {
        Elf {
            class: 2,
            data: 1,
            kind: 2,
            machine: 62,
            entry: START,
            phoff: 64,
            phentsize: 56,
            phnum: None,
            headers: vec![ProgramHeader::load(START, body.len() as u64)],
            notes: Vec::new(),
            body,
        }
    }

    /// The same, entered by PVH.
    pub(crate) fn pvh(body: Vec<u8>) -> Elf {
        let entry = u32::try_from(START).unwrap();
        Elf::kernel(body).with_notes(note(18, b"Xen\0", &entry.to_le_bytes()))
    }

    /// With these segments instead.
    pub(crate) fn segments(self, headers: &[ProgramHeader]) -> Elf {
        Elf { headers: headers.to_vec(), ..self }
    }

    /// With these notes.
    pub(crate) fn with_notes(mut self, notes: Vec<u8>) -> Elf {
        self.headers.push(ProgramHeader::notes(notes.len() as u64));
        Elf { notes, ..self }
    }

    /// The file.
    pub(crate) fn build(&self) -> Vec<u8> {
        let phnum = self.phnum.unwrap_or(u16::try_from(self.headers.len()).unwrap());
        let mut file = vec![0x7F, b'E', b'L', b'F', self.class, self.data, 1];
        file.resize(16, 0);
        file.extend(self.kind.to_le_bytes());
        file.extend(self.machine.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        for address in [self.entry, self.phoff, 0] {
            file.extend(address.to_le_bytes());
        }
        file.extend(0_u32.to_le_bytes());
        for half in [64, self.phentsize, phnum, 0, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        for header in &self.headers {
            file.extend(header.kind.to_le_bytes());
            file.extend(7_u32.to_le_bytes());
            let ProgramHeader { offset, paddr, filesz, memsz, .. } = *header;
            for field in [offset, paddr, paddr, filesz, memsz, 0x1000] {
                file.extend(field.to_le_bytes());
            }
        }
        append_at(&mut file, NOTES, &self.notes);
        append_at(&mut file, BODY, &self.body);
        file
    }
}

fn append_at(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        file.resize(usize::try_from(offset).unwrap(), 0);
        file.extend(bytes);
    }
}

/// A note.
pub(crate) fn note(kind: u32, name: &[u8], description: &[u8]) -> Vec<u8> {
    let sizes = [name.len(), description.len()].map(|size| u32::try_from(size).unwrap());
    let mut note: Vec<u8> =
        [sizes[0], sizes[1], kind].iter().flat_map(|n| n.to_le_bytes()).collect();
    for part in [name, description] {
        note.extend(part);
        note.resize(note.len().next_multiple_of(4), 0);
    }
    note
}
