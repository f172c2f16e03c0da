//! The names of images.

use std::fmt;

/// What is meant if no registry is named, and where it answers.
const DEFAULT: &str = "docker.io";
const DEFAULT_HOST: &str = "registry-1.docker.io";

/// The longest name that any registry takes, with room.
const LIMIT: usize = 512;

/// A name that no image can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not the name of an image: {reason}")]
pub struct InvalidReference {
    /// The name, cut to 100 characters.
    pub name: String,
    /// Why not.
    pub reason: &'static str,
}

/// `registry/repository:tag` or `registry/repository@digest`, with what Docker fills in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    /// A tag or a digest.
    version: String,
}

impl Reference {
    /// Reads a name as container runtimes do.
    ///
    /// # Errors
    /// See [`InvalidReference`].
    pub fn parse(name: &str) -> Result<Self, InvalidReference> {
        let invalid = |reason| InvalidReference {
            name: name.chars().take(100).collect(),
            reason,
        };
        if name.is_empty() || name.len() > LIMIT {
            return Err(invalid("it is empty or too long"));
        }
        let (path, digest) = name
            .split_once('@')
            .map_or((name, None), |(path, digest)| (path, Some(digest)));
        let (registry, rest) = match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => (DEFAULT, path),
        };
        let (repository, tag) = rest
            .split_once(':')
            .map_or((rest, None), |(repository, tag)| (repository, Some(tag)));
        let repository = match registry {
            DEFAULT if !repository.contains('/') => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        if !is_registry(registry) {
            return Err(invalid("its registry is not `host` or `host:port`"));
        }
        if !is_repository(&repository) {
            return Err(invalid(
                "its repository has other characters than a-z, 0-9, `.`, `_`, `-` and `/`",
            ));
        }
        if !tag.is_none_or(is_tag) {
            return Err(invalid(
                "its tag has other characters than letters, digits, `.`, `_` and `-`",
            ));
        }
        if !digest.is_none_or(is_digest) {
            return Err(invalid("its digest is not `sha256:` and 64 hexadecimal digits"));
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            version: digest.or(tag).unwrap_or("latest").to_owned(),
        })
    }

    /// The registry, as users and pull secrets name it.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within it.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The host and port at which the registry answers.
    pub(super) fn host(&self) -> &str {
        if self.registry == DEFAULT {
            DEFAULT_HOST
        } else {
            &self.registry
        }
    }

    /// Tag or digest.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Whether it will always be the same image.
    pub(super) fn is_fixed(&self) -> bool {
        is_digest(&self.version)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_fixed() { '@' } else { ':' };
        write!(formatter, "{}/{}{mark}{}", self.registry, self.repository, self.version)
    }
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = registry
        .rsplit_once(':')
        .map_or((registry, "1"), |(host, port)| (host, port));
    let part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    port.parse::<u16>().is_ok() && host.split('.').all(part)
}

fn is_repository(repository: &str) -> bool {
    repository.split('/').all(|part| {
        let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        edge(part.as_bytes().first())
            && edge(part.as_bytes().last())
            && part
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
    })
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

pub(super) fn is_digest(digest: &str) -> bool {
    let hex = digest.strip_prefix("sha256:");
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_runtimes_read_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (name, registry, repository, version) in [
            ("busybox", "docker.io", "library/busybox", "latest"),
            ("node:22", "docker.io", "library/node", "22"),
            ("me/tool:1", "docker.io", "me/tool", "1"),
            ("docker.io/node:22", "docker.io", "library/node", "22"),
            ("localhost/x", "localhost", "x", "latest"),
            (
                "registry.example.org:5000/a/b/c:v1",
                "registry.example.org:5000",
                "a/b/c",
                "v1",
            ),
            (&format!("ghcr.io/a/b@{digest}"), "ghcr.io", "a/b", &digest),
            (&format!("ghcr.io/a/b:1@{digest}"), "ghcr.io", "a/b", &digest),
        ] {
            let reference = Reference::parse(name).unwrap();
            assert_eq!(
                (reference.registry(), reference.repository(), reference.version()),
                (registry, repository, version),
                "{name}"
            );
        }
        assert_eq!(Reference::parse("node").unwrap().host(), "registry-1.docker.io");
    }

    #[test]
    fn what_is_no_name() {
        for name in [
            "",
            "UPPER",
            "a b",
            "a//b",
            "-a",
            "a/",
            "a:",
            "a:b c",
            "a:-b",
            "a@sha256:12",
            "a@md5:1",
            "host.:1/a",
            "host:99999/a",
            "../../etc",
            "a?b",
            "a#b",
            "evil.org\\x/a",
            "user@host.org/a",
        ] {
            assert!(Reference::parse(name).is_err(), "{name}");
        }
        assert!(Reference::parse(&"a".repeat(600)).is_err());
    }
}
