//! The fields that stand for themselves: image, command, timeout, resources.

use std::time::Duration;

use tombolo_core::resources::Resources;

use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, Position, quote};
use crate::reader::{Piece, Scalar, Token};
use crate::schema::fields;

/// The longest name of an image; registries take at most 255 bytes of path, plus host and digest.
const MAX_IMAGE_BYTES: usize = 512;
/// The most words of a command; some more would not fit into what Linux takes either.
const MAX_WORDS: usize = 10_000;
/// A year: longer is a mistake.
const MAX_TIMEOUT_SECONDS: u32 = 365 * 24 * 3600;
/// The highest priority; its opposite is the lowest.
const MAX_PRIORITY: i8 = 100;
/// InfraBox's lower bound, which a job must exceed.
const MIN_CPU: f64 = 0.3;
/// More than any machine has.
const MAX_CPU: f64 = 10_000.0;
/// InfraBox's lower bound.
const MIN_MEMORY_MEBIBYTES: u32 = 256;
/// 64 TiB, more than any machine has.
const MAX_MEMORY_MEBIBYTES: u32 = 64 * 1024 * 1024;

pub(super) const MEBIBYTE: u64 = 1024 * 1024;

/// Takes the name of an image, which [`check_image`] looks at when the values of a matrix are in it; with its place.
pub(super) fn image<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<(String, Position)>> {
    let at = value.at;
    let image = decoder.filled_text(value, "text: an image's name")?;
    Ok(image.map(|image| (image, at)))
}

/// Whether a text can be the name of an image.
pub(super) fn check_image(decoder: &mut Decoder<'_>, image: &str, at: Position) {
    let unusable = |character: char| character.is_whitespace() || character.is_control();
    if image.len() > MAX_IMAGE_BYTES || image.chars().any(unusable) {
        let complaint = Complaint::new(format!("{} is not the name of an image", quote(image)));
        let hint = format!("at most {MAX_IMAGE_BYTES} bytes without spaces");
        decoder.field_fault("image", at, complaint.hint(hint));
    }
}

pub(super) fn command<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<Vec<String>>> {
    let mut words = Vec::new();
    decoder.filled_list(
        value,
        "a list of texts: the program and its arguments",
        MAX_WORDS,
        |decoder, index, item| {
            let word = match index {
                0 => decoder.filled_text(item, "text: the program")?,
                _ => decoder.text(item, "text: an argument")?,
            };
            words.extend(word);
            Ok(())
        },
    )?;
    Ok(Some(words))
}

/// `true` or `false`.
pub(super) fn boolean<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<bool>> {
    match value.piece {
        Piece::Scalar(Scalar::Boolean(value)) => Ok(Some(value)),
        _ => decoder.wrong_kind(value, "`true` or `false`").map(|()| None),
    }
}

pub(super) fn timeout<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<Duration>> {
    let seconds = decoder.whole(value, "a whole number of seconds", 1..=MAX_TIMEOUT_SECONDS)?;
    Ok(seconds.map(|seconds| Duration::from_secs(seconds.into())))
}

/// How much sooner than others of its project a job is placed.
pub(super) fn priority<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<i8> {
    let priority = decoder.whole(value, "a whole number", -MAX_PRIORITY..=MAX_PRIORITY)?;
    Ok(priority.unwrap_or_default())
}

pub(super) fn resources<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<Resources>> {
    let (mut resources, mut given) = (None, false);
    let is_map = decoder.map(value, "an object with `limits`", |decoder, field, at, value| {
        if field == "limits" {
            given = true;
            resources = limits(decoder, &value)?;
            return Ok(());
        }
        decoder.fault(at, fields::unknown(field, ["limits"]));
        decoder.skip(&value)
    })?;
    if is_map && !given {
        let complaint = Complaint::new("the field is missing").hint("add `limits` with `cpu` and `memory`");
        decoder.field_fault("limits", value.at, complaint);
    }
    Ok(resources)
}

fn limits<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<Resources>> {
    let (mut cpu_milli, mut memory) = (None, None);
    let (mut cpu_given, mut memory_given) = (false, false);
    let is_map = decoder.map(
        value,
        "an object with `cpu` and `memory`",
        |decoder, field, at, value| {
            match field {
                "cpu" => {
                    cpu_given = true;
                    cpu_milli = cpu(decoder, &value)?;
                }
                "memory" => {
                    memory_given = true;
                    let bounds = MIN_MEMORY_MEBIBYTES..=MAX_MEMORY_MEBIBYTES;
                    memory = decoder.whole(&value, "a whole number of MiB", bounds)?;
                }
                other => {
                    decoder.fault(at, fields::unknown(other, ["cpu", "memory"]));
                    decoder.skip(&value)?;
                }
            }
            Ok(())
        },
    )?;
    for (field, given, hint) in [
        ("cpu", cpu_given, "say how many processors the job needs"),
        ("memory", memory_given, "say how many MiB the job needs"),
    ] {
        if is_map && !given {
            decoder.field_fault(field, value.at, Complaint::new("the field is missing").hint(hint));
        }
    }
    Ok(cpu_milli.zip(memory).map(|(cpu_milli, memory)| Resources {
        cpu_milli,
        memory_bytes: u64::from(memory) * MEBIBYTE,
    }))
}

/// Thousandths of a processor, rounded.
fn cpu<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<u64>> {
    let cpu = match value.piece {
        // Exact for all numbers within the bounds.
        Piece::Scalar(Scalar::Whole(number)) => number as f64,
        Piece::Scalar(Scalar::Decimal(number)) => number,
        _ => return decoder.wrong_kind(value, "a number of processors").map(|()| None),
    };
    if cpu > MIN_CPU && cpu <= MAX_CPU {
        return Ok(Some((cpu * 1000.0).round() as u64));
    }
    let message = format!("expected a number of processors above {MIN_CPU} and up to {MAX_CPU}, found {cpu}");
    decoder.fault(value.at, Complaint::new(message));
    Ok(None)
}
