//! What was measured, as a table for people and as lines for programs.

#![allow(dead_code, reason = "not every benchmark that includes this file needs all of it")]

use serde_json::json;

use crate::measure::Taken;

/// One number beside another.
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) against: &'static str,
    pub(crate) theirs: f64,
    pub(crate) target: Target,
}

/// What the number has to be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At most this much of theirs.
    Ratio(f64),
    /// At most theirs, which is a limit.
    Limit,
    /// At least theirs.
    AtLeast,
    /// It is told, and nothing is asked of it.
    Told,
}

impl Row {
    /// None where nothing is wanted.
    fn ratio(&self) -> Option<f64> {
        (self.theirs != 0.0).then(|| self.ours / self.theirs)
    }

    fn target(&self) -> String {
        match self.target {
            Target::Ratio(ratio) => format!("<= {ratio}x"),
            Target::Limit => format!("<= {} {}", self.theirs, self.unit),
            Target::AtLeast => format!(">= {} {}", self.theirs, self.unit),
            Target::Told => "none".to_owned(),
        }
    }

    fn is_met(&self) -> bool {
        match self.target {
            Target::Ratio(ratio) => self.ratio().is_some_and(|ours| ours <= ratio),
            Target::Limit => self.ours <= self.theirs,
            Target::AtLeast => self.ours >= self.theirs,
            Target::Told => true,
        }
    }
}

/// What a process took in a case.
pub(crate) struct Cost {
    pub(crate) case: &'static str,
    pub(crate) process: &'static str,
    pub(crate) taken: Taken,
    /// How much was moved, in bytes.
    pub(crate) bytes: u64,
}

/// Everything.
#[derive(Default)]
pub(crate) struct Report {
    /// Which benchmark.
    pub(crate) bench: &'static str,
    pub(crate) rows: Vec<Row>,
    pub(crate) costs: Vec<Cost>,
    /// What else is to be known.
    pub(crate) notes: Vec<String>,
}

impl Report {
    pub(crate) fn print(&self) {
        for note in &self.notes {
            println!("{note}");
        }
        let case = |row: &Row| format!("{} ({})", row.case, row.unit);
        let width = self.rows.iter().map(|row| case(row).len()).max().unwrap_or(0);
        println!(
            "\n{:<width$} {:>9} {:<28} {:>9} {:>6}  {:<16} met",
            "", "ours", "against", "theirs", "ratio", "target"
        );
        for row in &self.rows {
            let met = match (row.target, row.is_met()) {
                (Target::Told, _) => "-",
                (_, true) => "yes",
                (_, false) => "no",
            };
            let ratio = row.ratio().map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            println!(
                "{:<width$} {:>9.2} {:<28} {:>9.2} {ratio:>6}  {:<16} {met}",
                case(row),
                row.ours,
                row.against,
                row.theirs,
                row.target()
            );
        }
        if !self.costs.is_empty() {
            println!(
                "\n{:<26} {:<18} {:>14} {:>10}",
                "", "process", "CPU s per GB", "peak MiB"
            );
        }
        for cost in &self.costs {
            println!(
                "{:<26} {:<18} {:>14.2} {:>10.0}",
                cost.case,
                cost.process,
                cost.per_gigabyte(),
                cost.mebibytes()
            );
        }
        println!();
        for row in &self.rows {
            println!(
                "{}",
                json!({
                    "bench": self.bench, "case": row.case, "unit": row.unit, "ours": row.ours, "against": row.against,
                    "theirs": row.theirs, "ratio": row.ratio(), "target": row.target(), "met": row.is_met(),
                })
            );
        }
        for cost in &self.costs {
            for (unit, value) in [("CPU s per GB", cost.per_gigabyte()), ("MiB at most", cost.mebibytes())] {
                println!(
                    "{}",
                    json!({
                        "bench": self.bench, "case": format!("{}: {}", cost.case, cost.process), "unit": unit, "ours": value,
                        "against": null, "theirs": null, "ratio": null, "target": "none", "met": true,
                    })
                );
            }
        }
    }
}

impl Cost {
    fn per_gigabyte(&self) -> f64 {
        self.taken.processor_seconds / (self.bytes as f64 / 1e9)
    }

    pub(crate) fn mebibytes(&self) -> f64 {
        self.taken.peak_bytes as f64 / f64::from(1 << 20)
    }
}
