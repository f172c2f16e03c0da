//! Carries out what is planned.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;

use crate::judge::history::Fact;
use crate::judge::plan::{Event, Kind};
use crate::kubernetes::Cluster;
use crate::parts::{MASTERS, Parts};
use crate::proxy::Weather;
use crate::record::Recorder;

/// How often parts are looked at that may have ended by themselves.
const LOOK: Duration = Duration::from_millis(500);
/// How long the clusters may take to run again.
const WELL_WITHIN: Duration = Duration::from_secs(240);
/// How often an agent is given a new pod that does not come back.
const TRIED_AGAIN: Duration = Duration::from_secs(15);
/// How often a job is looked for that something is to befall, in milliseconds.
const LOOK_AGAIN: u64 = 300;
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
            Step::Break(planned) => {
                if planned.kind == Kind::ClockSkewed && !can_skew {
                    continue;
                }
                let mut event = resolve(parts, began, planned);
                if event.kind.is_of_one_job() {
                    if !befall_job(parts.cluster(&event.target)?, &event)? {
                        if recorder.now() < event.ends {
                            let at = recorder.now() - began + LOOK_AGAIN;
                            steps.insert(
                                steps.partition_point(|(other, _)| *other > at),
                                (at, Step::Break(planned)),
                            );
                        } else {
                            println!(
                                "          {:>3}  no job ran in {} to befall",
                                event.number, event.target
                            );
                        }
                        continue;
                    }
                    event.begins = recorder.now();
                    event.ends = event.begins + LOOK_AGAIN;
                }
                println!(
                    "{:>6.1} s  {:>3}  {} ({}) for {:.1} s",
                    at as f64 / 1000.0,
                    event.number,
                    event.kind.words(),
                    event.target,
                    (event.ends - event.begins) as f64 / 1000.0
                );
                recorder.note(Fact::Broken(event.clone()));
                if !event.kind.is_of_one_job() {
                    break_it(parts, &event).with_context(|| format!("event {}", event.number))?;
                }
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
    wait_until_well(parts, recorder)
}

/// Waits for what starts by itself again: the last trouble of a cluster is over when API server, node and the agent's pod are there.
fn wait_until_well(parts: &Parts, recorder: &Recorder) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut tried = Instant::now();
    while let Some(cluster) = parts.clusters().iter().find(|cluster| !cluster.is_well()) {
        ensure!(
            began.elapsed() < WELL_WITHIN,
            "the Kubernetes cluster {} does not run again\nhint: `cargo xtask cluster list`",
            cluster.name
        );
        if tried.elapsed() >= TRIED_AGAIN {
            cluster.have_agent()?;
            tried = Instant::now();
        }
        wait_until(parts, recorder, recorder.now() + 500);
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
        Kind::DiskFull => parts.disk().fill()?,
        Kind::ClockSkewed => {
            let seconds = i64::try_from(1 + event.chance % SKEW)?;
            let seconds = if event.chance & (1 << 40) == 0 {
                seconds
            } else {
                -seconds
            };
            parts.with(|installation| installation.write_clock(target, seconds));
        }
        _ => break_cluster(parts.cluster(target)?, event)?,
    }
    Ok(())
}

/// Befalls one of the jobs that run in a cluster. Whether there is one.
fn befall_job(cluster: &Cluster, event: &Event) -> anyhow::Result<bool> {
    match event.kind {
        Kind::JobPodDeleted => cluster.delete_job(event.chance, is_at_once(event)),
        _ => Ok(cluster.kill_supervisor(event.chance)),
    }
}

/// Half of the pods that are deleted are not told so.
const fn is_at_once(event: &Event) -> bool {
    event.chance & (1 << 40) == 0
}

fn break_cluster(cluster: &Cluster, event: &Event) -> anyhow::Result<()> {
    match event.kind {
        Kind::AgentPodDeleted => cluster.delete_agent(is_at_once(event)),
        Kind::ApiServerKilled => cluster.have("kill", "apiserver"),
        Kind::ApiServerPaused => cluster.have("pause", "apiserver"),
        Kind::KubeletPaused => cluster.have("pause", "kubelet"),
        Kind::RuntimePaused => cluster.have("pause", "containerd"),
        Kind::NodeRestarted => cluster.kill_node(),
        other => bail!("{other:?} befalls no cluster"),
    }
}

/// What was deleted or killed in a pod, Kubernetes or Tombolo sees to.
fn mend_cluster(cluster: &Cluster, event: &Event) -> anyhow::Result<()> {
    match event.kind {
        Kind::ApiServerKilled => cluster.start_again(&["apiserver"]),
        Kind::ApiServerPaused => cluster.have("resume", "apiserver"),
        Kind::KubeletPaused => cluster.have("resume", "kubelet"),
        Kind::RuntimePaused => cluster.have("resume", "containerd"),
        Kind::NodeRestarted => cluster.start_again(&["containerd", "kubelet"]),
        _ => Ok(()),
    }
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
        Kind::AgentKilled | Kind::AgentTold => parts.start_agent_again(target)?,
        Kind::AgentPaused => parts.signal_agent(target, Signal::CONT)?,
        Kind::LinkSilent | Kind::LinkReset | Kind::LinkHalfOpen | Kind::LinkCut | Kind::LinkSlow => {
            parts.turn_link(target, Weather::Fine)?;
        }
        Kind::StoreKilled => parts.with_bucket(crate::process::Server::start_again),
        Kind::StoreRefuses | Kind::StoreCut => parts.turn_store(target, Weather::Fine)?,
        Kind::DiskFull => parts.disk().empty()?,
        Kind::ClockSkewed => {
            parts.with(|installation| installation.write_clock(target, 0));
        }
        _ => mend_cluster(parts.cluster(target)?, event)?,
    }
    Ok(())
}
