//! `registries` and `deployments`: where images come from and go to.

use super::environment::secret;
use super::value::boolean;
use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, nearest, quote};
use crate::reader::{Piece, Token};
use crate::schema::fields::{self, listed};

/// The most registries of one job.
const MAX_REGISTRIES: usize = 100;

/// A kind of registry: its name, the texts that it must have, those that it may have, and its secrets.
struct Kind {
    name: &'static str,
    texts: &'static [&'static str],
    optional: &'static [&'static str],
    /// With whether each is required.
    secrets: &'static [(&'static str, bool)],
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "docker-registry",
        texts: &["host"],
        optional: &["repository", "username"],
        secrets: &[("password", false)],
    },
    Kind {
        name: "ecr",
        texts: &["host", "region"],
        optional: &["repository"],
        secrets: &[("access_key_id", true), ("secret_access_key", true)],
    },
    Kind {
        name: "gcr",
        texts: &["host"],
        optional: &["repository"],
        secrets: &[("service_account", true)],
    },
];

/// What only a deployment has.
const OF_DEPLOYMENTS: [&str; 3] = ["tag", "target", "always_push"];

/// Takes the registries that images are pulled from. Whether there are any.
pub(super) fn registries<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<bool> {
    let count = decoder.list(value, "a list of registries", MAX_REGISTRIES, |decoder, _, item| {
        read(decoder, &item, "an object that describes a registry", None)
    })?;
    Ok(count.is_some_and(|count| count > 0))
}

/// Takes what an image is pushed to. Whether there is anything.
pub(super) fn deployments<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<bool> {
    let count = decoder.list(value, "a list of deployments", MAX_REGISTRIES, |decoder, _, item| {
        read(
            decoder,
            &item,
            "an object that describes a deployment",
            Some(&OF_DEPLOYMENTS),
        )
    })?;
    Ok(count.is_some_and(|count| count > 0))
}

/// Takes one. Unknown fields are faults where `more` are known: InfraBox lets registries have any.
fn read<'a>(decoder: &mut Decoder<'a>, item: &Token<'a>, expected: &str, more: Option<&[&str]>) -> Step<()> {
    let mut given = Vec::new();
    let mut kind = None;
    let is_map = decoder.map(item, expected, |decoder, field, at, value| {
        given.push(field.to_owned());
        let mut kinds = KINDS.iter();
        match field {
            "type" => kind = read_kind(decoder, value)?,
            "always_push" if more.is_some() => drop(boolean(decoder, &value)?),
            _ if more.is_some_and(|more| more.contains(&field)) => drop(decoder.filled_text(value, "text")?),
            _ if kinds.any(|kind| kind.secrets.iter().any(|(name, _)| *name == field)) => {
                if value.piece == Piece::MapStart {
                    secret(decoder, &value)?;
                } else {
                    decoder.wrong_kind(
                        &value,
                        "an object with `$secret`, or with `$vault` and its path and key",
                    )?;
                }
            }
            _ if KINDS
                .iter()
                .any(|kind| kind.texts.iter().chain(kind.optional).any(|name| *name == field)) =>
            {
                decoder.filled_text(value, "text")?;
            }
            other => {
                if let Some(more) = more {
                    decoder.fault(at, fields::unknown(other, all_fields(more)));
                }
                decoder.skip(&value)?;
            }
        }
        Ok(())
    })?;
    let is_given = |field: &str| given.iter().any(|given| given == field);
    if is_map && !is_given("type") {
        let known = listed(KINDS.iter().map(|kind| kind.name));
        let complaint = Complaint::new("the field is missing").hint(format!("there are {known}"));
        decoder.field_fault("type", item.at, complaint);
    }
    if let Some(kind) = kind {
        let secrets = kind
            .secrets
            .iter()
            .filter(|(_, required)| *required)
            .map(|(name, _)| name);
        for field in kind.texts.iter().chain(secrets).filter(|field| !is_given(field)) {
            let complaint = Complaint::new(format!("the field is missing, which `{}` needs", kind.name));
            decoder.field_fault(field, item.at, complaint);
        }
    }
    Ok(())
}

fn all_fields<'a>(more: &'a [&'a str]) -> Vec<&'a str> {
    let mut fields = vec!["type"];
    for kind in &KINDS {
        let secrets = kind.secrets.iter().map(|(name, _)| *name);
        let of_kind = kind.texts.iter().chain(kind.optional).copied().chain(secrets);
        for field in of_kind.chain(more.iter().copied()) {
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
    }
    fields
}

fn read_kind<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<&'static Kind>> {
    let at = value.at;
    let Some(text) = decoder.text(value, "text: the type of a registry")? else {
        return Ok(None);
    };
    let kind = KINDS.iter().find(|kind| kind.name == text);
    if kind.is_none() {
        let names = || KINDS.iter().map(|kind| kind.name);
        let complaint = Complaint::new(format!("unknown type of registry {}", quote(&text)));
        let hint = match nearest(&text, names()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("there are {}", listed(names())),
        };
        decoder.fault(at, complaint.hint(hint));
    }
    Ok(kind)
}
