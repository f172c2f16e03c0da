//! The grammar of label keys and values: Kubernetes' own, so that labels can be carried over from there.

/// The longest value, and the longest key without its prefix, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 63;
/// The longest prefix of a key, in bytes: that of a DNS name.
pub(super) const MAX_PREFIX_BYTES: usize = 253;

/// The rule for keys, in words.
pub(super) const KEY_RULE: &str = "1 to 63 of A-Z, a-z, 0-9, `_`, `.` and `-`, beginning and ending with a letter or \
                                   digit; before it there may be a DNS name and a `/`";
/// The rule for values, in words.
pub(super) const VALUE_RULE: &str =
    "empty, or 1 to 63 of A-Z, a-z, 0-9, `_`, `.` and `-`, beginning and ending with a letter or digit";

/// Whether a character may stand somewhere in a key or value.
pub(super) const fn is_name_character(character: char) -> bool {
    matches!(character, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '.' | '-')
}

pub(super) fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((prefix, name)) => is_dns_name(prefix) && is_name(name),
    }
}

pub(super) fn is_value(value: &str) -> bool {
    value.is_empty() || is_name(value)
}

fn is_name(name: &str) -> bool {
    let edge = |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphanumeric());
    name.len() <= MAX_NAME_BYTES
        && edge(name.chars().next())
        && edge(name.chars().next_back())
        && name.chars().all(is_name_character)
}

fn is_dns_name(name: &str) -> bool {
    name.len() <= MAX_PREFIX_BYTES
        && name.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        })
}
