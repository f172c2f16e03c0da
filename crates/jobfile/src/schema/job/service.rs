//! `services` and `security_context`: what runs beside a job, and with which rights it runs.

use std::collections::HashSet;

use super::value::boolean;
use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, quote};
use crate::reader::{Piece, Token};
use crate::schema::fields;

/// The most services of one job.
const MAX_SERVICES: usize = 100;

const FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

/// Takes the services. Whether there are any.
pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<bool> {
    let mut names = HashSet::new();
    let count = decoder.list(value, "a list of services", MAX_SERVICES, |decoder, _, item| {
        let at = item.at;
        if let Some(name) = service(decoder, &item)?
            && !names.insert(name.clone())
        {
            let complaint = Complaint::new(format!("another service is named {} already", quote(&name)));
            decoder.fault(at, complaint);
        }
        Ok(())
    })?;
    Ok(count.is_some_and(|count| count > 0))
}

/// Takes one service and gives its name.
fn service<'a>(decoder: &mut Decoder<'a>, item: &Token<'a>) -> Step<Option<String>> {
    let (mut given, mut name) = (Vec::new(), None);
    let is_map = decoder.map(
        item,
        "an object that describes a service",
        |decoder, field, at, value| {
            given.push(field.to_owned());
            match field {
                "apiVersion" | "kind" => drop(decoder.filled_text(value, "text")?),
                "metadata" => name = metadata(decoder, &value)?,
                "spec" if value.piece == Piece::MapStart => decoder.skip(&value)?,
                "spec" => decoder.wrong_kind(&value, "an object")?,
                other => {
                    decoder.fault(at, fields::unknown(other, FIELDS));
                    decoder.skip(&value)?;
                }
            }
            Ok(())
        },
    )?;
    for field in FIELDS.iter().filter(|field| **field != "spec") {
        if is_map && !given.iter().any(|given| given == field) {
            decoder.field_fault(field, item.at, Complaint::new("the field is missing"));
        }
    }
    Ok(name)
}

fn metadata<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<String>> {
    let (mut name, mut given) = (None, false);
    let is_map = decoder.map(value, "an object with `name`", |decoder, field, _, value| {
        if field == "name" {
            given = true;
            name = decoder.filled_text(value, "text: the service's name")?;
            return Ok(());
        }
        decoder.skip(&value)
    })?;
    if is_map && !given {
        decoder.field_fault("name", value.at, Complaint::new("the field is missing"));
    }
    Ok(name)
}

/// Takes `security_context`. Whether the job asks for all rights.
pub(super) fn security<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<bool> {
    let mut privileged = false;
    decoder.map(value, "an object with `privileged`", |decoder, field, at, value| {
        if field == "privileged" {
            privileged = boolean(decoder, &value)?.unwrap_or_default();
            return Ok(());
        }
        decoder.fault(at, fields::unknown(field, ["privileged"]));
        decoder.skip(&value)
    })?;
    Ok(privileged)
}
