//! `cargo xtask chaos`: real programs under faults. Masters, agents, their database and an object store run as processes, users ask for builds all
//! the time, and what is planned goes wrong. All that happens is written down, and judged at the end.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "this program tells a person how far it is, and ends where it cannot go on"
)]

mod api;
#[path = "../it/standby/cable.rs"]
mod cable;
mod gather;
#[path = "../it/standby/installation.rs"]
mod installation;
mod judge;
mod kubernetes;
mod load;
mod nemesis;
mod parts;
#[path = "../../crates/transfer/src/store/tests/seaweed/process.rs"]
#[allow(clippy::unwrap_used, reason = "tests include it as well")]
mod process;
mod proxy;
mod record;
#[path = "../../crates/store/src/postgres/tests/server.rs"]
mod server;
mod shape;
mod watch;
mod witnesses;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::task::JoinSet;
use tombolo_core::planted::Bug;

use crate::judge::history::{Entry, Fact};
use crate::judge::plan::{self, CLUSTERS, Event, KUBERNETES, Stage};
use crate::judge::planted::Trace;
use crate::judge::{check, page};
use crate::kubernetes::Machine;
use crate::load::Office;
use crate::parts::Parts;
use crate::record::Recorder;
use crate::shape::Work;
use crate::witnesses::Witnesses;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tombolo");
/// How long everything is waited for after the last trouble. What takes longer than it may is told so by the verdict.
const PATIENCE: Duration = Duration::from_secs(180);
/// From one event to the next, on the average, in milliseconds.
const PAUSE: u64 = 6_600;
/// How often parts are looked at that may have ended by themselves, in milliseconds.
const LOOK: u64 = 500;
/// How many kinds there have to be.
const KINDS: usize = 10;

/// What `cargo xtask chaos` asks for.
struct Order {
    events: u32,
    pause: u64,
    seed: u64,
    folder: PathBuf,
    page: PathBuf,
    planted: Option<Bug>,
    calendars: Option<PathBuf>,
    /// The machine of Kubernetes clusters, if there are to be any.
    machine: Option<Machine>,
    /// Of a run that was, to be judged again.
    history: Option<PathBuf>,
}

impl Order {
    fn read() -> anyhow::Result<Self> {
        let variable = |name: &str| std::env::var(format!("TOMBOLO_CHAOS_{name}")).ok();
        let number = |name: &str| variable(name).map(|text| text.parse::<u64>()).transpose();
        let events = u32::try_from(number("EVENTS")?.unwrap_or(200))?;
        let pause = match number("MINUTES")? {
            Some(minutes) => minutes * 60_000 / u64::from(events.max(1)),
            None => PAUSE,
        };
        let folder = variable("FOLDER").map_or_else(|| PathBuf::from("target/chaos"), PathBuf::from);
        Ok(Self {
            events,
            pause: pause.max(100),
            seed: number("SEED")?.unwrap_or_else(|| u64::from(rand::random::<u16>())),
            page: variable("REPORT").map_or_else(|| folder.join("verdict.html"), PathBuf::from),
            folder,
            planted: planted()?,
            calendars: variable("CALENDARS").map(PathBuf::from),
            machine: Machine::of_environment()?,
            history: variable("HISTORY").map(PathBuf::from),
        })
    }

    fn replay(&self) -> String {
        let planted = self
            .planted
            .as_ref()
            .map_or_else(String::new, |bug| format!(" --planted {bug:?}"));
        let minutes = match self.pause == PAUSE {
            true => String::new(),
            false => format!(" --minutes {}", (self.pause * u64::from(self.events)).div_ceil(60_000)),
        };
        let kubernetes = self.machine.as_ref().map_or("", |_| " --kubernetes");
        format!(
            "cargo xtask chaos{kubernetes} --events {} --seed {}{minutes}{planted}",
            self.events, self.seed
        )
    }

    const fn stage(&self) -> Stage {
        match self.machine {
            Some(_) => Stage::Kubernetes,
            None => Stage::Processes,
        }
    }
}

/// The mistake that the program was built with.
fn planted() -> anyhow::Result<Option<Bug>> {
    let Ok(name) = std::env::var("TOMBOLO_PLANTED") else {
        return Ok(None);
    };
    let bug = Bug::named(&name).with_context(|| {
        let all: Vec<String> = Bug::ALL.iter().map(|bug| format!("{bug:?}")).collect();
        format!(
            "there is no mistake `{name}` to plant\nhint: there are {}",
            all.join(", ")
        )
    })?;
    if let Trace::Nothing(why) = judge::planted::trace(bug) {
        bail!("`{name}` cannot be found here: {why}\nhint: `cargo xtask sim --planted` finds it");
    }
    Ok(Some(bug))
}

fn main() -> anyhow::Result<ExitCode> {
    // As `rustls` wants it: one provider for the process, chosen before anything else.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let order = Order::read()?;
    std::fs::create_dir_all(&order.folder)?;
    if let Some(history) = &order.history {
        return judge_again(&order, history);
    }
    ensure_program_runs()?;
    let plan = plan::plan(order.stage(), order.seed, order.events, order.pause);
    println!("{}", order.replay());
    let path = order.folder.join("history.jsonl");
    let recorder = Arc::new(Recorder::begin(&path)?);
    run(&order, &plan, &recorder)?;
    tell(&order, &recorder.history(), &path)
}

/// Says what is to be said of a run that was, without running anything.
fn judge_again(order: &Order, path: &Path) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let entries = text.lines().map(serde_json::from_str);
    let mut history: Vec<Entry> = entries
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not the history of a run", path.display()))?;
    history.sort_by_key(|entry| entry.at);
    tell(order, &history, path)
}

/// A program with a mistake that does not exist says so at once.
fn ensure_program_runs() -> anyhow::Result<()> {
    let output = std::process::Command::new(PROGRAM).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {PROGRAM}"))?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn run(order: &Order, plan: &[Event], recorder: &Arc<Recorder>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start")?;
    let parts = Parts::start(
        &runtime,
        Path::new(PROGRAM),
        order.calendars.clone(),
        order.machine.as_ref(),
    )?;
    let labels = CLUSTERS.iter().zip(0..);
    let labels = labels.map(|(name, index)| ((*name).to_owned(), parts::labels(index).map(str::to_owned).into()));
    recorder.note(Fact::Began {
        seed: order.seed,
        replay: order.replay(),
        planted: order.planted.map(|bug| format!("{bug:?}")),
        labels: labels.collect(),
        kubernetes: order
            .machine
            .iter()
            .flat_map(|_| KUBERNETES.map(str::to_owned))
            .collect(),
    });
    let witness = parts.with(|installation| installation.write("witness", ""));
    let witnesses = match &order.machine {
        Some(machine) => Some(runtime.block_on(Witnesses::hear(machine.gateway, &witness))?),
        None => None,
    };
    let commands = Work {
        witness: witness.clone(),
        hears: witnesses.as_ref().map(|witnesses| witnesses.address),
        command: ["sh", "-c", include_str!("job.sh")].map(str::to_owned).to_vec(),
    };
    let (client, masters, probes) = parts.with(|installation| {
        let masters: Vec<String> = (0..parts::MASTERS).map(|index| installation.url(index)).collect();
        let probes: Vec<u16> = (0..parts::MASTERS)
            .map(|index| installation.port_for_probes(index))
            .collect();
        (installation.client(), masters, probes)
    });
    let office = Arc::new(Office {
        api: Arc::new(api::Api::of(client, masters)?),
        recorder: Arc::clone(recorder),
        work: commands,
        is_over: AtomicBool::new(false),
    });
    let is_watched_enough = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        scope.spawn(|| watch::watch(&parts, recorder, &probes, &is_watched_enough));
        let done = work(order, plan, recorder, &runtime, &parts, &office);
        is_watched_enough.store(true, Ordering::Relaxed);
        done
    });
    let said = std::fs::read_to_string(&witness).unwrap_or_default();
    let said = said
        .lines()
        .filter_map(|line| judge::history::witness(line, recorder.began_seconds));
    recorder.note_all(said);
    if done.is_err() {
        let kept = order.folder.join("logs");
        println!("the logs of all parts are in {}", kept.display());
    }
    parts.keep_logs(&order.folder.join("logs"))?;
    done
}

/// All of it, from the first build to the last look.
fn work(
    order: &Order,
    plan: &[Event],
    recorder: &Arc<Recorder>,
    runtime: &tokio::runtime::Runtime,
    parts: &Parts,
    office: &Arc<Office>,
) -> anyhow::Result<()> {
    let users = {
        let _inside = runtime.enter();
        load::begin(office, order.seed)
    };
    nemesis::carry_out(parts, recorder, plan, order.calendars.is_some())?;
    recorder.note(Fact::AllMended);
    office.is_over.store(true, Ordering::Relaxed);
    println!("the last trouble is mended: all builds are to end");
    let ends = runtime.spawn(wait_for_ends(Arc::clone(office), users));
    while !ends.is_finished() {
        nemesis::wait_until(parts, recorder, recorder.now() + LOOK);
    }
    let is_over = runtime.block_on(ends)??;
    if is_over {
        recorder.note(Fact::AllOver);
    }
    println!("looking at what there is");
    runtime.block_on(gather::gather(&office.api, recorder))?;
    gather::leftovers(parts, recorder);
    Ok(())
}

/// Waits until users have seen the end of all that they began, and until there is nothing else that has none; not for ever.
async fn wait_for_ends(office: Arc<Office>, mut users: JoinSet<anyhow::Result<()>>) -> anyhow::Result<bool> {
    let until = Instant::now() + PATIENCE;
    let followed = async {
        while let Some(user) = users.join_next().await {
            user??;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(PATIENCE, followed).await {
        Ok(followed) => followed?,
        Err(_) => return Ok(false),
    }
    Ok(gather::wait_for_ends(&office.api, until).await)
}

/// Writes the page, and prints the verdicts. That all hold is a success; with a mistake in the program, that it was found.
fn tell(order: &Order, history: &[Entry], path: &Path) -> anyhow::Result<ExitCode> {
    let run = check::Run::of(history);
    // A short run cannot have many.
    let wanted = KINDS.min(run.events.len() / 2);
    let verdicts = check::judge(history, wanted);
    let heading = page::Heading {
        replay: run.replay.unwrap_or_default().to_owned(),
        history: path.display().to_string(),
        minutes: history.last().map_or(0.0, |entry| entry.at as f64 / 60_000.0),
    };
    std::fs::write(&order.page, page::page(&heading, &run, &verdicts))?;
    println!();
    for verdict in &verdicts {
        let word = if verdict.holds() { "held    " } else { "VIOLATED" };
        let numbers: Vec<String> = verdict
            .numbers
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        println!(
            "{word}  {:<5} {}: {}",
            verdict.promise.invariant(),
            verdict.promise.words(),
            numbers.join(", ")
        );
        for fault in verdict.faults.iter().take(5) {
            println!("            {fault}");
        }
    }
    println!("\nverdict: {}\nhistory: {}", order.page.display(), path.display());
    let is_well = match run.planted.and_then(Bug::named) {
        None => check::all_hold(&verdicts),
        Some(bug) => {
            let found = judge::planted::found(bug, &verdicts);
            match found.is_empty() {
                true => println!("the mistake {bug:?} was not found: {:?}", judge::planted::trace(bug)),
                false => println!("the mistake {bug:?} was found: {found:?}"),
            }
            !found.is_empty()
        }
    };
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
