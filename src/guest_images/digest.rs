//! Names for cache entries: a short digest of everything that went in.

use sha2::{Digest as _, Sha256};

/// Digits kept of the SHA-256: 64 bits, enough against accidents, which are all that this guards
/// against (apt guards against attackers).
const HEX_DIGITS: usize = 16;

/// A digest of named parts; the same bytes divided differently give another digest.
#[derive(Clone)]
pub(crate) struct Digest(Sha256);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    /// Adds one part.
    pub(crate) fn part(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.0.update(bytes.len().to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// The digest as a part of a file name.
    pub(crate) fn name(self) -> String {
        let mut hex = String::with_capacity(2 * HEX_DIGITS);
        for byte in self.0.finalize() {
            hex.push_str(&format!("{byte:02x}"));
        }
        hex.truncate(HEX_DIGITS);
        hex
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_apart() {
        let one = Digest::new().part("ab").part("c").name();
        let other = Digest::new().part("a").part("bc").name();
        assert_ne!(one, other);
        assert_eq!(one, Digest::new().part("ab").part("c").name());
        assert_eq!(one.len(), HEX_DIGITS);
    }
}
