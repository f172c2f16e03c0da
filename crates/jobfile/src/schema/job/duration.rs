//! Spans of time: `90s`, `1h30m`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, quote};
use crate::reader::Token;

/// The units, and how many milliseconds each has.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const EXPECTED: &str = "text: a span of time such as `90s`";

/// Takes a span of time within `bounds`.
pub(super) fn read<'a>(
    decoder: &mut Decoder<'a>,
    value: Token<'a>,
    bounds: RangeInclusive<Duration>,
) -> Step<Option<Duration>> {
    let at = value.at;
    let Some(text) = decoder.text(value, EXPECTED)? else {
        return Ok(None);
    };
    let Some(duration) = parse(&text) else {
        let complaint = Complaint::new(format!("{} is not a span of time", quote(&text)));
        decoder.fault(at, complaint.hint("such as `90s`, `10m`, `1h30m`, `2d`"));
        return Ok(None);
    };
    if !bounds.contains(&duration) {
        let (low, high) = bounds.into_inner();
        let message = format!(
            "expected a span of time from {} to {}, found `{text}`",
            write(low),
            write(high)
        );
        decoder.fault(at, Complaint::new(message));
        return Ok(None);
    }
    Ok(Some(duration))
}

/// One or more whole numbers with their units.
fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut milliseconds) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
        let (number, unit) = rest[..digits + letters].split_at(digits);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        milliseconds = milliseconds.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = &rest[digits + letters..];
    }
    (!text.is_empty()).then(|| Duration::from_millis(milliseconds))
}

/// In the largest unit that it is a whole number of.
fn write(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut units = UNITS.iter().rev();
    match units.find(|(_, factor)| milliseconds > 0 && milliseconds.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("`{}{unit}`", milliseconds / factor),
        None => "`0s`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_have_units() {
        for (text, expected) in [
            ("90s", Some(90_000)),
            ("1h30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("2d", Some(172_800_000)),
            ("0s", Some(0)),
            ("", None),
            ("90", None),
            ("s", None),
            ("1.5h", None),
            ("-1s", None),
            ("1 h", None),
            ("1H", None),
            ("é", None),
            ("9999999999999999999d", None),
            ("18446744073709551615ms1ms", None),
        ] {
            let parsed = parse(text).map(|duration| duration.as_millis());
            assert_eq!(parsed, expected, "{text}");
        }
        assert_eq!(write(Duration::from_secs(3600)), "`1h`");
        assert_eq!(
            (write(Duration::ZERO), write(Duration::from_millis(1500))),
            ("`0s`".to_owned(), "`1500ms`".to_owned())
        );
    }
}
