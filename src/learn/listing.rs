//! Which source line an address comes from, as the assembler's listing says it (`as -aln`).
//!
//! A line of the listing is the source line's number, the offset of what it became, the bytes in hexadecimal
//! and the source. A line that became nothing has no offset, and bytes that need more than one line of the
//! listing have one only on the first.

/// Offsets into the machine code and the source lines, counted from 1, that they come from; ascending.
pub(crate) type Lines = Vec<(u32, u32)>;

/// Reads a listing. What is no line of that form is passed over.
pub(crate) fn lines(listing: &str) -> Lines {
    let mut found: Lines = listing.lines().filter_map(line).collect();
    // Two lines at one offset: the first one became nothing that is executed (an `.org`, say).
    found.sort_by_key(|(offset, line)| (*offset, std::cmp::Reverse(*line)));
    found.dedup_by_key(|(offset, _)| *offset);
    found
}

fn line(text: &str) -> Option<(u32, u32)> {
    let text = text.trim_start();
    let (number, rest) = text.split_once(' ')?;
    let number = number.parse().ok()?;
    let offset = rest.get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    // Behind it the bytes: what became none has no place of its own.
    let byte = rest.get(4..7)?.strip_prefix(' ')?;
    byte.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
    Some((u32::from_str_radix(offset, 16).ok()?, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_bytes_has_an_offset_and_others_do_not() {
        let listing = "   1              \t# comment\n   2 0000 B80100   \tmov $1, %ax\n   \
            3              \tloop:\n   4 0003 48656C6C \t.ascii \"Hello\"\n   4      6F\n   \
            5 0008 90       \tnop\n";
        assert_eq!(lines(listing), [(0, 2), (3, 4), (8, 5)]);
    }

    #[test]
    fn what_is_no_listing_has_no_lines() {
        for text in
            ["", "GAS LISTING", "1", "1 2", "x 0000 90 nop", "99999999999 0000 90 nop", "1 é000 90"]
        {
            assert_eq!(lines(text), [], "{text:?}");
        }
    }
}
