//! `matrix`: one job for each combination of values.

use std::collections::HashSet;

use crate::decode::{Decoder, MAX_TEXT_BYTES, Step};
use crate::fault::{Complaint, Position, quote};
use crate::reader::{Piece, Scalar, Token};
use crate::schema::fields::listed;

/// The most combinations of one matrix.
const MAX_COMBINATIONS: usize = 256;
/// The most keys of one matrix.
const MAX_KEYS: usize = 16;
/// The longest key, and the longest value.
const MAX_BYTES: usize = 100;

const EXPECTED: &str = "an object of names and lists of values";
const VALUE: &str = "text or a whole number";

/// A value for each key, in the order of the keys.
pub(super) type Combination = Vec<(String, String)>;

/// A text that is complete only when the values of a matrix are known.
pub(super) struct Template {
    pub(super) text: String,
    pub(super) at: Position,
}

impl Template {
    /// Whether a text is one, if its job has a matrix.
    pub(super) fn is_in(text: &str) -> bool {
        text.contains("${{")
    }
}

/// What has been read of a matrix.
#[derive(Default)]
struct Draft {
    /// The keys and their values, in the order of the file.
    axes: Vec<(String, Vec<String>)>,
    exclude: Vec<(Combination, Position)>,
    include: Vec<(Combination, Position)>,
}

/// Takes the combinations.
pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Vec<Combination>> {
    let mut draft = Draft::default();
    let is_map = decoder.map(value, EXPECTED, |decoder, field, at, value| {
        match field {
            "exclude" => draft.exclude = read_list(decoder, &value)?,
            "include" => draft.include = read_list(decoder, &value)?,
            key => {
                if !is_key(key) {
                    let complaint = Complaint::new(format!("{} is not a valid key of a matrix", quote(key)));
                    decoder.fault(at, complaint.hint("a key is a letter a-z, then a-z, 0-9 and `_`"));
                }
                let values = read_values(decoder, &value)?;
                draft.axes.push((key.to_owned(), values));
            }
        }
        Ok(())
    })?;
    if !is_map {
        return Ok(Vec::new());
    }
    Ok(draft.combine(decoder, value.at))
}

fn is_key(key: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    key.len() <= MAX_BYTES && key.starts_with(|first: char| first.is_ascii_lowercase()) && key.bytes().all(rest)
}

fn read_values<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Vec<String>> {
    let mut values: Vec<String> = Vec::new();
    decoder.filled_list(value, "a list of values", MAX_COMBINATIONS, |decoder, _, item| {
        let at = item.at;
        if let Some(text) = read_value(decoder, item)? {
            if values.contains(&text) {
                decoder.fault(at, Complaint::new(format!("{} is there already", quote(&text))));
            } else {
                values.push(text);
            }
        }
        Ok(())
    })?;
    Ok(values)
}

fn read_value<'a>(decoder: &mut Decoder<'a>, item: Token<'a>) -> Step<Option<String>> {
    let at = item.at;
    let text = match item.piece {
        Piece::Scalar(Scalar::Whole(number)) => Some(number.to_string()),
        Piece::Scalar(Scalar::Text(_)) => decoder.filled_text(item, VALUE)?,
        _ => decoder.wrong_kind(&item, VALUE).map(|()| None)?,
    };
    let Some(text) = text else { return Ok(None) };
    if text.len() > MAX_BYTES || text.chars().any(char::is_control) {
        let complaint = Complaint::new(format!("{} cannot be a value of a matrix", quote(&text)));
        decoder.fault(
            at,
            complaint.hint(format!("at most {MAX_BYTES} bytes without control characters")),
        );
        return Ok(None);
    }
    Ok(Some(text))
}

/// A list of objects of keys and values.
fn read_list<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Vec<(Combination, Position)>> {
    let mut list = Vec::new();
    decoder.filled_list(value, "a list of objects", MAX_COMBINATIONS, |decoder, _, item| {
        let mut combination = Combination::new();
        decoder.map(&item, "an object of keys and values", |decoder, key, _, value| {
            if let Some(text) = read_value(decoder, value)? {
                combination.push((key.to_owned(), text));
            }
            Ok(())
        })?;
        list.push((combination, item.at));
        Ok(())
    })?;
    Ok(list)
}

impl Draft {
    /// Every combination of the values, without those that are excluded, and with those that are included.
    fn combine(&self, decoder: &mut Decoder<'_>, at: Position) -> Vec<Combination> {
        if self.axes.is_empty() {
            decoder.fault(
                at,
                Complaint::new("the matrix has no values").hint("leave the field out instead"),
            );
            return Vec::new();
        }
        // That a list of values is empty has been said.
        if self.axes.iter().any(|(_, values)| values.is_empty()) {
            return Vec::new();
        }
        let count = self.axes.iter().map(|(_, values)| values.len());
        let count = count
            .fold(1_usize, usize::saturating_mul)
            .saturating_add(self.include.len());
        if self.axes.len() > MAX_KEYS || count > MAX_COMBINATIONS {
            let message = format!("a matrix of {} keys and {count} combinations", self.axes.len());
            let hint = format!("there may be {MAX_KEYS} keys and {MAX_COMBINATIONS} combinations");
            decoder.fault(at, Complaint::new(message).hint(hint));
            return Vec::new();
        }
        self.check_keys(decoder);
        let mut combinations = vec![Combination::new()];
        for (key, values) in &self.axes {
            let with = |combination: &Combination| {
                let combination = combination.clone();
                values.iter().map(move |value| {
                    let mut longer = combination.clone();
                    longer.push((key.clone(), value.clone()));
                    longer
                })
            };
            combinations = combinations.iter().flat_map(with).collect();
        }
        let is_excluded = |combination: &Combination| {
            let mut excluded = self.exclude.iter();
            excluded.any(|(part, _)| part.iter().all(|pair| combination.contains(pair)))
        };
        combinations.retain(|combination| !is_excluded(combination));
        for (included, at) in &self.include {
            let value = |key: &String| included.iter().find(|(other, _)| other == key).cloned();
            let combination: Option<Combination> = self.axes.iter().map(|(key, _)| value(key)).collect();
            match combination {
                Some(combination) if !combinations.contains(&combination) => combinations.push(combination),
                Some(_) => decoder.fault(*at, Complaint::new("this combination is there already")),
                None => {}
            }
        }
        if combinations.is_empty() {
            decoder.fault(
                at,
                Complaint::new("no combination of the matrix is left").hint("exclude fewer"),
            );
        }
        combinations
    }

    /// What is excluded or included has the keys that there are; what is included, all of them.
    fn check_keys(&self, decoder: &mut Decoder<'_>) {
        let known = |key: &str| self.axes.iter().any(|(other, _)| other == key);
        for (combination, at) in self.exclude.iter().chain(&self.include) {
            for (key, _) in combination.iter().filter(|(key, _)| !known(key)) {
                decoder.fault(*at, self.unknown(key));
            }
        }
        for (combination, at) in &self.include {
            let given = |key: &String| combination.iter().any(|(other, _)| other == key);
            for (key, _) in self.axes.iter().filter(|(key, _)| !given(key)) {
                let message = format!("the key `{key}` is missing");
                decoder.fault(*at, Complaint::new(message).hint("what is included has all keys"));
            }
        }
        for (_, at) in self.exclude.iter().filter(|(combination, _)| combination.is_empty()) {
            decoder.fault(
                *at,
                Complaint::new("this excludes everything").hint("name a key and its value"),
            );
        }
    }

    fn unknown(&self, key: &str) -> Complaint {
        let complaint = Complaint::new(format!("the matrix has no {}", quote(key)));
        complaint.hint(format!(
            "it has {}",
            listed(self.axes.iter().map(|(key, _)| key.as_str()))
        ))
    }
}

/// The part of a job's name that its values make: lower case, with `_` for what no name can have.
pub(super) fn segment(combination: &Combination) -> String {
    let clean = |character: char| match character.to_ascii_lowercase() {
        character @ ('a'..='z' | '0'..='9' | '_' | '-') => character,
        _ => '_',
    };
    let values = combination
        .iter()
        .map(|(_, value)| value.chars().map(clean).collect::<String>());
    values.collect::<Vec<_>>().join("-")
}

/// Whether the names that the combinations make differ; if not, one that is made twice.
pub(super) fn ambiguous(combinations: &[Combination]) -> Option<String> {
    let mut seen = HashSet::new();
    combinations
        .iter()
        .map(segment)
        .find(|segment| !seen.insert(segment.clone()))
}

/// The name of the variable that tells a command the value of a key.
pub(super) fn variable(key: &str) -> String {
    format!("MATRIX_{}", key.to_ascii_uppercase())
}

/// Puts the values into the places of `${{ matrix.key }}`. `left` is how many bytes all such texts may still have.
pub(super) fn fill(text: &str, combination: &Combination, left: &mut usize) -> Result<String, Complaint> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("${{") {
        let Some((inner, after)) = behind.split_once("}}") else {
            break;
        };
        filled.push_str(before);
        match inner.trim().strip_prefix("matrix.") {
            Some(key) => {
                let pair = combination.iter().find(|(other, _)| other == key);
                let (_, value) = pair.ok_or_else(|| {
                    let complaint = Complaint::new(format!("the matrix has no {}", quote(key)));
                    complaint.hint(format!(
                        "it has {}",
                        listed(combination.iter().map(|(key, _)| key.as_str()))
                    ))
                })?;
                filled.push_str(value);
            }
            None => filled.extend(["${{", inner, "}}"]),
        }
        if filled.len() > MAX_TEXT_BYTES {
            break;
        }
        rest = after;
    }
    filled.push_str(rest);
    if filled.len() > MAX_TEXT_BYTES {
        return Err(Complaint::new(format!(
            "with its values, a text of more than {MAX_TEXT_BYTES} bytes"
        )));
    }
    charge(filled.len(), left)?;
    Ok(filled)
}

/// Takes so many bytes of what is left for the jobs of matrices.
pub(super) fn charge(bytes: usize, left: &mut usize) -> Result<(), Complaint> {
    *left = left.checked_sub(bytes).ok_or_else(|| {
        let mebibytes = MAX_FILLED_BYTES / (1024 * 1024);
        Complaint::new(format!(
            "the jobs of the file's matrices have more than {mebibytes} MiB of text"
        ))
    })?;
    Ok(())
}

/// The most bytes of text of all jobs that a file's matrices make.
pub(crate) const MAX_FILLED_BYTES: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn combination(pairs: &[(&str, &str)]) -> Combination {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn values_come_into_their_places() {
        let values = combination(&[("os", "linux"), ("version", "3.12")]);
        for (text, expected) in [
            ("plain", Some("plain")),
            ("${{ matrix.os }}-${{matrix.version}}", Some("linux-3.12")),
            (
                "${{ github.ref }} $X ${Y} {{z}}",
                Some("${{ github.ref }} $X ${Y} {{z}}"),
            ),
            ("${{ matrix.os", Some("${{ matrix.os")),
            ("${{ matrix.arch }}", None),
        ] {
            let filled = fill(text, &values, &mut 1000).ok();
            assert_eq!(filled.as_deref(), expected, "{text}");
        }
        let long = "${{matrix.os}}".repeat(MAX_TEXT_BYTES / 5 + 1);
        assert!(fill(&long, &values, &mut usize::MAX.clone()).is_err());
        let mut left = 9;
        assert!(fill("12345", &values, &mut left).is_ok());
        assert!(
            fill("12345", &values, &mut left).is_err(),
            "all of them together are bounded"
        );
    }

    #[test]
    fn values_make_names() {
        let values = combination(&[("os", "Ubuntu Linux"), ("version", "3.12")]);
        assert_eq!(segment(&values), "ubuntu_linux-3_12");
        assert_eq!(variable("node_version"), "MATRIX_NODE_VERSION");
        let two = [combination(&[("v", "1.2")]), combination(&[("v", "1_2")])];
        assert_eq!(ambiguous(&two).as_deref(), Some("1_2"));
        assert_eq!(ambiguous(&two[..1]), None);
    }
}
