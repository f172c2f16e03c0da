//! `cache`: whether what a job leaves in its cache folder is kept for its next run.

use super::value;
use crate::decode::{Decoder, Step};
use crate::reader::{Piece, Scalar, Token};
use crate::schema::fields;

/// `true` or `false`, or InfraBox's object, whose `data` is true by default.
pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<bool> {
    const EXPECTED: &str = "`true`, `false`, or an object with `data`";
    if value.piece != Piece::MapStart {
        return match value.piece {
            Piece::Scalar(Scalar::Boolean(value)) => Ok(value),
            _ => decoder.wrong_kind(value, EXPECTED).map(|()| false),
        };
    }
    let mut data = true;
    decoder.map(value, EXPECTED, |decoder, field, at, value| {
        match field {
            "data" => data = value::boolean(decoder, &value)?.unwrap_or_default(),
            // It speeds up what is built or pulled, where that is done; results are the same without.
            "image" => drop(value::boolean(decoder, &value)?),
            other => {
                decoder.fault(at, fields::unknown(other, ["data", "image"]));
                decoder.skip(&value)?;
            }
        }
        Ok(())
    })?;
    Ok(data)
}
