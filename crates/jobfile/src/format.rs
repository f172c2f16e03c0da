//! What the name of a job file says.

use crate::fault::{Complaint, quote};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    Json,
    Yaml,
}

/// Whose rules a file follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `infrabox.json` and `infrabox.yaml`: what InfraBox takes.
    InfraBox,
    /// All other names: our own, in which some more can be said.
    Tombolo,
}

/// Reads a file's name; folders before it do not matter.
pub(crate) fn detect(file_name: &str) -> Result<(Syntax, Dialect), Complaint> {
    let base = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    let syntax = match base.rsplit_once('.') {
        Some((_, "json")) => Syntax::Json,
        Some((_, "yaml" | "yml")) => Syntax::Yaml,
        _ => {
            let message = format!("the name {} does not say how the file is written", quote(base));
            return Err(Complaint::new(message).hint("name it `.json`, `.yaml` or `.yml`"));
        }
    };
    let dialect = if base.starts_with("infrabox") {
        Dialect::InfraBox
    } else {
        Dialect::Tombolo
    };
    Ok((syntax, dialect))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_syntax_and_dialect() {
        for (name, expected) in [
            ("infrabox.json", Some((Syntax::Json, Dialect::InfraBox))),
            ("/a.b/infrabox.yaml", Some((Syntax::Yaml, Dialect::InfraBox))),
            ("tombolo.yml", Some((Syntax::Yaml, Dialect::Tombolo))),
            ("nightly.json", Some((Syntax::Json, Dialect::Tombolo))),
            ("infrabox", None),
            ("a.json/x", None),
            ("x.toml", None),
            ("", None),
        ] {
            assert_eq!(detect(name).ok(), expected, "{name}");
        }
    }
}
