//! What jobs of the type `git` say of the repository that they clone.

use std::net::IpAddr;

use tombolo_core::build::repository::Repository;
use tombolo_core::name::SecretName;

use super::environment::{self, Environment, Reference};
use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, Position, quote};
use crate::reader::{Piece, Token};
use crate::schema::fields;

/// The longest address, name of a branch or user.
const MAX_BYTES: usize = 2048;

const OF_CREDENTIALS: [&str; 2] = ["username", "password"];

/// What has been read of it.
#[derive(Default)]
pub(super) struct Cloning {
    url: Option<String>,
    commit: Option<String>,
    branch: Option<String>,
    username: Option<String>,
    /// Where its address is.
    url_at: Option<Position>,
    /// The secret of the project that the server wants to hear.
    pub(super) password: Option<SecretName>,
}

impl Cloning {
    /// Takes one of its fields, which is known.
    pub(super) fn take<'a>(&mut self, decoder: &mut Decoder<'a>, field: &str, value: Token<'a>) -> Step<()> {
        match field {
            "clone_url" => self.take_url(decoder, value)?,
            "commit" => self.commit = name(decoder, value)?,
            "branch" => self.branch = name(decoder, value)?,
            _ => self.take_credentials(decoder, &value)?,
        }
        Ok(())
    }

    /// The repository, with the job file that is named in it; none if what must be said of it is missing. The password goes with the secrets of
    /// the environment, by a name that nothing else has.
    pub(super) fn finish(self, file: Option<String>, environment: &mut Environment) -> Option<Box<Repository>> {
        let repository = Repository {
            url: self.url?,
            commit: self.commit?,
            branch: self.branch,
            file,
            username: self.username,
        };
        environment.texts.remove(Repository::PASSWORD);
        environment.secrets.remove(Repository::PASSWORD);
        let variable = Repository::PASSWORD.to_owned();
        environment
            .secrets
            .extend(self.password.map(|password| (variable, password)));
        Some(Box::new(repository))
    }

    /// Says that a password would cross the network in the clear, if it would.
    pub(super) fn check(&self, decoder: &mut Decoder<'_>) {
        let Some(((url, at), _)) = self.url.as_deref().zip(self.url_at).zip(self.password.as_ref()) else {
            return;
        };
        if let Some(rest) = url.strip_prefix("http://").filter(|rest| !is_loopback(rest)) {
            let host = rest.split('/').next().unwrap_or(rest);
            let message = format!("the password would go to {} in the clear", quote(host));
            let hint = "with `credentials`, the address is one of `https`; of `http` only on the machine itself (`localhost`, `127.0.0.1`, `[::1]`)";
            decoder.field_fault("clone_url", at, Complaint::new(message).hint(hint));
        }
    }

    fn take_url<'a>(&mut self, decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<()> {
        let at = value.at;
        let Some(text) = decoder.filled_text(value, "text: the address of a repository")? else {
            return Ok(());
        };
        match address(&text) {
            Ok((url, username)) => {
                self.url = Some(url);
                self.url_at = Some(at);
                self.username = self.username.take().or(username);
            }
            Err(complaint) => decoder.fault(at, complaint),
        }
        Ok(())
    }

    fn take_credentials<'a>(&mut self, decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<()> {
        let mut given = false;
        let expected = "an object with `username` and `password`";
        let is_map = decoder.map(value, expected, |decoder, field, at, value| {
            match field {
                "username" => self.username = name(decoder, value)?,
                "password" => {
                    given = true;
                    self.password = password(decoder, value)?;
                }
                other => {
                    decoder.fault(at, fields::unknown(other, OF_CREDENTIALS));
                    decoder.skip(&value)?;
                }
            }
            Ok(())
        })?;
        if is_map && !given {
            let complaint = Complaint::new("the field is missing").hint("add `password: {$secret: NAME}`");
            decoder.field_fault("password", value.at, complaint);
        }
        Ok(())
    }
}

/// A secret of the project: a password in a job file is read by everybody who may read that.
fn password<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<SecretName>> {
    if value.piece != Piece::MapStart {
        // Not repeated: it would be in every message.
        let complaint = Complaint::new("the password is not a secret of the project");
        decoder.fault(
            value.at,
            complaint.hint("set it with `tombolo secret set NAME`, and say `password: {$secret: NAME}`"),
        );
        decoder.skip(&value)?;
        return Ok(None);
    }
    match environment::secret(decoder, &value)? {
        Some(Reference::Secret(secret)) => Ok(Some(secret)),
        Some(Reference::Vault) => {
            let complaint = Complaint::new("a password for git cannot come out of a vault");
            decoder.fault(
                value.at,
                complaint.hint("take a secret of the project: `{$secret: NAME}`"),
            );
            Ok(None)
        }
        None => Ok(None),
    }
}

/// A name that stands in one line.
fn name<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<String>> {
    let at = value.at;
    let Some(text) = decoder.filled_text(value, "text: a commit, branch or tag")? else {
        return Ok(None);
    };
    if text.len() > MAX_BYTES || text.chars().any(|character| character.is_control() || character == ' ') {
        let complaint = Complaint::new(format!("{} is not the name of a commit, branch or tag", quote(&text)));
        decoder.fault(
            at,
            complaint.hint(format!("it has at most {MAX_BYTES} bytes, and no spaces")),
        );
        return Ok(None);
    }
    Ok(Some(text))
}

/// The address without its user, and that user.
fn address(text: &str) -> Result<(String, Option<String>), Complaint> {
    let schemes = ["https://", "http://"];
    let Some((scheme, rest)) = schemes
        .iter()
        .find_map(|scheme| Some((scheme, text.strip_prefix(scheme)?)))
    else {
        let message = format!("{} cannot be cloned: only `https` and `http` are spoken", quote(text));
        return Err(Complaint::new(message).hint("most servers have the same repository as `https://host/path`"));
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if user.is_some_and(|user| user.contains(':')) {
        // Not repeated: it would be in every message.
        let complaint = Complaint::new("the address has a password in it, which everybody sees who sees the job file");
        return Err(
            complaint.hint("set it as a secret, and say `credentials: {username: NAME, password: {$secret: NAME}}`")
        );
    }
    let is_plain = |character: char| character.is_ascii_graphic() && !matches!(character, '\\' | '?' | '#');
    if host.is_empty() || path.is_empty() || text.len() > MAX_BYTES || !text.chars().all(is_plain) {
        let message = format!("{} is not the address of a repository", quote(text));
        return Err(Complaint::new(message).hint("an address is such as `https://git.example/team/shop`"));
    }
    let user = user.filter(|user| !user.is_empty()).map(str::to_owned);
    Ok((format!("{scheme}{host}/{path}"), user))
}

/// Whether what follows the scheme of an address is on the machine itself.
fn is_loopback(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or(authority),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_itself_is_known_by_its_names() {
        for (rest, expected) in [
            ("localhost/a", true),
            ("LOCALHOST:8080/a", true),
            ("127.0.0.1:80/a", true),
            ("127.8.9.10/a", true),
            ("[::1]:80/a", true),
            ("localhost.example/a", false),
            ("127.0.0.1.example/a", false),
            ("10.0.0.1/a", false),
            ("[::2]/a", false),
        ] {
            assert_eq!(is_loopback(rest), expected, "{rest}");
        }
    }

    #[test]
    fn addresses_are_of_http_and_tell_no_password() {
        for (text, expected) in [
            (
                "https://git.example/a/b.git",
                Some(("https://git.example/a/b.git", None)),
            ),
            ("http://127.0.0.1:8080/a", Some(("http://127.0.0.1:8080/a", None))),
            (
                "https://robot@git.example/a",
                Some(("https://git.example/a", Some("robot"))),
            ),
            ("https://robot:word@git.example/a", None),
            ("git@git.example:a/b.git", None),
            ("ssh://git@git.example/a", None),
            ("file:///etc", None),
            ("/etc", None),
            ("ext::sh -c id", None),
            ("https://", None),
            ("https://git.example", None),
            ("https:///a", None),
            ("https://git.example/a b", None),
            ("https://git.example/a?x=y", None),
        ] {
            let read = address(text).ok();
            let expected = expected.map(|(url, user)| (url.to_owned(), user.map(str::to_owned)));
            assert_eq!(read, expected, "{text}");
        }
    }
}
