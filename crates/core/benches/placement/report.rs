//! What was measured, as a table for people and as lines for programs.

use serde_json::json;

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
    /// As much as theirs, or more.
    AtLeast,
    /// As much as theirs, or less.
    AtMost,
    /// Less than this much of theirs.
    Below(f64),
    /// It is told, and nothing is asked of it.
    Told,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.ours / self.theirs
    }

    fn target(&self) -> String {
        match self.target {
            Target::AtLeast => format!(">= {} {}", self.theirs, self.unit),
            Target::AtMost => format!("<= {} {}", self.theirs, self.unit),
            Target::Below(ratio) => format!("< {ratio}x"),
            Target::Told => "none".to_owned(),
        }
    }

    fn is_met(&self) -> bool {
        match self.target {
            Target::AtLeast => self.ours >= self.theirs,
            Target::AtMost => self.ours <= self.theirs,
            Target::Below(ratio) => self.ratio() < ratio,
            Target::Told => true,
        }
    }
}

pub(crate) fn print(rows: &[Row]) {
    println!(
        "\n{:<38} {:>10} {:<14} {:>10} {:>6}  {:<16} met",
        "", "ours", "against", "theirs", "ratio", "target"
    );
    for row in rows {
        let met = match (row.target, row.is_met()) {
            (Target::Told, _) => "-",
            (_, true) => "yes",
            (_, false) => "no",
        };
        let case = format!("{} ({})", row.case, row.unit);
        println!(
            "{case:<38} {:>10.0} {:<14} {:>10.0} {:>6.2}  {:<16} {met}",
            row.ours,
            row.against,
            row.theirs,
            row.ratio(),
            row.target()
        );
    }
    println!();
    for row in rows {
        println!(
            "{}",
            json!({
                "bench": "placement", "case": row.case, "unit": row.unit, "ours": row.ours, "against": row.against,
                "theirs": row.theirs, "ratio": row.ratio(), "target": row.target(), "met": row.is_met(),
            })
        );
    }
}
