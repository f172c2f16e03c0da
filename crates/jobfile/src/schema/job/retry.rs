//! `retry`: whether and when a job runs again.

use std::time::Duration;

use tombolo_core::build::StateSet;
use tombolo_core::build::retry::{Backoff, Retry};

use super::duration;
use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, nearest, quote};
use crate::reader::{Piece, Scalar, Token};
use crate::schema::fields;

const EXPECTED: &str = "a whole number or an object with `count`, `states` and `backoff`";
const COUNT: &str = "a whole number of further attempts";

/// The longest wait between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// The most that the wait grows each time.
const MAX_FACTOR: f64 = 10.0;

/// A number of further attempts, or an object.
pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<Retry>> {
    let count = match value.piece {
        Piece::Scalar(Scalar::Whole(_)) => decoder.whole(value, COUNT, 1..=Retry::MAX_COUNT)?,
        Piece::MapStart => return read_object(decoder, value),
        _ => decoder.wrong_kind(value, EXPECTED).map(|()| None)?,
    };
    Ok(count.map(|count| Retry {
        count,
        states: Retry::default_states(),
        backoff: Backoff::default(),
    }))
}

fn read_object<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<Retry>> {
    let (mut count, mut count_given) = (None, false);
    let (mut states, mut backoff) = (Retry::default_states(), Backoff::default());
    decoder.map(value, EXPECTED, |decoder, field, at, value| {
        match field {
            "count" => {
                count_given = true;
                count = decoder.whole(&value, COUNT, 1..=Retry::MAX_COUNT)?;
            }
            "states" => states = read_states(decoder, &value)?,
            "backoff" => backoff = read_backoff(decoder, &value)?,
            other => {
                decoder.fault(at, fields::unknown(other, ["count", "states", "backoff"]));
                decoder.skip(&value)?;
            }
        }
        Ok(())
    })?;
    if !count_given {
        let complaint = Complaint::new("the field is missing").hint("say how many attempts may follow the first");
        decoder.field_fault("count", value.at, complaint);
    }
    Ok(count.map(|count| Retry { count, states, backoff }))
}

fn read_states<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<StateSet> {
    let mut states = Vec::new();
    decoder.filled_list(value, "a list of states", Retry::STATES.len(), |decoder, _, item| {
        let at = item.at;
        let Some(text) = decoder.text(item, "text: a state")? else {
            return Ok(());
        };
        match Retry::STATES.into_iter().find(|state| state.as_str() == text) {
            Some(state) => states.push(state),
            None => {
                let names = || Retry::STATES.into_iter().map(|state| state.as_str());
                let complaint = Complaint::new(format!("no attempt can follow the state {}", quote(&text)));
                decoder.fault(
                    at,
                    complaint.hint(match nearest(&text, names()) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("there are {}", fields::listed(names())),
                    }),
                );
            }
        }
        Ok(())
    })?;
    Ok(StateSet::of(&states))
}

fn read_backoff<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Backoff> {
    let mut backoff = Backoff::default();
    let (mut max, mut at) = (None, value.at);
    let expected = "an object with `initial`, `factor` and `max`";
    decoder.map(value, expected, |decoder, field, field_at, value| {
        let pause = Duration::ZERO..=MAX_PAUSE;
        match field {
            "initial" => backoff.initial = duration::read(decoder, value, pause)?.unwrap_or(backoff.initial),
            "factor" => backoff.factor_percent = read_factor(decoder, &value)?.unwrap_or(backoff.factor_percent),
            "max" => (max, at) = (duration::read(decoder, value, pause)?, field_at),
            other => {
                decoder.fault(field_at, fields::unknown(other, ["initial", "factor", "max"]));
                decoder.skip(&value)?;
            }
        }
        Ok(())
    })?;
    if max.is_some_and(|max| max < backoff.initial) {
        let complaint = Complaint::new("the longest wait is shorter than the first one");
        decoder.field_fault("max", at, complaint.hint("leave it out, or make `initial` shorter"));
    }
    backoff.max = max.unwrap_or(backoff.max.max(backoff.initial));
    Ok(backoff)
}

/// In hundredths.
fn read_factor<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Option<u32>> {
    let factor = match value.piece {
        // Exact for all numbers within the bounds.
        Piece::Scalar(Scalar::Whole(number)) => number as f64,
        Piece::Scalar(Scalar::Decimal(number)) => number,
        _ => return decoder.wrong_kind(value, "a number").map(|()| None),
    };
    if (1.0..=MAX_FACTOR).contains(&factor) {
        return Ok(Some((factor * 100.0).round() as u32));
    }
    let message = format!("expected a number from 1 to {MAX_FACTOR}, found {factor}");
    decoder.fault(value.at, Complaint::new(message));
    Ok(None)
}
