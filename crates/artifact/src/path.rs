//! Paths of arbitrary bytes, shown to people.

use std::fmt::{self, Write};

/// How many characters of a path a message shows: enough to find the file, too few to flood a log.
const SHOWN_CHARACTERS: usize = 200;

/// A path for messages: what is not printable text is escaped, and what is too long is cut.
#[derive(Clone, PartialEq, Eq)]
pub struct DisplayPath(Vec<u8>);

impl DisplayPath {
    /// Wraps the bytes of a path.
    pub fn new(path: impl Into<Vec<u8>>) -> Self {
        Self(path.into())
    }

    /// The path's own bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for DisplayPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = SHOWN_CHARACTERS;
        for part in self.0.utf8_chunks() {
            for character in part.valid().chars() {
                if left == 0 {
                    return formatter.write_str("...");
                }
                left -= 1;
                if character.is_control() {
                    write!(formatter, "{}", character.escape_default())?;
                } else {
                    formatter.write_char(character)?;
                }
            }
            for byte in part.invalid() {
                if left == 0 {
                    return formatter.write_str("...");
                }
                left -= 1;
                write!(formatter, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DisplayPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_any_bytes() {
        for (path, shown) in [
            (b"a/b".to_vec(), "a/b".to_owned()),
            (b"a\nb\xff".to_vec(), "a\\nb\\xff".to_owned()),
            ("größe".into(), "größe".to_owned()),
            (vec![b'a'; 5_000], format!("{}...", "a".repeat(200))),
        ] {
            assert_eq!(DisplayPath::new(path).to_string(), shown);
        }
    }
}
