//! `cluster`: which clusters may run a job, and which should.

use tombolo_core::build::extensions::Preference;
use tombolo_core::label::{ParseSelectorError, Requirement, Selector};
use tombolo_core::name::{ClusterName, JobName};

use super::matrix::Template;
use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, Position, quote};
use crate::format::Dialect;
use crate::reader::{Piece, Scalar, Token};
use crate::schema::fields;

const KNOWN: [&str; 4] = ["selector", "prefer", "spread", "same_as"];
const PREFER: &str = "text (a cluster's name) or a list of objects with `selector` and `weight`";
const HINT: &str = "such as `GCP`, `!spot`, `region=eu`, `tier!=dev`, `region in (eu, us)`, `tier notin (dev)`, \
                    `gpu>0`; all items of the list must hold";

/// What a job says of clusters.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) selector: Selector,
    pub(super) selector_at: Option<Position>,
    /// Requirements that are complete only when the values of a matrix are known.
    pub(super) templates: Vec<Template>,
    pub(super) prefer: Option<ClusterName>,
    pub(super) preferences: Vec<Preference>,
    pub(super) spread: Option<String>,
    pub(super) same_as: Option<(JobName, Position)>,
}

pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Wanted> {
    let mut wanted = Wanted::default();
    let expected = "an object with `selector`, `prefer`, `spread` and `same_as`";
    let is_infrabox = decoder.dialect == Dialect::InfraBox;
    decoder.map(value, expected, |decoder, field, at, value| {
        match field {
            "spread" | "same_as" if is_infrabox => {
                decoder.fault(at, fields::not_of_infrabox(&format!("field {}", quote(field))));
                decoder.skip(&value)?;
            }
            "prefer" if is_infrabox && value.piece == Piece::ListStart => {
                decoder.fault(at, fields::not_of_infrabox("preferences with weights"));
                decoder.skip(&value)?;
            }
            "selector" => {
                wanted.selector_at = Some(value.at);
                (wanted.selector, wanted.templates) = read_selector(decoder, &value)?;
            }
            "prefer" => match value.piece {
                Piece::ListStart => wanted.preferences = read_preferences(decoder, &value)?,
                Piece::Scalar(Scalar::Text(_)) => wanted.prefer = read_prefer(decoder, value)?,
                _ => decoder.wrong_kind(&value, PREFER)?,
            },
            "spread" => wanted.spread = read_key(decoder, value)?,
            "same_as" => {
                let at = value.at;
                wanted.same_as = read_job(decoder, value)?.map(|job| (job, at));
            }
            other => {
                decoder.fault(at, fields::unknown(other, KNOWN));
                decoder.skip(&value)?;
            }
        }
        Ok(())
    })?;
    Ok(wanted)
}

fn read_selector<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<(Selector, Vec<Template>)> {
    let (mut requirements, mut templates) = (Vec::new(), Vec::new());
    let most = Selector::MAX_REQUIREMENTS;
    decoder.filled_list(value, "a list of requirements", most, |decoder, _, item| {
        let at = item.at;
        let Some(text) = decoder.text(item, "text: a requirement such as `region=eu`")? else {
            return Ok(());
        };
        if Template::is_in(&text) {
            templates.push(Template { text, at });
            return Ok(());
        }
        requirements.extend(parse(decoder, &text, at));
        Ok(())
    })?;
    let selector = Selector::from_iter(requirements);
    if let Some(complaint) = contradictory(&selector) {
        decoder.fault(value.at, complaint);
    }
    Ok((selector, templates))
}

/// What to say of a selector that no cluster can ever meet; none if some could.
fn contradictory(selector: &Selector) -> Option<Complaint> {
    let requirements = selector.contradiction()?;
    let names: Vec<String> = requirements
        .iter()
        .map(|requirement| quote(&requirement.to_string()))
        .collect();
    let (message, hint) = match names.as_slice() {
        [only] => (
            format!("{only} holds on no cluster, whatever its labels are"),
            "take it out",
        ),
        several => (
            format!("no cluster can meet {} at the same time", several.join(", ")),
            "all items of the list must hold: take one of these out",
        ),
    };
    Some(Complaint::new(message).hint(hint))
}

/// Checks a selector that is complete only now; what was wrong with its first part has been said.
pub(super) fn check_later(decoder: &mut Decoder<'_>, before: &Selector, whole: &Selector, at: Position) {
    let complaint = contradictory(whole).filter(|_| before.contradiction().is_none());
    if let Some(complaint) = complaint {
        decoder.field_fault("cluster", at, complaint);
    }
}

/// One requirement of a selector, when the field has been read already.
pub(super) fn parse_later(decoder: &mut Decoder<'_>, text: &str, at: Position) -> Option<Requirement> {
    let parsed = text.parse::<Requirement>();
    let complain = |error: ParseSelectorError| {
        decoder.field_fault("cluster", at, Complaint::new(error.to_string()).hint(HINT));
    };
    parsed.map_err(complain).ok()
}

/// One requirement; what is wrong with it is a fault.
fn parse(decoder: &mut Decoder<'_>, text: &str, at: Position) -> Option<Requirement> {
    let parsed = text.parse::<Requirement>();
    parsed
        .map_err(|error| decoder.fault(at, Complaint::new(error.to_string()).hint(HINT)))
        .ok()
}

fn read_prefer<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<ClusterName>> {
    let at = value.at;
    let Some(text) = decoder.text(value, "text: a cluster's name")? else {
        return Ok(None);
    };
    let name = ClusterName::new(&text).ok();
    if name.is_none() {
        let complaint = Complaint::new(format!("{} is not a valid name of a cluster", quote(&text)));
        decoder.fault(at, complaint.hint(format!("a name is {}", ClusterName::RULE)));
    }
    Ok(name)
}

fn read_preferences<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Vec<Preference>> {
    let mut preferences = Vec::new();
    decoder.filled_list(value, PREFER, Preference::MAX_COUNT, |decoder, _, item| {
        preferences.extend(read_preference(decoder, &item)?);
        Ok(())
    })?;
    Ok(preferences)
}

fn read_preference<'a>(decoder: &mut Decoder<'a>, item: &Token<'a>) -> Step<Option<Preference>> {
    let (mut selector, mut weight) = (None, Some(1));
    let mut given = false;
    let expected = "an object with `selector` and `weight`";
    let is_map = decoder.map(item, expected, |decoder, field, at, value| {
        match field {
            "selector" => {
                given = true;
                let value_at = value.at;
                if let Some(text) = decoder.filled_text(value, "text: a requirement such as `gpu>0`")? {
                    selector = parse(decoder, &text, value_at).map(|requirement| Selector::from_iter([requirement]));
                }
            }
            "weight" => weight = decoder.whole(&value, "a weight", 1..=Preference::MAX_WEIGHT)?,
            other => {
                decoder.fault(at, fields::unknown(other, ["selector", "weight"]));
                decoder.skip(&value)?;
            }
        }
        Ok(())
    })?;
    if is_map && !given {
        let complaint = Complaint::new("the field is missing").hint("say which clusters, such as `gpu>0`");
        decoder.field_fault("selector", item.at, complaint);
    }
    Ok(selector
        .zip(weight)
        .map(|(selector, weight)| Preference { selector, weight }))
}

/// The key of a label: a requirement of that key alone.
fn read_key<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<String>> {
    let at = value.at;
    let Some(text) = decoder.filled_text(value, "text: the key of a label")? else {
        return Ok(None);
    };
    let requirement = text.parse::<Requirement>().ok();
    let key = requirement
        .map(|requirement| requirement.key)
        .filter(|key| *key == text);
    if key.is_none() {
        let complaint = Complaint::new(format!("{} is not the key of a label", quote(&text)));
        decoder.fault(
            at,
            complaint.hint("such as `zone`, where clusters have labels such as `zone=a`"),
        );
    }
    Ok(key)
}

fn read_job<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<JobName>> {
    let at = value.at;
    let Some(text) = decoder.text(value, "text: a job's name")? else {
        return Ok(None);
    };
    let job = JobName::new(&text).ok();
    if job.is_none() {
        let complaint = Complaint::new(format!("{} is not a valid name of a job", quote(&text)));
        decoder.fault(at, complaint.hint(format!("a name is {}", JobName::RULE)));
    }
    Ok(job)
}
