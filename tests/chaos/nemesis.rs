//! Carries out what is planned.

use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use crate::judge::history::Fact;
use crate::judge::plan::{Event, Kind};
use crate::parts::{MASTERS, Parts};
use crate::proxy::Weather;
use crate::record::Recorder;

/// How often parts are looked at that may have ended by themselves.
const LOOK: Duration = Duration::from_millis(500);
/// Calendars are wrong by so many seconds at the most.
const SKEW: u64 = 900;

/// What is to be done at which time: break or mend.
enum Step<'plan> {
    Break(&'plan Event),
    Mend(Event),
}

/// Carries the plan out, on the thread that has started the parts: they end with the thread that starts them.
pub(crate) fn carry_out(parts: &Parts, recorder: &Recorder, plan: &[Event], can_skew: bool) -> anyhow::Result<()> {
    let began = recorder.now();
    let mut steps: Vec<(u64, Step<'_>)> = plan.iter().map(|event| (event.begins, Step::Break(event))).collect();
    steps.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    while let Some((at, step)) = steps.pop() {
        wait_until(parts, recorder, began + at);
        match step {
            Step::Break(event) => {
                if event.kind == Kind::ClockSkewed && !can_skew {
                    continue;
                }
                let event = resolve(parts, began, event);
                println!(
                    "{:>6.1} s  {:>3}  {} ({}) for {:.1} s",
                    at as f64 / 1000.0,
                    event.number,
                    event.kind.words(),
                    event.target,
                    (event.ends - event.begins) as f64 / 1000.0
                );
                recorder.note(Fact::Broken(event.clone()));
                break_it(parts, &event).with_context(|| format!("event {}", event.number))?;
                let ends = event.ends - began;
                let place = steps.partition_point(|(at, _)| *at > ends);
                steps.insert(place, (ends, Step::Mend(event)));
            }
            Step::Mend(event) => {
                mend(parts, &event).with_context(|| format!("the end of event {}", event.number))?;
                recorder.note(Fact::Mended { number: event.number });
            }
        }
    }
    Ok(())
}

/// Watches over the parts until then.
pub(crate) fn wait_until(parts: &Parts, recorder: &Recorder, at: u64) {
    loop {
        for (part, status) in parts.fallen() {
            println!("          {part} has ended by itself: {status}");
            recorder.note(Fact::Fell { part, status });
        }
        let left = Duration::from_millis(at.saturating_sub(recorder.now()));
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(LOOK));
    }
}

/// The event with the name of what it befalls, in times of the history.
fn resolve(parts: &Parts, began: u64, event: &Event) -> Event {
    let leader = || {
        let leads = |index: &usize| parts.with(|installation| installation.role(*index).as_deref() == Some("leader"));
        (0..MASTERS).find(leads).unwrap_or(0)
    };
    let target = match event.target.as_str() {
        "leader" => format!("master-{}", leader()),
        "standby" => format!("master-{}", (leader() + 1) % MASTERS),
        other => other.to_owned(),
    };
    Event {
        target,
        begins: began + event.begins,
        ends: began + event.ends,
        ..event.clone()
    }
}

fn master(event: &Event) -> anyhow::Result<usize> {
    let number = event.target.strip_prefix("master-").context("it befalls a master")?;
    Ok(number.parse()?)
}

fn link_weather(event: &Event) -> Weather {
    let chance = event.chance;
    match event.kind {
        Kind::LinkReset => Weather::Reset,
        Kind::LinkHalfOpen => Weather::Silent {
            up: chance.is_multiple_of(2),
            down: !chance.is_multiple_of(2),
        },
        Kind::LinkCut => Weather::Cut {
            bytes: 1 + chance % 60_000,
        },
        Kind::LinkSlow => Weather::Slow {
            latency: Duration::from_millis(20 + chance % 180),
            bytes_per_second: 50_000 + chance % 500_000,
        },
        _ => Weather::Silent { up: true, down: true },
    }
}

fn break_it(parts: &Parts, event: &Event) -> anyhow::Result<()> {
    let target = &event.target;
    match event.kind {
        Kind::LeaderKilled | Kind::StandbyKilled => {
            let index = master(event)?;
            parts.with(|installation| installation.end_at_once(index));
        }
        Kind::LeaderTold => {
            let index = master(event)?;
            parts.with(|installation| installation.tell(index));
        }
        Kind::LeaderPaused => {
            let index = master(event)?;
            parts.with(|installation| installation.signal(index, Signal::STOP));
        }
        Kind::DatabaseCut => {
            let index = master(event)?;
            parts.with(|installation| installation.cable(index).cut());
        }
        Kind::DatabaseKilled => parts.with(|installation| installation.server.kill()),
        Kind::AgentKilled => parts.signal_agent(target, Signal::KILL)?,
        Kind::AgentTold => parts.signal_agent(target, Signal::TERM)?,
        Kind::AgentPaused => parts.signal_agent(target, Signal::STOP)?,
        Kind::LinkSilent | Kind::LinkReset | Kind::LinkHalfOpen | Kind::LinkCut | Kind::LinkSlow => {
            parts.turn_link(target, link_weather(event))?;
        }
        Kind::StoreKilled => parts.with_bucket(crate::process::Server::kill),
        Kind::StoreRefuses => parts.turn_store(target, Weather::Refuses)?,
        Kind::StoreCut => parts.turn_store(target, Weather::Silent { up: true, down: true })?,
        Kind::DiskFull => parts.fill_disk()?,
        Kind::ClockSkewed => {
            let seconds = i64::try_from(1 + event.chance % SKEW)?;
            let seconds = if event.chance & (1 << 40) == 0 {
                seconds
            } else {
                -seconds
            };
            parts.with(|installation| installation.write_clock(target, seconds));
        }
    }
    Ok(())
}

fn mend(parts: &Parts, event: &Event) -> anyhow::Result<()> {
    let target = &event.target;
    match event.kind {
        Kind::LeaderKilled | Kind::StandbyKilled | Kind::LeaderTold => {
            let index = master(event)?;
            parts.with(|installation| {
                installation.end_at_once(index);
                installation.launch_master(index);
            });
        }
        Kind::LeaderPaused => {
            let index = master(event)?;
            parts.with(|installation| installation.signal(index, Signal::CONT));
        }
        Kind::DatabaseCut => {
            let index = master(event)?;
            parts.with(|installation| installation.cable(index).mend());
        }
        Kind::DatabaseKilled => parts.with(|installation| installation.server.start_again()),
        Kind::AgentKilled | Kind::AgentTold => {
            // One that is slow to go is not waited for: a service manager would not either.
            parts.signal_agent(target, Signal::KILL)?;
            parts.start_agent(target)?;
        }
        Kind::AgentPaused => parts.signal_agent(target, Signal::CONT)?,
        Kind::LinkSilent | Kind::LinkReset | Kind::LinkHalfOpen | Kind::LinkCut | Kind::LinkSlow => {
            parts.turn_link(target, Weather::Fine)?;
        }
        Kind::StoreKilled => parts.with_bucket(crate::process::Server::start_again),
        Kind::StoreRefuses | Kind::StoreCut => parts.turn_store(target, Weather::Fine)?,
        Kind::DiskFull => parts.empty_disk()?,
        Kind::ClockSkewed => {
            parts.with(|installation| installation.write_clock(target, 0));
        }
    }
    Ok(())
}
