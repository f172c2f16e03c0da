//! What an image says of itself.

use serde::{Deserialize, Serialize};

/// The part of an image's configuration that says how it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Entrypoint and arguments: what runs if a job names no command. Empty if the image does not say.
    pub command: Vec<String>,
    /// The user, as it is written: a name or a number, perhaps with a group; empty for root.
    pub user: String,
    /// Where it runs; none for `/`.
    pub working_folder: Option<String>,
}

/// As registries have it.
#[derive(Debug, Deserialize)]
struct ConfigurationFile {
    config: Option<Configuration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Configuration {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
}

impl Image {
    pub(super) fn parse(configuration: &[u8]) -> Result<Self, serde_json::Error> {
        let file: ConfigurationFile = serde_json::from_slice(configuration)?;
        let configuration = file.config.unwrap_or_default();
        let mut command = configuration.entrypoint.unwrap_or_default();
        command.extend(configuration.cmd.unwrap_or_default());
        Ok(Self {
            command,
            user: configuration.user.unwrap_or_default(),
            working_folder: configuration.working_dir.filter(|folder| !folder.is_empty()),
        })
    }

    /// The user's number, if the image gives one: the only kind of which Kubernetes can tell that it is not root.
    pub fn numeric_user(&self) -> Option<i64> {
        let user = self.user.split(':').next().unwrap_or_default();
        match user {
            "" | "root" => Some(0),
            user => user.parse().ok(),
        }
    }

    /// The user, for people.
    pub fn user_in_words(&self) -> String {
        match self.numeric_user() {
            Some(0) => "root".to_owned(),
            Some(number) => format!("the user {number}"),
            None => format!("the user `{}`, which has no number", self.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_entrypoint_and_arguments() {
        for (text, command, user, folder) in [
            (
                r#"{"config":{"Entrypoint":["a","b"],"Cmd":["c"]}}"#,
                &["a", "b", "c"][..],
                "",
                None,
            ),
            (
                r#"{"config":{"Entrypoint":null,"Cmd":["c"],"WorkingDir":""}}"#,
                &["c"],
                "",
                None,
            ),
            (
                r#"{"config":{"User":"1000:1","WorkingDir":"/work"}}"#,
                &[],
                "1000:1",
                Some("/work"),
            ),
            (r#"{"architecture":"amd64"}"#, &[], "", None),
        ] {
            let image = Image::parse(text.as_bytes()).unwrap();
            assert_eq!(
                (image.command.as_slice(), image.user.as_str()),
                (
                    command
                        .iter()
                        .map(|&part| part.to_owned())
                        .collect::<Vec<_>>()
                        .as_slice(),
                    user
                )
            );
            assert_eq!(image.working_folder.as_deref(), folder);
        }
        assert!(Image::parse(b"<html>").is_err());
    }

    #[test]
    fn users() {
        for (user, number) in [
            ("", Some(0)),
            ("root", Some(0)),
            ("0:0", Some(0)),
            ("1000", Some(1000)),
            ("1000:x", Some(1000)),
            ("node", None),
        ] {
            let image = Image {
                user: user.to_owned(),
                ..Image::default()
            };
            assert_eq!(image.numeric_user(), number, "{user}");
        }
    }
}
