//! Resources, and what there is of a job, as people read them.

use std::time::Duration;

use crate::name::{JobName, ProjectName};

/// Processors: `2`, `0.25`.
pub(crate) fn cpu(milli: u64) -> String {
    let text = format!("{}.{:03}", milli / 1000, milli % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Bytes in the largest binary unit that leaves a whole number or one decimal: `512 MiB`, `1.5 GiB`.
pub(crate) fn memory(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (1..UNITS.len())
        .rev()
        .find(|unit| bytes >> (10 * unit) > 0)
        .unwrap_or(0);
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    match tenths % 10 {
        0 => format!("{} {}", tenths / 10, UNITS[unit]),
        rest => format!("{}.{rest} {}", tenths / 10, UNITS[unit]),
    }
}

/// Bytes as a command takes them, none more and none less: `1536MiB`.
pub(crate) fn memory_exactly(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["", "KiB", "MiB", "GiB", "TiB"];
    let whole = |unit: &usize| bytes.trailing_zeros() as usize >= 10 * unit;
    let unit = (1..UNITS.len()).rev().find(whole).filter(|_| bytes > 0).unwrap_or(0);
    format!("{}{}", bytes >> (10 * unit), UNITS[unit])
}

/// The size of data in the largest decimal unit, as the command line has it: `512 B`, `24.0 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 0;
    // Half a tenth and more is rounded up, which may make a thousand of it.
    let tenths = |unit: u32| (u128::from(bytes) * 10 + 10_u128.pow(3 * unit) / 2) / 10_u128.pow(3 * unit);
    while unit < 6 && bytes >= 1000 && tenths(unit) >= 10_000 {
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{}.{} {}", tenths(unit) / 10, tenths(unit) % 10, UNITS[unit as usize]),
    }
}

/// A span of time as job files have it: `90s` is `1m30s`; what is below a second only where there is no more.
pub(crate) fn span(span: Duration) -> String {
    const UNITS: [(&str, u128); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let mut left = span.as_millis();
    if left >= 1000 {
        left -= left % 1000;
    }
    let mut text = String::new();
    for (unit, size) in UNITS {
        let count = left / size;
        left %= size;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The value of a label that keeps a requirement from holding, if there is one; some labels have none.
pub(super) fn found(value: Option<&str>) -> String {
    match value {
        None => String::new(),
        Some("") => " (it has that label)".to_owned(),
        Some(value) => format!(" (it is `{value}`)"),
    }
}

/// The project of a job, at the beginning of a sentence about it.
pub(super) fn project(name: Option<&ProjectName>) -> String {
    name.map_or_else(|| "its project".to_owned(), |name| format!("project `{name}`"))
}

/// The job that needs something of a cluster, before the verb: this one, or one with which it shares a volume.
pub(super) fn sharer(job: Option<&JobName>) -> String {
    job.map_or_else(
        || "the job".to_owned(),
        |job| format!("`{job}`, with which it shares the volume,"),
    )
}

/// The selector of the job, or of one with which it shares a volume.
pub(super) fn selector_of(job: Option<&JobName>) -> String {
    job.map_or_else(|| "its selector".to_owned(), |job| format!("the selector of `{job}`"))
}

/// Whose a requirement is, behind it, if it is not the job's own.
pub(super) fn of_sharer(job: Option<&JobName>) -> String {
    job.map_or_else(String::new, |job| {
        format!(" of `{job}`, with which it shares the volume,")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_written_as_in_job_files() {
        for (milliseconds, words) in [
            (0, "0s"),
            (250, "250ms"),
            (10_000, "10s"),
            (90_500, "1m30s"),
            (3_600_000, "1h"),
            (90_000_000, "1d1h"),
        ] {
            assert_eq!(span(Duration::from_millis(milliseconds)), words);
        }
    }
}
