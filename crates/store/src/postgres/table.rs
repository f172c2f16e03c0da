//! Tables as they are written: many rows with one statement, each column an array.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use serde::Serialize;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tombolo_core::digest::Digest;
use tombolo_core::time::Timestamp;
use uuid::Uuid;

use super::text::escaped;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Id,
    Bytes,
    Text,
    Number,
    Integer,
    Flag,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Id => "uuid",
            Self::Bytes => "bytea",
            Self::Text => "text",
            Self::Number => "bigint",
            Self::Integer => "integer",
            Self::Flag => "boolean",
        }
    }
}

/// One value of one row. It shows nothing of itself: it may be a secret of a job.
pub(super) enum Value<'a> {
    Id(Uuid),
    Bytes(&'a [u8]),
    Text(Cow<'a, str>),
    Number(i64),
    Integer(i32),
    Flag(bool),
    Null,
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("_")
    }
}

impl<'a> Value<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self::Text(escaped(text))
    }

    pub(super) fn optional_text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    pub(super) fn json<T: Serialize>(value: &T) -> Self {
        let text = serde_json::to_string(value).expect("records have text keys and no failing serializers");
        match escaped(&text) {
            Cow::Borrowed(_) => Self::Text(Cow::Owned(text)),
            Cow::Owned(escaped) => Self::Text(Cow::Owned(escaped)),
        }
    }

    pub(super) fn optional_json<T: Serialize>(value: Option<&T>) -> Self {
        value.map_or(Self::Null, Self::json)
    }

    /// With the same bits and a sign, so that every number comes back.
    pub(super) const fn number(number: u64) -> Self {
        Self::Number(number.cast_signed())
    }

    pub(super) fn optional_number(number: Option<u64>) -> Self {
        number.map_or(Self::Null, Self::number)
    }

    pub(super) const fn time(time: Timestamp) -> Self {
        Self::number(time.0)
    }

    pub(super) fn optional_time(time: Option<Timestamp>) -> Self {
        time.map_or(Self::Null, Self::time)
    }

    pub(super) fn digest(digest: &'a Digest) -> Self {
        Self::Bytes(digest.as_bytes())
    }

    pub(super) fn optional_digest(digest: Option<&'a Digest>) -> Self {
        digest.map_or(Self::Null, Self::digest)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, column: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, column) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Id(id), &Type::UUID) => id.to_sql(column, out),
            (Self::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(column, out),
            (Self::Text(text), &Type::TEXT) => text.as_ref().to_sql(column, out),
            (Self::Number(number), &Type::INT8) => number.to_sql(column, out),
            (Self::Integer(number), &Type::INT4) => number.to_sql(column, out),
            (Self::Flag(flag), &Type::BOOL) => flag.to_sql(column, out),
            _ => Err(format!("a value of another type than {column}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A table, its columns in the order of its rows here.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// How many of the columns, from the first on, are its key.
    pub(super) keys: usize,
    pub(super) columns: &'static [(&'static str, Kind)],
}

impl Table {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().map(|(name, _)| *name)
    }

    fn arrays(&self, columns: usize) -> String {
        let array = |(index, (_, kind)): (usize, &(_, Kind))| format!("${}::{}[]", index + 1, kind.name());
        let arrays: Vec<String> = self.columns.iter().take(columns).enumerate().map(array).collect();
        arrays.join(", ")
    }

    /// Inserts rows that must not be there.
    pub(super) fn insert(&self) -> String {
        let (table, names) = (self.name, self.names().collect::<Vec<_>>().join(", "));
        let arrays = self.arrays(self.columns.len());
        format!("INSERT INTO {table} ({names}) SELECT * FROM UNNEST({arrays})")
    }

    /// Inserts rows, or writes over those with the same keys.
    pub(super) fn put(&self) -> String {
        let keys: Vec<&str> = self.names().take(self.keys).collect();
        let set: Vec<String> = self
            .names()
            .skip(self.keys)
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        format!(
            "{} ON CONFLICT ({}) DO UPDATE SET {}",
            self.insert(),
            keys.join(", "),
            set.join(", ")
        )
    }

    /// Writes over the rows with these keys.
    pub(super) fn update(&self) -> String {
        let set = self.names().skip(self.keys).map(|name| format!("{name} = new.{name}"));
        let (table, set) = (self.name, set.collect::<Vec<_>>().join(", "));
        let names = self.names().collect::<Vec<_>>().join(", ");
        let arrays = self.arrays(self.columns.len());
        let matches = self.matches("new");
        format!("UPDATE {table} SET {set} FROM UNNEST({arrays}) AS new ({names}) WHERE {matches}")
    }

    /// Deletes the rows with these keys.
    pub(super) fn delete(&self) -> String {
        let names = self.names().take(self.keys).collect::<Vec<_>>().join(", ");
        let (table, arrays, matches) = (self.name, self.arrays(self.keys), self.matches("gone"));
        format!("DELETE FROM {table} USING UNNEST({arrays}) AS gone ({names}) WHERE {matches}")
    }

    fn matches(&self, other: &str) -> String {
        let matches = self
            .names()
            .take(self.keys)
            .map(|key| format!("{}.{key} = {other}.{key}", self.name));
        matches.collect::<Vec<_>>().join(" AND ")
    }
}

use Kind::{Bytes, Flag, Id, Integer, Number, Text};

pub(super) const PROJECTS: Table = Table {
    name: "projects",
    keys: 1,
    columns: &[
        ("id", Id),
        ("name", Text),
        ("created_at", Number),
        ("last_build", Number),
        ("workspace", Text),
        ("retention", Text),
        ("share", Text),
    ],
};

pub(super) const CLUSTERS: Table = Table {
    name: "clusters",
    keys: 1,
    columns: &[
        ("name", Text),
        ("labels", Text),
        ("key", Bytes),
        ("joined_at", Number),
        ("availability", Text),
        ("is_handing_over", Flag),
    ],
};

pub(super) const INVITES: Table = Table {
    name: "invites",
    keys: 1,
    columns: &[
        ("id", Id),
        ("secret", Bytes),
        ("cluster", Text),
        ("labels", Text),
        ("expires_at", Number),
        ("used_by", Bytes),
        ("pin", Bytes),
    ],
};

pub(super) const TOKENS: Table = Table {
    name: "tokens",
    keys: 1,
    columns: &[
        ("id", Id),
        ("name", Text),
        ("secret", Bytes),
        ("role", Text),
        ("project", Id),
        ("created_at", Number),
        ("expires_at", Number),
    ],
};

pub(super) const CACHES: Table = Table {
    name: "caches",
    keys: 4,
    columns: &[
        ("project", Id),
        ("job", Text),
        ("branch", Text),
        ("cluster", Text),
        ("manifest", Bytes),
        ("bytes", Number),
        ("files", Number),
        ("build", Number),
        ("saved_at", Number),
        ("used_at", Number),
    ],
};

pub(super) const SECRETS: Table = Table {
    name: "secrets",
    keys: 2,
    columns: &[
        ("project", Id),
        ("name", Text),
        ("updated_at", Number),
        ("sealed_by", Text),
        ("sealed", Bytes),
    ],
};

pub(super) const TRIGGERS: Table = Table {
    name: "triggers",
    keys: 2,
    columns: &[("project", Id), ("name", Text), ("source", Bytes), ("record", Text)],
};

pub(super) const TRIGGER_FILES: Table = Table {
    name: "trigger_files",
    keys: 2,
    columns: &[("project", Id), ("name", Text), ("file", Text)],
};

pub(super) const BUILDS: Table = Table {
    name: "builds",
    keys: 1,
    columns: &[
        ("id", Id),
        ("project", Id),
        ("number", Number),
        ("state", Text),
        ("created_at", Number),
        ("ended_at", Number),
        ("submitted_by", Text),
        ("source", Bytes),
        ("revision_branch", Text),
        ("revision_commit", Text),
        ("revision_tag", Text),
        ("restarts", Number),
        ("released_at", Number),
    ],
};

pub(super) const JOBS: Table = Table {
    name: "jobs",
    keys: 1,
    columns: &[
        ("id", Id),
        ("build", Id),
        ("position", Number),
        ("name", Text),
        ("parents", Text),
        ("selector", Text),
        ("prefer", Text),
        ("cpu_milli", Number),
        ("memory_bytes", Number),
        ("timeout_milliseconds", Number),
        ("volumes", Text),
        ("cache", Flag),
        ("priority", Integer),
        ("kind", Text),
        ("needs", Text),
        ("generated_by", Number),
        ("extensions", Text),
        ("output_keep_days", Number),
        ("spec", Text),
    ],
};

/// What of a job's row changes when jobs are added to its build.
pub(super) const JOB_PARENTS: Table = Table {
    name: "jobs",
    keys: 1,
    columns: &[("id", Id), ("parents", Text)],
};

pub(super) const JOB_STATUS: Table = Table {
    name: "job_status",
    keys: 1,
    columns: &[
        ("job", Id),
        ("state", Text),
        ("epoch", Number),
        ("cluster", Text),
        ("message", Text),
        ("exit_code", Integer),
        ("queued_at", Number),
        ("started_at", Number),
        ("ended_at", Number),
        ("cancel_requested", Flag),
        ("output_manifest", Bytes),
        ("output_bytes", Number),
        ("output_files", Number),
        ("inputs", Text),
        ("log_lines", Number),
        ("replacements", Number),
        ("loss", Text),
        ("output_lost", Flag),
        ("course", Text),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_take_an_array_for_each_column() {
        const PAIRS: Table = Table {
            name: "pairs",
            keys: 2,
            columns: &[("left", Id), ("right", Text), ("value", Number)],
        };
        let insert =
            "INSERT INTO pairs (left, right, value) SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bigint[])";
        assert_eq!(PAIRS.insert(), insert);
        assert_eq!(
            PAIRS.put(),
            format!("{insert} ON CONFLICT (left, right) DO UPDATE SET value = excluded.value")
        );
        assert_eq!(
            PAIRS.update(),
            "UPDATE pairs SET value = new.value FROM UNNEST($1::uuid[], $2::text[], $3::bigint[]) AS new (left, right, value) \
             WHERE pairs.left = new.left AND pairs.right = new.right"
        );
        assert_eq!(
            PAIRS.delete(),
            "DELETE FROM pairs USING UNNEST($1::uuid[], $2::text[]) AS gone (left, right) \
             WHERE pairs.left = gone.left AND pairs.right = gone.right"
        );
    }

    #[test]
    fn values_show_nothing() {
        assert_eq!(format!("{:?}", Value::text("hunter2")), "_");
    }
}
