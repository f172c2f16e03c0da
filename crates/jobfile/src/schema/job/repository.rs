//! `repository`: whether a job is given the source.

use super::value::boolean;
use crate::decode::{Decoder, Step};
use crate::reader::Token;
use crate::schema::fields;

/// Says whether the job is given the source. `submodules` and `full_history` say how InfraBox clones; a source that was uploaded is whole.
pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<bool> {
    const KNOWN: [&str; 3] = ["clone", "submodules", "full_history"];
    let mut clone = true;
    let expected = "an object with `clone`, `submodules` and `full_history`";
    decoder.map(value, expected, |decoder, field, at, value| {
        match field {
            "clone" => clone = boolean(decoder, &value)?.unwrap_or(true),
            "submodules" | "full_history" => drop(boolean(decoder, &value)?),
            other => {
                decoder.fault(at, fields::unknown(other, KNOWN));
                decoder.skip(&value)?;
            }
        }
        Ok(())
    })?;
    Ok(clone)
}
