//! What is printed: tables for people, JSON and YAML for programs.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, Table, presets};
use serde::Serialize;
use tombolo_api::DateTime;

use crate::failure::{ExitCode, Failure};

/// How a result is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Names only, one a line.
    Name,
}

impl Format {
    /// Whether it is for people: only then is there more to read than the result.
    pub(crate) const fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    /// Refuses a format that the result of a command does not have.
    pub(crate) fn refuse(self, refused: &[Self], command: &str) -> Result<(), Failure> {
        if !refused.contains(&self) {
            return Ok(());
        }
        let name = |format: Self| format!("{format:?}").to_lowercase();
        let others: Vec<String> = Self::value_variants()
            .iter()
            .filter(|format| !refused.contains(format))
            .map(|format| format!("`-o {}`", name(*format)))
            .collect();
        Err(Failure::usage(format!(
            "`tombolo {command}` has no output of the form `{}`",
            name(self)
        ))
        .hint(format!("it takes {}", others.join(", "))))
    }
}

/// Something that can be shown as rows.
pub(crate) trait Rows: Serialize {
    /// The heads of the columns.
    fn header(&self, wide: Wide) -> Vec<&'static str>;
    /// The rows, each as long as the header.
    fn rows(&self, wide: Wide) -> Vec<Vec<String>>;
    /// The names of the rows.
    fn names(&self) -> Vec<String>;
    /// What to say instead of a table without rows.
    fn empty(&self) -> &'static str;
}

/// Whether there is room for the columns that matter less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wide {
    /// There is.
    Yes,
    /// There is not.
    No,
}

/// Prints a result in the format that was asked for.
pub(crate) fn print(format: Format, result: &impl Rows) -> Result<(), Failure> {
    match format {
        Format::Table => print_table(result, Wide::No),
        Format::Wide => print_table(result, Wide::Yes),
        Format::Name => result.names().iter().try_for_each(|name| line(name)),
        Format::Json | Format::Yaml => print_value(format, result),
    }
}

/// Prints a value as YAML if that was asked for, else as JSON.
pub(crate) fn print_value(format: Format, value: &impl Serialize) -> Result<(), Failure> {
    let text = match format {
        Format::Yaml => serde_yaml_ng::to_string(value).map_err(|error| error.to_string()),
        _ => serde_json::to_string_pretty(value).map_err(|error| error.to_string()),
    };
    let text = text.map_err(|error| Failure::new(ExitCode::Failed, format!("cannot print the result: {error}")))?;
    line(text.trim_end())
}

/// What a command has changed.
#[derive(Debug, Serialize)]
pub(crate) struct Changed<'a> {
    /// What sort of thing: `cluster`.
    pub(crate) kind: &'static str,
    /// Which.
    pub(crate) name: &'a str,
    /// What became of it: `removed`.
    pub(crate) change: &'static str,
}

/// Says what was changed; names only that thing under `-o name`.
pub(crate) fn changed(format: Format, changed: &Changed<'_>) -> Result<(), Failure> {
    let Changed { kind, name, change } = changed;
    match format {
        Format::Table | Format::Wide => {
            let mut letters = kind.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            let kind: String = first.into_iter().chain(letters).collect();
            line(&format!("{kind} `{name}` was {change}."))
        }
        Format::Name => line(name),
        Format::Json | Format::Yaml => print_value(format, changed),
    }
}

fn print_table(result: &impl Rows, wide: Wide) -> Result<(), Failure> {
    let rows = result.rows(wide);
    if rows.is_empty() {
        return line(result.empty());
    }
    line(&table(&result.header(wide), &rows))
}

/// A table without lines, for text that is read and piped.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !colour() {
        table.force_no_tty();
    }
    table.set_header(header.iter().map(|head| {
        let cell = Cell::new(head.to_uppercase());
        if colour() {
            cell.add_attribute(Attribute::Bold)
        } else {
            cell
        }
    }));
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether standard output takes colours: it is a terminal and `NO_COLOR` is not set.
pub(crate) fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints a line. A reader that went away (`| head`) ends the program quietly.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut output = anstream::stdout().lock();
    writeln!(output, "{text}").map_err(write_failure)
}

/// What a failed write to standard output means.
pub(crate) fn write_failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::silent(ExitCode::Failed)
    } else {
        Failure::new(ExitCode::Failed, format!("cannot write the result: {error}"))
    }
}

/// A text of others on one line: control characters, which could move the cursor or end the line, are escaped.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// How many there are of something: `1 job`, `2 jobs`.
pub(crate) fn count(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {one}{plural}")
}

/// A size for people: `5.2 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().si().to_string()
}

/// A duration for people: `1m 2s`, `2.4s`, `120ms`.
pub(crate) fn duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match milliseconds {
        0..1_000 => format!("{milliseconds}ms"),
        1_000..60_000 => format!("{:.1}s", duration.as_secs_f64()),
        _ => humantime::format_duration(Duration::from_secs(milliseconds / 1_000)).to_string(),
    }
}

/// The time between two points, if both are known; nothing otherwise.
pub(crate) fn between(from: Option<DateTime>, to: Option<DateTime>) -> String {
    let (Some(from), Some(to)) = (from, to) else {
        return String::new();
    };
    duration(Duration::from_millis(
        to.timestamp().0.saturating_sub(from.timestamp().0),
    ))
}

/// How long ago something was: `3m`.
pub(crate) fn age(at: DateTime) -> String {
    span(now().saturating_sub(at.timestamp().0) / 1_000)
}

/// How soon something is: `in 3m`.
pub(crate) fn until(at: DateTime) -> String {
    match at.timestamp().0.saturating_sub(now()).div_ceil(1_000) {
        0 => "now".to_owned(),
        seconds => format!("in {}", span(seconds)),
    }
}

/// Milliseconds since 1970 UTC.
fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Labels for people: flags bare, the others `key=value`.
pub(crate) fn labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let label = |(key, value): (&String, &String)| {
        if value.is_empty() {
            key.clone()
        } else {
            format!("{key}={value}")
        }
    };
    labels.into_iter().map(label).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_breaks_its_line() {
        let shown = table(&["name"], &[vec!["a\nb\u{1b}[2J".to_owned()]]);
        assert_eq!(shown, "NAME\na\\nb\\u{1b}[2J");
    }

    #[test]
    fn a_form_that_a_command_does_not_have_is_refused_with_those_that_it_has() {
        Format::Json.refuse(&[Format::Name], "explain").unwrap();
        let refused = Format::Name.refuse(&[Format::Name], "explain").unwrap_err();
        assert_eq!(refused.code, ExitCode::Usage);
        assert_eq!(refused.message, "`tombolo explain` has no output of the form `name`");
        assert_eq!(
            refused.hint.unwrap(),
            "it takes `-o table`, `-o wide`, `-o json`, `-o yaml`"
        );
    }

    #[test]
    fn one_is_singular() {
        let shown = [0, 1, 2].map(|number| count(number, "job"));
        assert_eq!(shown, ["0 jobs", "1 job", "2 jobs"]);
    }
}
