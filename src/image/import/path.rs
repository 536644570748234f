//! Paths of entries, as names below the root.

use super::error::shown;
use super::{ImportError, limits};

/// Whether a path may begin with `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absolute {
    /// It is refused.
    Refused,
    /// It begins at the image's root.
    BelowRoot,
}

/// The names in a path, from the root down; none for the root itself.
pub(super) fn components(path: &[u8], absolute: Absolute) -> Result<Vec<&[u8]>, ImportError> {
    let refused = |reason: &str| ImportError::malformed(format!("path {}", shown(path)), reason);
    if path.is_empty() {
        return Err(refused("is empty"));
    }
    if path.starts_with(b"/") && absolute == Absolute::Refused {
        return Err(refused(
            "is absolute; --absolute-names takes it as one below the image's root",
        ));
    }
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let names: Vec<&[u8]> = names.collect();
    if names.contains(&&b".."[..]) {
        return Err(refused("leads upwards"));
    }
    if path.contains(&0) {
        return Err(refused("has a NUL character in it"));
    }
    if names.iter().any(|name| name.len() > limits::NAME) {
        return Err(refused("has a name of more than 255 bytes"));
    }
    if names.len() > limits::DEPTH {
        return Err(refused("is more than 256 directories deep"));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_stay_below() {
        let names = |path: &str| {
            let found =
                components(path.as_bytes(), Absolute::Refused).map_err(|e| e.to_string())?;
            Ok(found.join(&b'/'))
        };
        for (path, below) in
            [("a", "a"), ("./a//b/./c/", "a/b/c"), (".", ""), ("./", ""), ("..a", "..a")]
        {
            assert_eq!(names(path), Ok::<_, String>(below.into()));
        }
        for bad in ["", "/", "/a", "..", "a/..", "../a", "a/../b", "a\0"] {
            assert!(names(bad).is_err(), "{bad}");
        }
        assert!(names(&"x".repeat(256)).is_err() && names(&"x/".repeat(257)).is_err());
        assert_eq!(components(b"/a/b", Absolute::BelowRoot).unwrap(), [b"a", b"b"]);
        assert!(components(b"/../b", Absolute::BelowRoot).is_err());
    }

    proptest! {
        #[test]
        fn no_component_leads_anywhere_else(path in "[a./\\PC]{0,40}") {
            if let Ok(names) = components(path.as_bytes(), Absolute::BelowRoot) {
                for name in names {
                    prop_assert!(!name.is_empty() && name != b"." && name != b"..");
                    prop_assert!(!name.contains(&b'/'));
                }
            }
        }
    }
}
