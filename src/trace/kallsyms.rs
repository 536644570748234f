//! A Linux kernel's own table of its symbols (CONFIG_KALLSYMS), which is in every distribution's kernel, also
//! where nothing else with names is left.
//!
//! scripts/kallsyms.c of the kernel's source writes it: names are compressed by a table of 256 tokens, and
//! addresses are relative to a base. Nothing says where in the file it is. The token table is found by the
//! tokens for the digits, which always stand for themselves; the rest by its distance from that, and by
//! checking that all of it fits together. Linux 6.1 to 6.12 and later are understood: the order of the parts
//! has changed meanwhile.

/// How the token table looks at the digits.
const DIGITS: &[u8] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";
const TOKENS: usize = 256;
/// A marker, an offset into the names, for every so many symbols.
const MARKED: usize = 256;
/// Names are that far before the token table at most: 30 bytes for each of [`MOST_SYMBOLS`].
const FARTHEST: usize = 30 << 20;
const MOST_SYMBOLS: usize = 1 << 20;
/// A kernel with fewer is none.
const LEAST_SYMBOLS: usize = 256;
/// A compressed name has no more tokens (KSYM_NAME_LEN).
const LONGEST: usize = 512;
/// How many names are looked at in all: a file could be made to look like a table everywhere.
const MOST_STEPS: usize = 1 << 24;
/// Letters that nm has for types.
const TYPES: &[u8] = b"aAbBdDgGiNnpPrRsStTuUvVwW";

/// Functions by their addresses; none where there is no such table.
pub(super) fn functions(bytes: &[u8]) -> Vec<(u64, String)> {
    let mut from = 0;
    while let Some(digits) = find(bytes, from, DIGITS) {
        if let Some(found) = Tokens::around(bytes, digits).and_then(|tokens| table(bytes, &tokens))
        {
            return found;
        }
        from = digits + 1;
    }
    Vec::new()
}

fn find(bytes: &[u8], from: usize, wanted: &[u8]) -> Option<usize> {
    let rest = bytes.get(from..)?;
    Some(from + rest.windows(wanted.len()).position(|window| window == wanted)?)
}

/// The token table.
struct Tokens<'a> {
    /// Where it begins, and where its index ends.
    start: usize,
    end: usize,
    tokens: Vec<&'a [u8]>,
}

impl<'a> Tokens<'a> {
    /// The table whose tokens for the digits are there, if its index says the same.
    fn around(bytes: &'a [u8], digits: usize) -> Option<Tokens<'a>> {
        let mut start = digits;
        for _ in 0..b'0' {
            let before = bytes.get(..start.checked_sub(1)?)?;
            start = before.iter().rposition(|byte| *byte == 0)? + 1;
        }
        let mut tokens = Vec::with_capacity(TOKENS);
        let mut offsets = Vec::with_capacity(TOKENS);
        let mut at = start;
        for _ in 0..TOKENS {
            let rest = bytes.get(at..)?;
            let length = rest.iter().take(LONGEST).position(|byte| *byte == 0)?;
            offsets.push(u16::try_from(at - start).ok()?);
            tokens.push(rest.get(..length)?);
            at += length + 1;
        }
        let index = aligned(at);
        let end = index + TOKENS * 2;
        let said =
            bytes.get(index..end)?.as_chunks().0.iter().map(|word| u16::from_le_bytes(*word));
        said.eq(offsets).then_some(Tokens { start, end, tokens })
    }
}

/// The rest of the table, searched for backwards from the tokens.
fn table(bytes: &[u8], tokens: &Tokens<'_>) -> Option<Vec<(u64, String)>> {
    let mut steps = 0;
    let last = tokens.start / 8 * 8;
    for at in (last.saturating_sub(FARTHEST)..last).rev().filter(|at| at % 8 == 0) {
        let Some(count) = word(bytes, at).and_then(|count| usize::try_from(count).ok()) else {
            continue;
        };
        if !(LEAST_SYMBOLS..=MOST_SYMBOLS).contains(&count) {
            continue;
        }
        if let Some(names) = names(bytes, at + 8, count, tokens, &mut steps) {
            return addresses(bytes, at, count, tokens)
                .map(|addresses| joined(&addresses, &names, tokens));
        }
        if steps > MOST_STEPS {
            return None;
        }
    }
    None
}

/// The compressed names, if there are so many from `start` on and the markers behind them say so too.
fn names<'a>(
    bytes: &'a [u8],
    start: usize,
    count: usize,
    tokens: &Tokens<'_>,
    steps: &mut usize,
) -> Option<Vec<&'a [u8]>> {
    let mut names = Vec::new();
    let mut offsets = Vec::new();
    let mut at = start;
    for number in 0..count {
        *steps += 1;
        if number % MARKED == 0 {
            offsets.push(u32::try_from(at - start).ok()?);
        }
        let mut length = usize::from(*bytes.get(at)?);
        at += 1;
        // Two bytes for the longest names.
        if length & 0x80 != 0 {
            length = length & 0x7F | usize::from(*bytes.get(at)?) << 7;
            at += 1;
        }
        let name = bytes.get(at..at + length)?;
        let first = tokens.tokens.get(usize::from(*name.first()?))?.first()?;
        if length > LONGEST || !TYPES.contains(first) || at > tokens.start {
            return None;
        }
        names.push(name);
        at += length;
    }
    let markers = aligned(at);
    let said = bytes.get(markers..markers + offsets.len() * 4)?;
    let said = said.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    said.eq(offsets).then_some(names)
}

/// Offsets and their base: before the number of symbols, or (since Linux 6.4) behind the tokens' index.
fn addresses(bytes: &[u8], count_at: usize, count: usize, tokens: &Tokens<'_>) -> Option<Vec<u64>> {
    let size = aligned(count * 4);
    let before = count_at.checked_sub(8 + size);
    [before, Some(aligned(tokens.end))].into_iter().flatten().find_map(|start| {
        let base = word(bytes, start + size)?;
        // The kernel's half of the address space.
        if base >> 47 != 0x1_FFFF {
            return None;
        }
        let offsets = bytes.get(start..start + count * 4)?;
        let offsets = offsets.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word));
        let address = |offset: i32| match u64::try_from(offset) {
            // Those of per-CPU variables are absolute (CONFIG_KALLSYMS_ABSOLUTE_PERCPU).
            Ok(absolute) => absolute,
            Err(_) => base.wrapping_add(u64::from(offset.unsigned_abs())).wrapping_sub(1),
        };
        let addresses: Vec<u64> = offsets.clone().map(address).collect();
        // Without that option all are relative, and count upwards.
        let relative = addresses.iter().filter(|address| **address >= base).count();
        if relative * 2 > count {
            return Some(addresses);
        }
        Some(offsets.map(|offset| base.wrapping_add(u64::from(offset.cast_unsigned()))).collect())
    })
}

/// What is code of these.
fn joined(addresses: &[u64], names: &[&[u8]], tokens: &Tokens<'_>) -> Vec<(u64, String)> {
    let named = addresses.iter().zip(names).filter_map(|(address, name)| {
        let token =
            |token: &u8| tokens.tokens.get(usize::from(*token)).copied().unwrap_or_default();
        let name: Vec<u8> = name.iter().flat_map(token).copied().collect();
        let (kind, name) = name.split_first()?;
        // In front of each function there may be room for a tracer's code, with a name of its own.
        let is_code = matches!(kind, b'T' | b't' | b'W' | b'w') && !name.starts_with(b"__pfx_");
        (is_code && *address > 0).then(|| (*address, super::symbols::name_of(name)))
    });
    named.collect()
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map(|bytes| u64::from_le_bytes(*bytes))
}

/// Parts begin at multiples of eight.
fn aligned(at: usize) -> usize {
    at.next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0xFFFF_FFFF_8100_0000;

    fn pad(bytes: &mut Vec<u8>) {
        bytes.resize(aligned(bytes.len()), 0);
    }

    /// A table of functions called f_0, f_1 and so on, 16 bytes each, in one of the two orders.
    fn made(count: u32, offsets_first: bool) -> Vec<u8> {
        let mut bytes = vec![0xCC; 40];
        let mut offsets: Vec<u8> =
            (0..count).flat_map(|n| (-1 - i32::try_from(n * 16).unwrap()).to_le_bytes()).collect();
        pad(&mut offsets);
        offsets.extend(BASE.to_le_bytes());
        if offsets_first {
            bytes.extend(&offsets);
        }
        bytes.extend(u64::from(count).to_le_bytes());
        let (mut names, mut markers) = (Vec::new(), Vec::<u8>::new());
        for number in 0..count {
            if number % 256 == 0 {
                markers.extend(u32::try_from(names.len()).unwrap().to_le_bytes());
            }
            // Token 1 stands for "Tf_".
            let digits = number.to_string();
            names.push(u8::try_from(digits.len()).unwrap() + 1);
            names.push(1);
            names.extend(digits.bytes());
        }
        pad(&mut names);
        bytes.extend(names);
        pad(&mut markers);
        bytes.extend(markers);
        let (mut table, mut index) = (Vec::new(), Vec::new());
        for token in 0..=255_u8 {
            index.extend(u16::try_from(table.len()).unwrap().to_le_bytes());
            match token {
                1 => table.extend(b"Tf_"),
                b'0'..=b'9' => table.push(token),
                _ => table.extend(format!("t{token:x}").bytes()),
            }
            table.push(0);
        }
        pad(&mut table);
        bytes.extend(table);
        bytes.extend(index);
        if !offsets_first {
            bytes.extend(offsets);
        }
        bytes
    }

    #[test]
    fn names_and_addresses_are_found_in_either_order() {
        for offsets_first in [true, false] {
            let found = functions(&made(1000, offsets_first));
            assert_eq!(found.len(), 1000, "{offsets_first}");
            assert_eq!(found[999], (BASE + 999 * 16, "f_999".to_owned()));
        }
    }

    #[test]
    fn what_does_not_fit_together_is_no_table() {
        let whole = made(600, true);
        assert!(functions(&[]).is_empty());
        for length in (0..whole.len()).step_by(61) {
            assert!(functions(&whole[..length]).is_empty(), "{length}");
        }
        for at in (40..whole.len()).step_by(7) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            let found = functions(&damaged);
            assert!(found.is_empty() || found.len() <= 600);
        }
        // The digits everywhere, and nothing around them.
        assert!(functions(&DIGITS.repeat(500)).is_empty());
    }
}
