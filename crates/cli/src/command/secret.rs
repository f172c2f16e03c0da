//! Values that a project keeps secret.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::Subcommand;
use reqwest::Method;
use secrecy::zeroize::Zeroizing;
use tombolo_api::{Secret as Described, SecretList, SetSecret, path};
use tombolo_core::name::SecretName;
use tombolo_core::secret::{MASKED_BYTES_MIN, VALUE_BYTES_MAX};

use crate::Session;
use crate::failure::Failure;
use crate::render::{self, Changed, Rows, Wide};

#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// Gives a secret of the project a value, which is read from standard input or a file, never from an argument.
    Set {
        /// How job files name it: letters, digits and `_`.
        name: SecretName,
        /// A file whose whole content is the value. Of standard input, one line end is left out.
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
    },
    /// Lists the secrets of the project, without their values.
    List,
    /// Deletes a secret of the project.
    Delete {
        /// Its name.
        name: SecretName,
    },
}

impl Rows for SecretList {
    fn header(&self, _: Wide) -> Vec<&'static str> {
        vec!["name", "age"]
    }

    fn rows(&self, _: Wide) -> Vec<Vec<String>> {
        let row = |secret: &Described| vec![secret.name.to_string(), render::age(secret.updated_at)];
        self.secrets.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.secrets.iter().map(|secret| secret.name.to_string()).collect()
    }

    fn empty(&self) -> &'static str {
        "There are no secrets: `tombolo secret set NAME` makes one."
    }
}

/// Sets, lists and deletes secrets.
pub(crate) async fn secret(command: &Secret, session: &Session) -> Result<(), Failure> {
    let project = &session.project;
    let changed = |name: &SecretName, change: &'static str| {
        let (kind, name) = ("secret", name.as_str());
        render::changed(session.format, &Changed { kind, name, change })
    };
    match command {
        Secret::Set { name, from_file } => {
            let value = match from_file {
                Some(path) => {
                    let cannot = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
                    read(File::open(path).map_err(cannot)?)?
                }
                None => from_standard_input()?,
            };
            if value.trim().len() < MASKED_BYTES_MIN {
                // Nobody is left to hear of a standard error that cannot be written.
                drop(writeln!(
                    anstream::stderr(),
                    "warning: values with fewer than {MASKED_BYTES_MIN} bytes are not masked in logs"
                ));
            }
            let request = SetSecret {
                value: value.to_string(),
            };
            let sent = session.client.request(Method::PUT, &path::secret(project, name))?;
            session.client.send(sent.json(&request)).await?;
            changed(name, "set")
        }
        Secret::List => {
            let list: SecretList = session.client.get(&path::secrets(project)).await?;
            render::print(session.format, &list)
        }
        Secret::Delete { name } => {
            let gone = path::secret(project, name);
            session.client.act(Method::DELETE, &gone).await?;
            changed(name, "deleted")
        }
    }
}

fn from_standard_input() -> Result<Zeroizing<String>, Failure> {
    let input = io::stdin();
    if input.is_terminal() {
        // What is typed would stand on the screen.
        return Err(Failure::usage("there is no value")
            .hint("pipe it (`tombolo secret set NAME < file`, `pass show x | tombolo secret set NAME`), or give `--from-file FILE`"));
    }
    let mut value = read(input.lock())?;
    let line = value.strip_suffix('\n').unwrap_or(&value);
    let length = line.strip_suffix('\r').filter(|_| line.len() < value.len());
    let length = length.unwrap_or(line).len();
    value.truncate(length);
    Ok(value)
}

fn read(from: impl Read) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    from.take(VALUE_BYTES_MAX as u64 + 3).read_to_end(&mut bytes)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        let failure = Failure::usage("the value is not text in UTF-8, which a variable should be");
        failure.hint("encode it, as base64 say, and let the job decode it")
    })?;
    match text {
        "" => Err(Failure::usage("the value is empty")),
        text => Ok(Zeroizing::new(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_text_and_not_empty() {
        assert_eq!(read(&b"hunter2\n"[..]).unwrap().as_str(), "hunter2\n");
        assert!(read(&b""[..]).unwrap_err().message.contains("empty"));
        assert!(read(&[0xff, 0xfe][..]).unwrap_err().hint.unwrap().contains("base64"));
        let large = vec![b'x'; 2 * VALUE_BYTES_MAX];
        assert_eq!(
            read(&large[..]).unwrap().len(),
            VALUE_BYTES_MAX + 3,
            "the master refuses it"
        );
    }
}
