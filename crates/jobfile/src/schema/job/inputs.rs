//! `inputs` and `outputs`: what a job takes of its parents, and what it may leave behind.

use tombolo_core::build::Dependency;
use tombolo_core::build::extensions::InputRule;
use tombolo_core::name::JobName;
use tombolo_core::pattern::Patterns;

use super::value::MEBIBYTE;
use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, Position, quote};
use crate::reader::{Piece, Scalar, Token};
use crate::schema::fields;

/// The most patterns of one input.
const MAX_PATHS: usize = 100;
/// The most parents of whose outputs something is said: each is looked for among them.
const MAX_RULES: usize = 256;
/// 64 TiB, more than any artifact may have.
const MAX_MEBIBYTES: u32 = 64 * 1024 * 1024;
/// A hundred years: who means for ever says nothing.
const MAX_DAYS: u32 = 36_500;

const EXPECTED: &str = "`true`, `false`, or an object with `paths`, `as` and `index`";

/// Takes what is said of each parent, and where.
pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<(Vec<InputRule>, Vec<Position>)> {
    let (mut rules, mut places) = (Vec::new(), Vec::new());
    decoder.map(value, "an object of the names of jobs", |decoder, name, at, value| {
        let job = JobName::new(name).ok();
        if job.is_none() {
            let complaint = Complaint::new(format!("{} is not a valid name of a job", quote(name)));
            decoder.fault(at, complaint.hint(format!("a name is {}", JobName::RULE)));
        }
        let rule = read_rule(decoder, &value)?;
        if rules.len() == MAX_RULES {
            let complaint = Complaint::new(format!("`inputs` says something of more than {MAX_RULES} jobs"));
            decoder.fault(
                at,
                complaint.hint("what it does not name comes whole: leave out what is as it would be"),
            );
            return Ok(());
        }
        if let Some((job, rule)) = job.zip(rule) {
            rules.push(InputRule {
                job,
                wanted: rule.wanted,
                paths: rule.paths,
                folder: rule.folder,
                is_source: false,
                same_index: rule.same_index,
            });
            places.push(at);
        }
        Ok(())
    })?;
    Ok((rules, places))
}

#[derive(Default)]
struct Rule {
    wanted: bool,
    paths: Vec<String>,
    folder: Option<String>,
    same_index: bool,
}

fn read_rule<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<Rule>> {
    match value.piece {
        Piece::Scalar(Scalar::Boolean(wanted)) => {
            return Ok(Some(Rule {
                wanted,
                ..Rule::default()
            }));
        }
        Piece::MapStart => {}
        _ => return decoder.wrong_kind(value, EXPECTED).map(|()| None),
    }
    let mut rule = Rule {
        wanted: true,
        ..Rule::default()
    };
    decoder.map(value, EXPECTED, |decoder, field, at, value| {
        match field {
            "paths" => rule.paths = read_paths(decoder, &value)?,
            "as" => rule.folder = read_folder(decoder, value)?,
            "index" => rule.same_index = read_index(decoder, value)?,
            other => {
                decoder.fault(at, fields::unknown(other, ["paths", "as", "index"]));
                decoder.skip(&value)?;
            }
        }
        Ok(())
    })?;
    Ok(Some(rule))
}

/// Takes of which index of an array the output is taken: `same` is the only word for one.
fn read_index<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<bool> {
    let at = value.at;
    let Some(text) = decoder.text(value, "text: `same`")? else {
        return Ok(false);
    };
    if text != "same" {
        let complaint = Complaint::new(format!("{} says no index", quote(&text)));
        decoder.fault(
            at,
            complaint.hint("`index: same` takes the output of the same index; without it those of all are taken"),
        );
    }
    Ok(text == "same")
}

fn read_paths<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Vec<String>> {
    let mut paths = Vec::new();
    decoder.filled_list(value, "a list of patterns", MAX_PATHS, |decoder, _, item| {
        let at = item.at;
        let Some(text) = decoder.filled_text(item, "text: a pattern such as `dist/**`")? else {
            return Ok(());
        };
        let outside = text.starts_with('/') || text.split('/').any(|part| part == "..");
        let fault = match Patterns::new(std::slice::from_ref(&text)) {
            _ if outside => Some(format!("{} is not a pattern of paths in an output", quote(&text))),
            Err(error) => Some(format!("{} is not a pattern: {}", quote(&text), error.reason)),
            Ok(_) => None,
        };
        match fault {
            Some(message) => decoder.fault(at, Complaint::new(message).hint("such as `dist/**`, `*.txt`, `logs`")),
            None => paths.push(text),
        }
        Ok(())
    })?;
    Ok(paths)
}

fn read_folder<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<String>> {
    let at = value.at;
    let Some(text) = decoder.text(value, "text: the name of a folder")? else {
        return Ok(None);
    };
    if JobName::new(&text).is_err() || text.contains('/') {
        let complaint = Complaint::new(format!("{} is not a valid name of a folder here", quote(&text)));
        decoder.fault(at, complaint.hint("a name is 1 to 255 of a-z, 0-9, `_` and `-`"));
        return Ok(None);
    }
    Ok(Some(text))
}

/// Says which of the inputs are of jobs that this one does not follow.
pub(super) fn check(decoder: &mut Decoder<'_>, rules: &[InputRule], places: &[Position], parents: &[Dependency]) {
    for (rule, at) in rules.iter().zip(places) {
        if !parents.iter().any(|parent| parent.job == rule.job) {
            let complaint = Complaint::new(format!("the job does not follow `{}`", rule.job));
            decoder.field_fault(
                "inputs",
                *at,
                complaint.hint("add it to `depends_on`, or leave it out here"),
            );
        }
    }
}

/// What a job says of its output.
#[derive(Default)]
pub(super) struct Outputs {
    /// The most that it may have, in bytes.
    pub(super) limit_bytes: Option<u64>,
    /// For how many days after the end of the build it is kept.
    pub(super) keep_days: Option<u32>,
}

/// Takes `outputs`.
pub(super) fn outputs<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Outputs> {
    let mut outputs = Outputs::default();
    decoder.map(
        value,
        "an object with `size` and `keep`",
        |decoder, field, at, value| match field {
            "size" => {
                let limit = decoder.whole(&value, "a whole number of MiB", 1..=MAX_MEBIBYTES)?;
                outputs.limit_bytes = limit.map(|mebibytes| u64::from(mebibytes) * MEBIBYTE);
                Ok(())
            }
            "keep" => {
                outputs.keep_days = decoder.whole(&value, "a whole number of days", 0..=MAX_DAYS)?;
                Ok(())
            }
            _ => {
                decoder.fault(at, fields::unknown(field, ["size", "keep"]));
                decoder.skip(&value)
            }
        },
    )?;
    Ok(outputs)
}
