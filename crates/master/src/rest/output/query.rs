//! Queries in which paths are bytes: names of files need not be UTF-8.

use tombolo_api::problem::Code;

use super::Error;

/// The parameters of a query, decoded.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(&'static str, Vec<u8>)>);

impl Parameters {
    /// Reads a query. Parameters that are not known, or come twice, are refused.
    pub(super) fn read(query: Option<&str>, known: &'static [&'static str]) -> Result<Self, Error> {
        let mut parameters: Vec<(&'static str, Vec<u8>)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(key) = known.iter().find(|known| **known == key) else {
                let list: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
                let allowed = if list.is_empty() {
                    "none is known".to_owned()
                } else {
                    format!("only {} may be given", list.join(", "))
                };
                let shown: String = key.chars().take(40).collect();
                return Err(invalid(format_args!("the parameter `{shown}` is not known; {allowed}")));
            };
            if parameters.iter().any(|(given, _)| given == key) {
                return Err(invalid(format_args!("`{key}` is given twice")));
            }
            let Some(value) = decode(value) else {
                return Err(invalid(format_args!(
                    "`{key}` has a `%` that is not followed by two hexadecimal digits"
                )));
            };
            parameters.push((key, value));
        }
        Ok(Self(parameters))
    }

    /// A path within an output, without what does not count: `./` before and `/` after it. Empty if there is none.
    pub(super) fn path(&self) -> Vec<u8> {
        let mut path = self.get("path").unwrap_or_default();
        while let Some(rest) = path.strip_prefix(b"./") {
            path = rest;
        }
        while let Some(rest) = path.strip_suffix(b"/") {
            path = rest;
        }
        if path == b"." { Vec::new() } else { path.to_vec() }
    }

    /// A number, if it is given.
    pub(super) fn number(&self, key: &'static str) -> Result<Option<u64>, Error> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
        number
            .map(Some)
            .ok_or_else(|| invalid(format_args!("`{key}` is not a number from 0 on")))
    }

    fn get(&self, key: &str) -> Option<&[u8]> {
        let (_, value) = self.0.iter().find(|(given, _)| *given == key)?;
        Some(value)
    }
}

pub(super) fn invalid(detail: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidRequest, format_args!("query: {detail}"))
}

fn decode(value: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next().unwrap_or_default()).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["path", "offset"];

    #[test]
    fn paths_of_files_come_as_bytes() {
        for (query, expected) in [
            ("path=a", Some(&b"a"[..])),
            ("path=a%2Fb%20c", Some(b"a/b c")),
            ("path=%FF%c3", Some(b"\xff\xc3")),
            ("path=a+b", Some(b"a b")),
            ("path=./a//", Some(b"a")),
            ("path=.", Some(b"")),
            ("path=", Some(b"")),
            ("", Some(b"")),
            ("path=.a", Some(b".a")),
            ("path=%F", None),
            ("path=%zz", None),
            ("other=a", None),
            ("path=a&path=b", None),
        ] {
            let path = Parameters::read(Some(query), KNOWN)
                .ok()
                .map(|parameters| parameters.path());
            assert_eq!(path.as_deref(), expected, "{query}");
        }
        let name = b"caf\xc3\xa9/\xff x";
        let built = format!("path={}", tombolo_api::path::encode_bytes(name));
        assert_eq!(Parameters::read(Some(&built), KNOWN).unwrap().path(), name);
    }

    #[test]
    fn numbers_are_numbers() {
        let number = |query| Parameters::read(Some(query), KNOWN).unwrap().number("offset");
        assert_eq!(number("offset=7&path=a").unwrap(), Some(7));
        assert_eq!(number("path=a").unwrap(), None);
        for query in ["offset=", "offset=-1", "offset=a", "offset=99999999999999999999"] {
            number(query).unwrap_err();
        }
    }
}
