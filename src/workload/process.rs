//! What an image says about the command that is run in it, as the OCI image specification's
//! configuration has it.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

/// The `config` of an image's configuration: what of it is honoured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Process {
    /// What is executed, before any arguments.
    #[serde(deserialize_with = "null_is_empty")]
    pub entrypoint: Vec<String>,
    /// The arguments, or the whole command if there is no entry point. What the caller gives replaces it.
    #[serde(deserialize_with = "null_is_empty")]
    pub cmd: Vec<String>,
    /// Variables of the environment, as `NAME=VALUE`.
    #[serde(deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    /// Who runs it: `USER[:GROUP]`, by names or numbers; empty for root.
    #[serde(deserialize_with = "null_is_empty")]
    pub user: String,
    /// Where it runs; empty for `/`.
    #[serde(deserialize_with = "null_is_empty")]
    pub working_dir: String,
}

/// Go's programs write `null` for what is empty.
fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Process {
    /// What is wrong with it: what no process can be started with.
    pub(crate) fn check(&self) -> Result<(), String> {
        let strings = self.entrypoint.iter().chain(&self.cmd).chain(&self.env);
        if strings.chain([&self.user, &self.working_dir]).any(|text| text.contains('\0')) {
            return Err("it has a NUL character in what is to be executed".into());
        }
        let names_nothing = |text: &&String| text.split('=').next().unwrap_or_default().is_empty();
        if let Some(variable) = self.env.iter().find(names_nothing) {
            return Err(format!("its variable '{}' has no name", variable.escape_debug()));
        }
        Ok(())
    }

    /// What is executed, by docker's rules. `entrypoint` replaces the image's, and takes the image's
    /// `Cmd` out of the game; an empty one stands for none. `arguments` replace `Cmd`.
    pub fn command(&self, entrypoint: Option<&OsString>, arguments: &[OsString]) -> Vec<OsString> {
        let own = |words: &[String]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let mut command = match entrypoint {
            Some(given) => vec![given.clone()],
            None => own(&self.entrypoint),
        };
        command.retain(|word| entrypoint.is_none() || !word.is_empty());
        if arguments.is_empty() && entrypoint.is_none() {
            command.extend(own(&self.cmd));
        } else {
            command.extend(arguments.iter().cloned());
        }
        command
    }

    /// The variables as pairs; one without `=` is empty.
    pub fn variables(&self) -> impl Iterator<Item = (OsString, OsString)> {
        self.env.iter().map(|text| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.into(), value.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process() -> Process {
        let json = r#"{"Entrypoint":["/e","-x"],"Cmd":["c"],"Env":["A=1=2","B"],"User":null,"Volumes":{}}"#;
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_command_is_dockers() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let command = |entrypoint: Option<&str>, arguments: &[&str]| {
            process().command(entrypoint.map(OsString::from).as_ref(), &words(arguments))
        };
        assert_eq!(command(None, &[]), words(&["/e", "-x", "c"]));
        assert_eq!(command(None, &["d"]), words(&["/e", "-x", "d"]));
        assert_eq!(command(Some("/f"), &[]), words(&["/f"]));
        assert_eq!(command(Some("/f"), &["d"]), words(&["/f", "d"]));
        assert_eq!(command(Some(""), &["d"]), words(&["d"]));
        assert_eq!(Process::default().command(None, &[]), words(&[]));
    }

    #[test]
    fn what_nothing_can_be_started_with_is_refused() {
        assert_eq!(process().check(), Ok(()));
        let variables: Vec<_> = process().variables().collect();
        assert_eq!(variables, [("A".into(), "1=2".into()), ("B".into(), "".into())]);
        let with = |text: &str| Process { env: vec![text.into()], ..process() };
        assert!(with("=x").check().is_err() && with("").check().is_err());
        assert!(with("A=\0").check().is_err());
        let user = Process { user: "a\0".into(), ..process() };
        assert!(user.check().is_err());
    }
}
