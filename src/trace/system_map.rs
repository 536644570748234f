//! A kernel's System.map: lines of an address, a letter for the kind, and a name, as nm(1) prints them.

/// A symbol in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Linear.
    pub address: u64,
    /// Never empty.
    pub name: &'a [u8],
    kind: u8,
}

impl Symbol<'_> {
    /// Whether code is there: of the text section, or weak and not said to be data.
    pub fn is_code(&self) -> bool {
        matches!(self.kind, b'T' | b't' | b'W' | b'w')
    }
}

/// The symbols of a map, in its order. Absolute values are no addresses, and what is no symbol is left out.
pub fn symbols(map: &[u8]) -> impl Iterator<Item = Symbol<'_>> {
    map.split(|byte| *byte == b'\n').filter_map(symbol)
}

fn symbol(line: &[u8]) -> Option<Symbol<'_>> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let address = u64::from_str_radix(str::from_utf8(words.next()?).ok()?, 16).ok()?;
    let kind = *words.next()?.first()?;
    let name = words.next().filter(|name| !name.contains(&0))?;
    (!kind.eq_ignore_ascii_case(&b'a')).then_some(Symbol { address, name, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_symbols_or_nothing() {
        let map = b"ffffffff81000000 T _text\n0000000000000010 A number\nnonsense\n\n12 T\n\
                    ffffffff82000000\td  jiffies\r\n7 t \0\n\xFF T x\n";
        let found: Vec<_> =
            symbols(map).map(|one| (one.address, one.name, one.is_code())).collect();
        let expected: [(u64, &[u8], bool); 2] =
            [(0xFFFF_FFFF_8100_0000, b"_text", true), (0xFFFF_FFFF_8200_0000, b"jiffies", false)];
        assert_eq!(found, expected);
    }
}
