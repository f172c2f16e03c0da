//! That memory is bounded, and that nothing is left.

use super::run::Run;
use super::{Promise, Verdict};
use crate::judge::history::PROCESSES;
use crate::judge::plan::MASTERS;

/// The most faults of these kinds that are told one by one.
const TOLD: usize = 20;

pub(super) fn memory_is_bounded(run: &Run<'_>) -> Verdict {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let over = run.memory.iter().filter(|(_, (most, bound))| most > bound);
    let over = over.map(|(part, (most, bound))| {
        format!(
            "{part} had {:.1} MiB, more than {:.0} MiB",
            mebibytes(*most),
            mebibytes(*bound)
        )
    });
    let parts = MASTERS.iter().chain(run.labels.keys());
    let unknown = parts.filter(|part| !run.memory.contains_key(*part));
    let unknown = unknown.map(|part| format!("nobody has seen how much {part} had"));
    let faults = over.chain(unknown).collect();
    let worst = |prefix: &str| {
        let those = run
            .memory
            .iter()
            .filter(|(part, _)| part.starts_with("master") == (prefix == "master"));
        let worst = those.map(|(_, most)| *most).max();
        worst.map_or_else(
            || "not seen".to_owned(),
            |(most, bound)| format!("{:.1} of {:.0} MiB", mebibytes(most), mebibytes(bound)),
        )
    };
    Verdict {
        promise: Promise::MemoryBounded,
        numbers: vec![
            ("most in a master", worst("master")),
            ("most in an agent", worst("agent")),
        ],
        faults,
    }
}

pub(super) fn nothing_is_left(run: &Run<'_>) -> Verdict {
    let places = run.labels.keys().copied().chain([PROCESSES]);
    let unseen = places.clone().filter_map(|place| match run.looked.get(place) {
        None => Some(format!("nobody has looked at what is left of {place}")),
        Some(Some(why)) => Some(format!("nobody could look at what is left of {place}: {why}")),
        Some(None) => None,
    });
    let left = run.left.iter().take(TOLD).map(|what| format!("{what} is left"));
    Verdict {
        promise: Promise::NothingLeft,
        numbers: vec![
            ("left", run.left.len().to_string()),
            ("places to look at", places.clone().count().to_string()),
        ],
        faults: unseen.chain(left).collect(),
    }
}

/// Who leads without its database, or finds itself replaced, may end and be started again; nobody panics.
pub(super) fn nobody_cries(run: &Run<'_>) -> Verdict {
    let cries = run.cries.iter().take(TOLD);
    Verdict {
        promise: Promise::NoPanic,
        numbers: vec![
            ("panics", run.cries.len().to_string()),
            ("ended by themselves, started again", run.fell.len().to_string()),
        ],
        faults: cries.map(|(part, line)| format!("{part}: {line}")).collect(),
    }
}
