//! What went wrong, over time, and how many builds were under way.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use crate::judge::check::Run;
use crate::judge::plan::{CLUSTERS, Event, KUBERNETES, Kind};

const WIDTH: f64 = 1040.0;
/// Where time begins: left of it stand the names.
const LEFT: f64 = 118.0;
const AREA: f64 = 90.0;
const LANE: f64 = 20.0;
/// How many marks of time there are, about.
const MARKS: u64 = 10;

/// What kinds have one colour.
pub(super) const fn family(kind: Kind) -> &'static str {
    match kind {
        Kind::LeaderKilled | Kind::LeaderPaused | Kind::LeaderTold | Kind::StandbyKilled => "masters",
        Kind::AgentKilled | Kind::AgentPaused | Kind::AgentTold | Kind::AgentPodDeleted => "agents",
        Kind::LinkSilent | Kind::LinkReset | Kind::LinkHalfOpen | Kind::LinkCut | Kind::LinkSlow => "network",
        Kind::DatabaseCut | Kind::DatabaseKilled => "database",
        Kind::StoreKilled | Kind::StoreRefuses | Kind::StoreCut => "stores",
        Kind::DiskFull | Kind::ClockSkewed => "others",
        Kind::JobPodDeleted
        | Kind::SupervisorKilled
        | Kind::ApiServerKilled
        | Kind::ApiServerPaused
        | Kind::KubeletPaused
        | Kind::RuntimePaused
        | Kind::NodeRestarted => "nodes",
    }
}

/// The line that an event stands in.
fn lane(event: &Event) -> String {
    match family(event.kind) {
        "masters" => "masters".to_owned(),
        "database" => "database".to_owned(),
        "stores" => "object store".to_owned(),
        "agents" => format!("agent {}", event.target),
        "network" => format!("link {}", event.target),
        "nodes" => format!("Kubernetes {}", event.target),
        _ if event.kind == Kind::DiskFull => "disk".to_owned(),
        _ => "calendars".to_owned(),
    }
}

fn lanes(run: &Run<'_>) -> Vec<String> {
    let first = ["masters", "database"].map(str::to_owned).into_iter();
    let clusters = CLUSTERS
        .iter()
        .flat_map(|name| [format!("agent {name}"), format!("link {name}")]);
    let nodes = KUBERNETES.iter().filter(|name| run.kubernetes.contains(*name));
    let nodes = nodes.map(|name| format!("Kubernetes {name}"));
    let last = ["object store", "disk", "calendars"].map(str::to_owned);
    first.chain(clusters).chain(nodes).chain(last).collect()
}

pub(super) fn timeline(run: &Run<'_>) -> Markup {
    let spans = spans(run);
    let end = spans
        .iter()
        .map(|(_, end)| *end)
        .chain(run.all_over)
        .chain(run.all_mended);
    let end = end
        .chain(run.events.iter().map(|event| event.ends))
        .max()
        .unwrap_or(1)
        .max(1);
    let x = |at: u64| LEFT + (WIDTH - LEFT) * (at.min(end) as f64) / end as f64;
    let lanes = lanes(run);
    let bottom = AREA + LANE * lanes.len() as f64;
    let step = step(end);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", bottom + 28.0)) role="img"
            aria-label="Builds under way and what went wrong, over time" {
            (area(&spans, &x))
            @for (index, lane) in lanes.iter().enumerate() {
                @let y = AREA + LANE * index as f64;
                line.lane x1=(LEFT) x2=(WIDTH) y1=(y + LANE) y2=(y + LANE) {}
                text x="0" y=(y + 14.5) { (lane) }
            }
            @for event in &run.events {
                @if let Some(index) = lanes.iter().position(|lane| *lane == self::lane(event)) {
                    rect class=(family(event.kind)) x=(number(x(event.begins))) y=(AREA + LANE * index as f64 + 4.0)
                        width=(number((x(event.ends) - x(event.begins)).max(1.5))) height=(LANE - 7.0) rx="2" {
                        title { (event.number) ": " (event.kind.words()) " (" (event.target) "), " (seconds(event.begins)) " to " (seconds(event.ends)) }
                    }
                }
            }
            @if let Some(mended) = run.all_mended {
                line.mended x1=(number(x(mended))) x2=(number(x(mended))) y1="0" y2=(bottom) { title { "the last trouble is mended" } }
            }
            @for mark in (0..=end / step).map(|mark| mark * step) {
                line.lane x1=(number(x(mark))) x2=(number(x(mark))) y1=(bottom) y2=(bottom + 5.0) {}
                text x=(number(x(mark))) y=(bottom + 20.0) text-anchor="middle" { (clock(mark)) }
            }
        }
    }
}

/// From when to when each build was under way, as far as users saw it.
fn spans(run: &Run<'_>) -> Vec<(u64, u64)> {
    let mut last: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for ((build, _), seen) in &run.seen {
        for (at, ..) in seen {
            let span = last.entry(*build).or_insert((*at, *at));
            *span = (span.0.min(*at), span.1.max(*at));
        }
    }
    last.into_values().collect()
}

fn area(spans: &[(u64, u64)], x: &impl Fn(u64) -> f64) -> Markup {
    let times: BTreeSet<u64> = spans.iter().flat_map(|(begin, end)| [*begin, *end]).collect();
    let under_way = |at: u64| spans.iter().filter(|(begin, end)| *begin <= at && at < *end).count();
    let points: Vec<(u64, usize)> = times.into_iter().map(|at| (at, under_way(at))).collect();
    let most = points.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let y = |count: usize| AREA - 8.0 - (AREA - 24.0) * count as f64 / most as f64;
    let mut edge = String::new();
    let mut before = 0;
    for (at, count) in &points {
        let (x, first, second) = (number(x(*at)), number(y(before)), number(y(*count)));
        edge.push_str(&format!("{x},{first} {x},{second} "));
        before = *count;
    }
    let ends = points.first().zip(points.last());
    let ground = ends
        .map(|((first, _), (last, _))| format!("{},{} {edge}{},{}", number(x(*first)), y(0), number(x(*last)), y(0)));
    html! {
        text x="0" y=(AREA - 8.0) { "builds under way" }
        text x=(LEFT - 8.0) y=(number(y(most) + 4.0)) text-anchor="end" { (most) }
        @if let Some(ground) = ground {
            polygon.area points=(ground) {}
            polyline.edge points=(edge.trim_end()) {}
        }
    }
}

fn step(end: u64) -> u64 {
    let steps = [5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000];
    steps.into_iter().find(|step| end / step <= MARKS).unwrap_or(1_800_000)
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

fn seconds(milliseconds: u64) -> String {
    format!("{:.1} s", milliseconds as f64 / 1000.0)
}

fn clock(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
