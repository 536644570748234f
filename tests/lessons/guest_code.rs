//! Guests of a few instructions, assembled with the tests.

/// Defines a guest: a constant with its machine code. `.code16`, `.code32` or `.code64` come first.
macro_rules! guest_code {
    ($name:ident: $($line:literal),+ $(,)?) => {
        mod $name {
            std::arch::global_asm!(
                ".pushsection .rodata",
                concat!(".globl guest_", stringify!($name)),
                concat!("guest_", stringify!($name), ":"),
                $($line,)+
                concat!(".globl guest_", stringify!($name), "_end"),
                concat!("guest_", stringify!($name), "_end:"),
                ".code64",
                ".popsection",
                options(att_syntax),
            );
            unsafe extern "C" {
                #[link_name = concat!("guest_", stringify!($name))]
                static START: u8;
                #[link_name = concat!("guest_", stringify!($name), "_end")]
                static END: u8;
            }
            pub(super) fn code() -> &'static [u8] {
                let (start, end) = (&raw const START, &raw const END);
                // SAFETY: both are labels in the same read-only section, in this order.
                unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
            }
        }
    };
}

pub(crate) use guest_code;
