//! The fields of jobs that build images or run compose files: checked here, and of use to an executor that can do it.

use super::{place, value};
use crate::decode::{Decoder, Step};
use crate::fault::Complaint;
use crate::reader::Token;

/// The most profiles or build arguments.
const MAX_ITEMS: usize = 1000;
/// A day: longer is a mistake.
const MAX_STOP_SECONDS: u32 = 24 * 3600;

/// Takes one of these fields, which is known.
pub(super) fn read<'a>(decoder: &mut Decoder<'a>, field: &str, value: Token<'a>) -> Step<()> {
    match field {
        "docker_file" | "docker_compose_file" | "build_context" => drop(place::file(decoder, value)?),
        "build_only" | "enable_docker_build_kit" | "parallel_build" => drop(value::boolean(decoder, &value)?),
        "target" => drop(decoder.filled_text(value, "text: a stage of the docker file")?),
        "stop_timeout" => {
            decoder.whole(&value, "a whole number of seconds", 0..=MAX_STOP_SECONDS)?;
        }
        "compose_profiles" => {
            decoder.list(&value, "a list of profiles", MAX_ITEMS, |decoder, _, item| {
                decoder.filled_text(item, "text: a profile")?;
                Ok(())
            })?;
        }
        "build_arguments" => arguments(decoder, &value)?,
        _ => decoder.skip(&value)?,
    }
    Ok(())
}

fn arguments<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<()> {
    decoder.map(value, "an object of names and texts", |decoder, name, at, value| {
        if name.is_empty() {
            decoder.fault(at, Complaint::new("an argument without a name"));
        }
        decoder.filled_text(value, "text: the argument's value")?;
        Ok(())
    })?;
    Ok(())
}
