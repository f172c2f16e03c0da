//! The verdict as one page that needs nothing else.

mod timeline;

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use tombolo_core::planted::Bug;

use super::check::{Run, Verdict, all_hold};
use super::plan::Kind;
use super::planted;

const STYLE: &str = include_str!("page/style.css");
/// The most faults that are shown of a verdict; the history has all.
const SHOWN: usize = 12;
/// The most different reasons of errors that are shown.
const REASONS: usize = 10;

/// What is said of the run as such.
pub(crate) struct Heading {
    pub(crate) replay: String,
    pub(crate) history: String,
    pub(crate) minutes: f64,
}

/// The page.
pub(crate) fn page(heading: &Heading, run: &Run<'_>, verdicts: &[Verdict]) -> String {
    let holds = all_hold(verdicts);
    let word = if holds { "All held" } else { "Violated" };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Chaos: " (word) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        p.over { "Tombolo · real programs under faults" }
                        h1 { (badge(holds)) " " (word) }
                        (summary(heading, run, verdicts))
                    }
                    section { h2 { "Verdicts" } (table(verdicts)) }
                    section { h2 { "What went wrong, and the builds meanwhile" } (timeline::timeline(run)) }
                    div.columns {
                        section { h2 { "Trouble" } (kinds(run)) }
                        div {
                            section { h2 { "Takeovers" } (takeovers(run)) }
                            section { h2 { "How jobs ended" } (states(run)) }
                        }
                    }
                    section { h2 { "Clusters" } (clusters(run)) }
                    (errors(run))
                    section {
                        h2 { "To see it again" }
                        pre { (heading.replay) }
                        p.small {
                            "The plan of the trouble follows from the seed; what real programs make of it does not: no two runs are the same. All that happened is in "
                            code { (heading.history) } "."
                        }
                    }
                }
            }
        }
    };
    markup.into_string()
}

fn badge(holds: bool) -> Markup {
    let (class, sign) = if holds {
        ("badge good", "✓")
    } else {
        ("badge bad", "✗")
    };
    html! { span class=(class) aria-hidden="true" { (sign) } }
}

fn summary(heading: &Heading, run: &Run<'_>, verdicts: &[Verdict]) -> Markup {
    let held = verdicts.iter().filter(|verdict| verdict.holds()).count();
    let tiles = [
        ("verdicts held", format!("{held} of {}", verdicts.len())),
        ("events", run.events.len().to_string()),
        ("builds acknowledged", run.acknowledged.len().to_string()),
        (
            "attempts",
            run.attempts.values().map(BTreeMap::len).sum::<usize>().to_string(),
        ),
        ("minutes", format!("{:.1}", heading.minutes)),
        ("seed", run.seed.to_string()),
    ];
    html! {
        dl.tiles {
            @for (name, value) in &tiles { div { dt { (name) } dd { (value) } } }
        }
        @if let Some(planted) = run.planted {
            p.note {
                "A mistake was planted in the program: " code { (planted) } ". "
                @match Bug::named(planted).map(|bug| planted::found(bug, verdicts)) {
                    Some(found) if !found.is_empty() => {
                        "It was found: "
                        @for (place, promise) in found.iter().enumerate() {
                            @if place > 0 { "; " }
                            (promise.words())
                        }
                        "."
                    }
                    _ => { b { "It was not found" } ": what else is violated is not known to come from it." }
                }
            }
        }
    }
}

fn table(verdicts: &[Verdict]) -> Markup {
    html! {
        table {
            thead { tr { th { "" } th { "" } th { "promise" } th { "what was looked at" } } }
            tbody {
                @for verdict in verdicts {
                    tr {
                        td { (badge(verdict.holds())) span.hidden { @if verdict.holds() { "held" } @else { "violated" } } }
                        td.name { (verdict.promise.invariant()) }
                        td { (verdict.promise.words()) }
                        td.numbers {
                            @for (name, value) in &verdict.numbers { span { (name) " " b { (value) } } }
                        }
                    }
                    @if !verdict.holds() { tr.told { td colspan="2" {} td colspan="2" { (faults(verdict)) } } }
                }
            }
        }
    }
}

fn clusters(run: &Run<'_>) -> Markup {
    html! {
        table.plain {
            tbody {
                @for (name, labels) in &run.labels {
                    tr {
                        td.name { (name) }
                        td { @if run.kubernetes.contains(name) { "a Kubernetes cluster: jobs are pods" } @else { "jobs are processes" } }
                        td.message { @for label in labels.iter() { code { (label) } " " } }
                    }
                }
            }
        }
    }
}

fn faults(verdict: &Verdict) -> Markup {
    let more = verdict.faults.len().saturating_sub(SHOWN);
    html! {
        ul.faults {
            @for fault in verdict.faults.iter().take(SHOWN) { li { (fault) } }
            @if more > 0 { li { "and " (more) " more" } }
        }
    }
}

fn kinds(run: &Run<'_>) -> Markup {
    let mut counts: BTreeMap<Kind, (usize, u64)> = BTreeMap::new();
    for event in &run.events {
        let count = counts.entry(event.kind).or_default();
        *count = (count.0 + 1, count.1 + (event.ends - event.begins));
    }
    html! {
        table.plain {
            thead { tr { th { "kind" } th.right { "times" } th.right { "seconds" } } }
            tbody {
                @for (kind, (count, milliseconds)) in &counts {
                    tr {
                        td { span class=(format!("dot {}", timeline::family(*kind))) {} (kind.words()) }
                        td.right { (count) }
                        td.right { (milliseconds / 1000) }
                    }
                }
            }
            tfoot { tr { td { (counts.len()) " kinds" } td.right { (run.events.len()) } td {} } }
        }
    }
}

fn takeovers(run: &Run<'_>) -> Markup {
    let mut by_kind: BTreeMap<Kind, Vec<u64>> = BTreeMap::new();
    for (kind, took) in &run.takeovers {
        by_kind.entry(*kind).or_default().push(*took);
    }
    let seconds = |milliseconds: u64| format!("{:.1} s", milliseconds as f64 / 1000.0);
    html! {
        table.plain {
            thead { tr { th { "another one leads after" } th.right { "times" } th.right { "median" } th.right { "longest" } } }
            tbody {
                @for (kind, took) in by_kind.iter_mut().map(|(kind, took)| { took.sort_unstable(); (kind, took) }) {
                    tr {
                        td { (kind.words()) }
                        td.right { (took.len()) }
                        td.right { (seconds(took[took.len() / 2])) }
                        td.right { (seconds(took.last().copied().unwrap_or_default())) }
                    }
                }
                @if run.takeovers.is_empty() { tr { td colspan="4" { "none" } } }
            }
        }
    }
}

fn states(run: &Run<'_>) -> Markup {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for job in run.jobs.values() {
        *counts.entry(&job.state).or_default() += 1;
    }
    let replaced: u32 = run.jobs.values().map(|job| job.replacements).sum();
    html! {
        table.plain {
            thead { tr { th { "state" } th.right { "jobs" } } }
            tbody {
                @for (state, count) in &counts { tr { td { (state) } td.right { (count) } } }
                tr { td { "attempts that were replaced" } td.right { (replaced) } }
            }
        }
    }
}

/// Errors are an honest answer where a store is away for longer than it may be: what they say is worth a look.
fn errors(run: &Run<'_>) -> Markup {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for job in run.jobs.values().filter(|job| job.state == "error") {
        *counts.entry(without_numbers(&job.message)).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    html! {
        @if !counts.is_empty() {
            section {
                h2 { "What jobs said that ended as error" }
                table.plain {
                    tbody {
                        @for (message, count) in counts.iter().take(REASONS) {
                            tr { td.right { (count) } td.message { (message) } }
                        }
                    }
                }
            }
        }
    }
}

/// Ports, digests and counts make two reasons of one.
fn without_numbers(message: &str) -> String {
    let mut text = String::new();
    let mut in_number = false;
    for letter in message.chars().take(240) {
        if letter.is_ascii_digit() {
            if !in_number {
                text.push('#');
            }
            in_number = true;
        } else {
            in_number = false;
            text.push(letter);
        }
    }
    text
}
