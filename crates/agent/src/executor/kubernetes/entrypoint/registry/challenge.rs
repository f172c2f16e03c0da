//! What a registry asks for: `WWW-Authenticate`.

/// One way to get in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password.
    Basic,
    /// A token from somewhere.
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// None for ways that this client does not know.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        Some(Self::Bearer {
            realm: parameter(parameters, "realm")?,
            service: parameter(parameters, "service"),
        })
    }
}

/// The value of `name="value"`; values may have commas.
fn parameter(mut text: &str, name: &str) -> Option<String> {
    loop {
        let (key, rest) = text.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        if key.trim().trim_start_matches(',').trim().eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_registries() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
            })
        };
        for (header, expected) in [
            ("Basic realm=\"Registry\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a:pull,push\"",
                bearer("https://auth.docker.io/token", Some("registry.docker.io")),
            ),
            (
                "Bearer scope=\"a:pull,push\", realm=\"https://a/t\"",
                bearer("https://a/t", None),
            ),
            ("Bearer service=x,realm=https://a/t", bearer("https://a/t", Some("x"))),
            ("Bearer realm=\"unclosed", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }
}
