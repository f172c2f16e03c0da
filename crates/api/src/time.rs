//! Calendar time on the wire.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tombolo_core::time::Timestamp;
use utoipa::openapi::schema::{KnownFormat, Object, Schema, SchemaFormat, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};

/// A point in time, written in RFC 3339 in UTC with milliseconds: `2026-11-05T12:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DateTime(Timestamp);

/// A text that is not a time in RFC 3339 after 1970.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time in RFC 3339, such as `2026-11-05T12:00:00Z`")]
pub struct ParseError(String);

/// The last millisecond of the year 9999, which is the last that RFC 3339 can write.
const LAST_MILLISECOND: u64 = 253_402_207_200_000;

impl DateTime {
    /// Milliseconds since 1970 UTC.
    pub const fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl From<Timestamp> for DateTime {
    /// Times beyond what RFC 3339 can write become the last that it can.
    fn from(timestamp: Timestamp) -> Self {
        Self(Timestamp(timestamp.0.min(LAST_MILLISECOND)))
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = i64::try_from(self.0.0).map_err(|_| fmt::Error)?;
        let timestamp = jiff::Timestamp::from_millisecond(milliseconds).map_err(|_| fmt::Error)?;
        write!(formatter, "{timestamp:.3}")
    }
}

impl FromStr for DateTime {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseError(text.chars().take(100).collect());
        let timestamp: jiff::Timestamp = text.parse().map_err(|_| error())?;
        let milliseconds = u64::try_from(timestamp.as_millisecond()).map_err(|_| error())?;
        Ok(Self::from(Timestamp(milliseconds)))
    }
}

impl TryFrom<String> for DateTime {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DateTime> for String {
    fn from(time: DateTime) -> Self {
        time.to_string()
    }
}

impl utoipa::PartialSchema for DateTime {
    fn schema() -> RefOr<Schema> {
        let object: Object = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("A point in time in RFC 3339, UTC, with milliseconds."))
            .build();
        RefOr::T(Schema::Object(object))
    }
}

impl utoipa::ToSchema for DateTime {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("DateTime")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_793_880_000_123, "2026-11-05T12:00:00.123Z"),
            (LAST_MILLISECOND, "9999-12-30T22:00:00.000Z"),
        ] {
            let time = DateTime::from(Timestamp(milliseconds));
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
        assert_eq!(
            DateTime::from(Timestamp(u64::MAX)).to_string(),
            "9999-12-30T22:00:00.000Z"
        );
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "now", "2026-11-05", "1969-12-31T23:59:59Z", "2026-13-05T12:00:00Z"] {
            assert!(text.parse::<DateTime>().is_err(), "{text}");
        }
    }
}
