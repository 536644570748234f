//! `--security-opt`: which of the walls round a container are to be different.

use std::str::FromStr;

use crate::isolate::apparmor;

/// One of the options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecurityOption {
    /// `apparmor=`: the profile, or none.
    AppArmor(Confinement),
}

/// What AppArmor confines commands to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confinement {
    /// The profile of this program.
    Profile,
    /// Nothing.
    Unconfined,
}

impl FromStr for SecurityOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("apparmor", "unconfined")) => Ok(Self::AppArmor(Confinement::Unconfined)),
            Some(("apparmor", apparmor::PROFILE)) => Ok(Self::AppArmor(Confinement::Profile)),
            _ => Err(format!(
                "'{text}' is no option: they are apparmor=unconfined and apparmor={}",
                apparmor::PROFILE
            )),
        }
    }
}

/// Decides whether commands are confined by AppArmor: where that is enabled, unless said otherwise. Loads
/// the profile where it is not loaded yet.
///
/// # Errors
/// The profile was asked for, and cannot be had.
pub(super) fn confinement(options: &[SecurityOption]) -> Result<bool, String> {
    let asked = options.iter().rev().map(|SecurityOption::AppArmor(asked)| *asked).next();
    match (asked, apparmor::is_enabled()) {
        (Some(Confinement::Unconfined), _) | (None, false) => Ok(false),
        (Some(Confinement::Profile), false) => Err(
            "--security-opt apparmor: this host's kernel has no AppArmor enabled: leave it away"
                .into(),
        ),
        (asked, true) => match apparmor::provide() {
            Ok(()) => Ok(true),
            Err(error) if asked.is_some() => Err(error.to_string()),
            Err(error) => {
                log::info!("the container is not confined by AppArmor: {error}");
                Ok(false)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_dockers() {
        let read = |text: &str| text.parse::<SecurityOption>();
        let unconfined = SecurityOption::AppArmor(Confinement::Unconfined);
        assert_eq!(read("apparmor=unconfined"), Ok(unconfined.clone()));
        assert_eq!(
            read("apparmor=duplex-default"),
            Ok(SecurityOption::AppArmor(Confinement::Profile))
        );
        for text in ["", "apparmor", "apparmor=", "apparmor=docker-default", "label=disable"] {
            assert!(read(text).unwrap_err().contains("is no option"), "{text}");
        }
        assert_eq!(confinement(&[unconfined]), Ok(false));
    }
}
