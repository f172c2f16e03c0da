//! Patterns of paths, as job files use them.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Patterns of paths: `*` and `?` stand for what is in one part of a path, `**` also for several parts, `{a,b}` for one of them, `[a-z]` for one
/// character.
#[derive(Debug, Clone)]
pub struct Patterns {
    texts: Vec<String>,
    set: GlobSet,
}

/// The longest pattern, in bytes.
const BYTES_MAX: usize = 1000;
/// The most alternatives (`{a,b}`) within each other: they are read one call deeper each.
const NESTED_MAX: usize = 8;

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a pattern of paths: {reason}")]
pub struct InvalidPattern {
    /// The text.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Patterns {
    /// Reads patterns: of at most 1,000 bytes each, with at most eight lists of alternatives.
    ///
    /// # Errors
    /// If one of them is none.
    pub fn new(texts: &[String]) -> Result<Self, InvalidPattern> {
        let invalid = |pattern: &str, error: &globset::Error| InvalidPattern {
            pattern: pattern.to_owned(),
            reason: error.kind().to_string(),
        };
        let mut set = GlobSetBuilder::new();
        for text in texts {
            bounded(text).map_err(|reason| InvalidPattern {
                pattern: text.chars().take(BYTES_MAX).collect(),
                reason,
            })?;
            let glob = GlobBuilder::new(text.trim_end_matches('/'))
                .literal_separator(true)
                .build();
            set.add(glob.map_err(|error| invalid(text, &error))?);
        }
        let set = set.build().map_err(|error| invalid(&texts.join(", "), &error))?;
        Ok(Self {
            texts: texts.to_vec(),
            set,
        })
    }

    /// The patterns as they were given.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Which of them the path matches, by index.
    pub fn matches(&self, path: &Path) -> Vec<usize> {
        self.set.matches(path)
    }
}

/// Patterns come from job files, and from other members.
fn bounded(text: &str) -> Result<(), String> {
    if text.len() > BYTES_MAX {
        return Err(format!("it has more than {BYTES_MAX} bytes"));
    }
    if text.matches('{').count() > NESTED_MAX {
        return Err(format!("it has more than {NESTED_MAX} lists of alternatives"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_parts_of_paths() {
        for (pattern, path, expected) in [
            ("dist", "dist", true),
            ("dist/", "dist", true),
            ("dist", "dist/a", false),
            ("dist/*", "dist/a", true),
            ("dist/*", "dist/a/b", false),
            ("dist/**", "dist/a/b", true),
            ("**/*.txt", "a.txt", true),
            ("**/*.txt", "a/b/c.txt", true),
            ("*.txt", "a/b.txt", false),
            ("{a,b}.?", "b.c", true),
            ("[a-c]", "d", false),
        ] {
            let patterns = Patterns::new(&[pattern.to_owned()]).unwrap();
            assert_eq!(
                !patterns.matches(Path::new(path)).is_empty(),
                expected,
                "{pattern} {path}"
            );
        }
        assert!(Patterns::new(&["{".repeat(60_000) + &"}".repeat(60_000)]).is_err());
        assert!(Patterns::new(&["{".repeat(400) + &"}".repeat(400)]).is_err());
        assert!(Patterns::new(&["a".repeat(1001)]).is_err());
        assert!(Patterns::new(&["[".to_owned()]).is_err());
        assert!(Patterns::new(&["{a".to_owned()]).is_err());
    }
}
