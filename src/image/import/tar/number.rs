//! Numbers in tar headers: octal digits (POSIX.1-2001, pax, "ustar Interchange Format"), or GNU's
//! base-256 for what does not fit.

/// The number in a field. Empty is 0.
pub(super) fn parse(field: &[u8]) -> Result<i64, &'static str> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

/// A number that can't be negative.
pub(super) fn parse_unsigned(field: &[u8]) -> Result<u64, &'static str> {
    u64::try_from(parse(field)?).map_err(|_| "is negative")
}

fn octal(field: &[u8]) -> Result<i64, &'static str> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let digits = field.get(..end).unwrap_or_default().trim_ascii();
    let mut number: i64 = 0;
    for digit in digits {
        if !(b'0'..=b'7').contains(digit) {
            return Err("is no octal number");
        }
        let next = number.checked_mul(8).map(|number| number + i64::from(digit - b'0'));
        number = next.ok_or("is too large")?;
    }
    Ok(number)
}

/// Two's complement, big-endian, in all bits but the first.
fn base256(field: &[u8]) -> Result<i64, &'static str> {
    let (first, rest) = field.split_first().ok_or("is missing")?;
    // The second bit is the sign.
    let mut number = i128::from(first & 0x7F);
    if first & 0x40 != 0 {
        number -= 0x80;
    }
    for byte in rest {
        number = number.checked_mul(256).ok_or("is too large")? + i128::from(*byte);
    }
    i64::try_from(number).map_err(|_| "is too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_as_all_write_it() {
        for (field, number) in [
            (&b"0000644\0"[..], 0o644),
            (b"   755 \0", 0o755),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"77777777777\0", 0o777_7777_7777),
            (b"", 0),
        ] {
            assert_eq!(parse(field), Ok(number));
        }
        for bad in [&b"-1"[..], b"8", b"1 2", b"0x1", b"1777777777777777777777777"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn base_256_has_a_sign_and_a_bound() {
        assert_eq!(parse(&[0x80, 0, 0, 1, 0]), Ok(256));
        assert_eq!(parse(&[0xFF; 12]), Ok(-1));
        assert_eq!(parse_unsigned(&[0xFF; 12]), Err("is negative"));
        let mut field = [0; 12];
        (field[0], field[3]) = (0x80, 1);
        assert_eq!(parse(&field), Err("is too large"));
    }
}
