//! What GDB is told about the registers: features by name, as its manual lists them (appendix G.5.7), and one
//! of our own for the control registers.

const X87: [&str; 8] = ["fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"];
const SEGMENTS: [&str; 6] = ["cs", "ss", "ds", "es", "fs", "gs"];
const CONTROL: [&str; 5] = ["cr0", "cr2", "cr3", "cr4", "efer"];
const NARROW: [&str; 8] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
const WIDE: [&str; 16] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

/// As what a processor is shown: GDB reads code so. It cannot be told of another mode later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// 16-bit code, for guests that start in real mode.
    Real,
    /// 32-bit code.
    Protected,
    /// 64-bit code, and registers of 64 bits.
    Long,
}

/// The description of such a processor.
pub(super) fn description(view: View) -> String {
    let (architecture, bits) = match view {
        View::Real => ("i8086", 32),
        View::Protected => ("i386", 32),
        View::Long => ("i386:x86-64", 64),
    };
    let narrow = view != View::Long;
    let mut xml = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">\
         <architecture>{architecture}</architecture><feature name=\"org.gnu.gdb.i386.core\">"
    );
    let mut register = |name: &str, bits: u32, kind: &str| {
        xml += &format!("<reg name=\"{name}\" bitsize=\"{bits}\" type=\"{kind}\"/>");
    };
    let general = if narrow { &NARROW[..] } else { &WIDE[..] };
    for name in general {
        let kind = match &name[1..] {
            "bp" | "sp" => "data_ptr",
            _ => "int64",
        };
        register(name, bits, if narrow && kind == "int64" { "int32" } else { kind });
    }
    register(if narrow { "eip" } else { "rip" }, bits, "code_ptr");
    register("eflags", 32, "int32");
    for name in SEGMENTS {
        register(name, 32, "int32");
    }
    for number in 0..8 {
        register(&format!("st{number}"), 80, "i387_ext");
    }
    for name in X87 {
        register(name, 32, "int32");
    }
    if !narrow {
        xml += "</feature><feature name=\"org.gnu.gdb.i386.segments\">";
        for name in ["fs_base", "gs_base"] {
            xml += &format!("<reg name=\"{name}\" bitsize=\"64\" type=\"int64\"/>");
        }
    }
    xml += "</feature><feature name=\"duplex.control\">";
    for name in CONTROL {
        xml += &format!("<reg name=\"{name}\" bitsize=\"64\" type=\"int64\" group=\"system\"/>");
    }
    xml + "</feature></target>"
}
