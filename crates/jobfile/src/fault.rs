//! What is wrong with a job file, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is wrong with a job file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The file, if it is not the one that was given but a workflow's: its path from the top of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The value that is meant, such as `jobs[2].depends_on[0].on`; empty for the file as a whole.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, in characters from 1.
    pub column: u32,
    /// What is wrong, in one line without control characters.
    pub message: String,
    /// What to do about it, where that is not obvious.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Everything that is wrong with a job file, by line and column, and with the workflows in it, each after the file that names it. There
/// is at least one fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", crate::report::plain(self))]
pub struct Faults {
    /// The name of the file, as it was given.
    pub file: String,
    /// What is wrong, at most [`Faults::MAX`].
    pub faults: Vec<Fault>,
    /// How many more faults were found and are not listed.
    pub omitted: usize,
}

impl Faults {
    /// The most faults that are listed: more are of no use to a reader, and a file may be hostile.
    pub const MAX: usize = 500;
}

/// A place in a file; both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

/// A fault without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Complaint {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// The fault at this place.
    pub(crate) fn at(self, path: &str, at: Position) -> Fault {
        Fault {
            file: None,
            path: clean(path),
            line: at.line,
            column: at.column,
            message: clean(&self.message),
            hint: self.hint.map(|hint| clean(&hint)),
        }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

/// Gathers faults, and bounds how many are kept.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    faults: Vec<Fault>,
    omitted: usize,
}

impl Collector {
    /// Whether one more fault would be kept: what only serves a message need not be worked out otherwise.
    pub(crate) fn has_room(&self) -> bool {
        self.faults.len() < Faults::MAX
    }

    pub(crate) fn add(&mut self, path: impl fmt::Display, at: Position, complaint: Complaint) {
        if !self.has_room() {
            self.omitted += 1;
            return;
        }
        self.faults.push(complaint.at(&path.to_string(), at));
    }

    pub(crate) fn into_faults(mut self, file: &str) -> Faults {
        self.faults.sort_by_key(|fault| (fault.line, fault.column));
        Faults {
            file: excerpt(file, 4096),
            faults: self.faults,
            omitted: self.omitted,
        }
    }
}

/// A text of the file for a message: quoted, short, and without control characters.
pub(crate) fn quote(text: &str) -> String {
    format!("`{}`", excerpt(text, 60))
}

pub(crate) fn excerpt(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => clean(text),
        Some((end, _)) => clean(&text[..end]) + "…",
    }
}

/// Control characters could do harm to a terminal.
fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            cleaned.extend(character.escape_default());
        } else {
            cleaned.push(character);
        }
    }
    cleaned
}

/// The name among `known` that `name` was probably meant to be.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// The longest name that is compared: the comparison takes time in proportion to the product of both lengths.
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let allowed = 1 + name.len() / 4;
    known
        .into_iter()
        .filter(|other| other.len().abs_diff(name.len()) <= allowed)
        .map(|other| (strsim::osa_distance(name, other), other))
        .filter(|(distance, other)| *distance <= allowed && *distance < other.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["depends_on", "image", "name", "timeout"];
        for (name, expected) in [
            ("dependson", Some("depends_on")),
            ("depend_on", Some("depends_on")),
            ("imgae", Some("image")),
            ("nam", Some("name")),
            ("x", None),
            ("", None),
            ("completely_different", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }

    #[test]
    fn messages_are_short_and_harmless() {
        assert_eq!(quote("a\u{1b}[31m\0"), "`a\\u{1b}[31m\\u{0}`");
        assert_eq!(quote(&"ü".repeat(61)), format!("`{}…`", "ü".repeat(60)));
    }
}
