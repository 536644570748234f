//! From a kernel file to a guest that can run: formats, placement, and the tables that a PC's
//! firmware would have left in memory.

pub mod acpi;
pub mod bzimage;
pub mod elf;
pub mod initrd;
pub mod kernel;
pub mod load;
pub mod mp_table;
pub mod plan;
pub mod pvh;
pub mod registers;
pub mod source;
pub mod unpack;
pub mod zero_page;
