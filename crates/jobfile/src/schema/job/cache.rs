//! `cache`: whether what a job leaves in its cache folder is kept for its next run.

use crate::decode::{Decoder, Step};
use crate::fault::Complaint;
use crate::reader::{Piece, Scalar, Token};
use crate::schema::fields;

/// `true` or `false`, or InfraBox's object, whose `data` is true by default.
pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<bool> {
    const EXPECTED: &str = "`true`, `false`, or an object with `data`";
    if value.piece != Piece::MapStart {
        return Ok(boolean(decoder, value, EXPECTED)?.unwrap_or_default());
    }
    let mut data = true;
    decoder.map(value, EXPECTED, |decoder, field, at, value| {
        match field {
            "data" => data = boolean(decoder, &value, "`true` or `false`")?.unwrap_or_default(),
            "image" => {
                if boolean(decoder, &value, "`true` or `false`")? == Some(true) {
                    let message = "caches of images are known, but this version does not support them yet";
                    decoder.fault(value.at, Complaint::new(message).hint("leave it out"));
                }
            }
            other => {
                decoder.fault(at, fields::unknown(other, ["data", "image"]));
                decoder.skip(&value)?;
            }
        }
        Ok(())
    })?;
    Ok(data)
}

fn boolean<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>, expected: &str) -> Step<Option<bool>> {
    match value.piece {
        Piece::Scalar(Scalar::Boolean(value)) => Ok(Some(value)),
        _ => decoder.wrong_kind(value, expected).map(|()| None),
    }
}
