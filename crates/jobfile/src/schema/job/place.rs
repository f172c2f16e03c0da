//! Paths within the build's source.

use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, quote};
use crate::reader::Token;

/// The longest path.
const MAX_PATH_BYTES: usize = 4096;

/// Takes the path of a file or folder, relative to the folder of the job file that names it.
pub(super) fn file<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<String>> {
    let at = value.at;
    let Some(path) = decoder.filled_text(value, "text: a path within the source")? else {
        return Ok(None);
    };
    match resolve(&decoder.folder, &path) {
        Ok(path) => Ok(Some(path)),
        Err(complaint) => {
            decoder.fault(at, complaint);
            Ok(None)
        }
    }
}

/// The path as seen from the top of the source, if the file that names it lies in `folder`.
pub(crate) fn resolve(folder: &str, path: &str) -> Result<String, Complaint> {
    const HINT: &str = "paths begin at the folder of the job file, and stay within the source";
    if path.starts_with('/') || path.contains('\\') {
        let message = format!("{} is not a relative path with `/` between its parts", quote(path));
        return Err(Complaint::new(message).hint(HINT));
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_some() => {}
            ".." => {
                let message = format!("{} leads out of the source", quote(path));
                return Err(Complaint::new(message).hint(HINT));
            }
            part => parts.push(part),
        }
    }
    let resolved = parts.join("/");
    if resolved.len() > MAX_PATH_BYTES {
        return Err(Complaint::new(format!("a path of more than {MAX_PATH_BYTES} bytes")));
    }
    Ok(resolved)
}

/// The folder that a file lies in; empty for the top.
pub(crate) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_within_the_source() {
        for (folder, path, expected) in [
            ("", "a.json", Some("a.json")),
            ("", "./a//b/../c.json", Some("a/c.json")),
            ("ci", "a.json", Some("ci/a.json")),
            ("ci/x", "../../a.json", Some("a.json")),
            ("", ".", Some("")),
            ("", "../a.json", None),
            ("ci", "../../a.json", None),
            ("", "/a.json", None),
            ("", "a\\b.json", None),
        ] {
            assert_eq!(resolve(folder, path).ok().as_deref(), expected, "{folder} {path}");
        }
        assert!(resolve("", &"a/".repeat(3000)).is_err());
        assert_eq!((folder_of("a/b/c.json"), folder_of("c.json")), ("a/b", ""));
    }
}
