//! `timeouts`: how long the phases of a job may take.

use std::time::Duration;

use tombolo_core::build::extensions::PhaseLimits;

use super::duration;
use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, Position};
use crate::reader::Token;
use crate::schema::fields;

/// A year: longer is a mistake.
const MAX: Duration = Duration::from_secs(365 * 24 * 3600);
const MIN: Duration = Duration::from_secs(1);

/// Takes the limits; that of the command with its place, since there is another field for it.
pub(super) fn read<'a>(
    decoder: &mut Decoder<'a>,
    value: &Token<'a>,
) -> Step<(PhaseLimits, Option<(Duration, Position)>)> {
    let (mut limits, mut run) = (PhaseLimits::default(), None);
    let expected = "an object with `queue`, `start`, `run` and `transfer`";
    decoder.map(value, expected, |decoder, field, at, value| {
        match field {
            "queue" => limits.queue = duration::read(decoder, value, MIN..=MAX)?,
            "start" => limits.start = duration::read(decoder, value, MIN..=MAX)?,
            "transfer" => limits.transfer = duration::read(decoder, value, MIN..=MAX)?,
            "run" => run = duration::read(decoder, value, MIN..=MAX)?.map(|limit| (limit, at)),
            other => {
                decoder.fault(at, fields::unknown(other, ["queue", "start", "run", "transfer"]));
                decoder.skip(&value)?;
            }
        }
        Ok(())
    })?;
    Ok((limits, run))
}

/// What to say if the time of the command is limited in two ways.
pub(super) fn twice() -> Complaint {
    Complaint::new("`run` is given, and so is the field `timeout`, which says the same").hint("leave one of them out")
}
