//! Texts that Postgres takes: it refuses the character NUL, which people's texts may have.
//!
//! NUL is written as DLE and `0`, DLE itself as DLE twice. All other texts stand in the database as they are, and equal texts
//! stay equal.

use std::borrow::Cow;

/// "Data link escape": the control character that was made for this.
const ESCAPE: char = '\u{10}';

/// The text as it stands in the database.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => escaped.extend([ESCAPE, '0']),
            ESCAPE => escaped.extend([ESCAPE, ESCAPE]),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// The text as it was; none if nothing that was written looks like this.
pub(super) fn unescaped(text: String) -> Option<String> {
    if !text.contains(ESCAPE) {
        return Some(text);
    }
    let mut unescaped = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != ESCAPE {
            unescaped.push(character);
            continue;
        }
        unescaped.push(match characters.next()? {
            '0' => '\0',
            ESCAPE => ESCAPE,
            _ => return None,
        });
    }
    Some(unescaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_and_holds_no_nul() {
        for text in [
            "",
            "plain",
            "\0",
            "\u{10}",
            "\u{10}0",
            "a\0\u{10}\u{10}\0b é 漢",
            "0\u{10}\0",
        ] {
            let stored = escaped(text).into_owned();
            assert!(!stored.contains('\0'), "{text:?}");
            assert_eq!(unescaped(stored).as_deref(), Some(text));
        }
        assert!(matches!(escaped("most of them"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_was_never_written_is_no_text() {
        for damaged in ["\u{10}", "a\u{10}1", "\u{10}\u{10}\u{10}"] {
            assert_eq!(unescaped(damaged.to_owned()), None, "{damaged:?}");
        }
    }
}
