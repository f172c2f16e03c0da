//! The cases.

mod builds;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::link::Link;
use crate::process::free_ports;
use crate::rclone::{self, Run};
use crate::report::{Cost, Report, Row, Target};
use crate::servers::Servers;
use crate::world::{Cluster, Ports, World};
use crate::{bare, payload, servers};
use builds::{Moved, Order};

/// How often each is measured, unless `TOMBOLO_BENCH_ROUNDS` says otherwise; the one in the middle counts.
const ROUNDS: usize = 3;
/// The rate of the link between places that are far from each other.
const LINK_BITS_PER_SECOND: u64 = 400_000_000;
const AGENT_MEBIBYTES: f64 = 128.0;
const MASTER_GROWTH_MEBIBYTES: f64 = 64.0;

struct Bench<'a> {
    runtime: &'a Runtime,
    servers: Servers,
    world: World,
    payload: PathBuf,
    rounds: usize,
    report: Report,
}

/// Measures everything.
pub(crate) fn run(runtime: &Runtime) -> anyhow::Result<Report> {
    let place = tempfile::tempdir()?;
    let payload = place.path().join("payload");
    servers::program()?;
    let rounds = std::env::var("TOMBOLO_BENCH_ROUNDS").map_or(Ok(ROUNDS), |rounds| rounds.parse());
    let rounds = rounds.context("TOMBOLO_BENCH_ROUNDS is no number")?.max(1);
    println!("making {} MB", payload::BYTES / 1_000_000);
    payload::make(&payload)?;
    println!("starting SeaweedFS, Azurite, a master and six agents");
    let servers = runtime.block_on(Servers::start())?;
    let ports = Ports::choose();
    let mut link = Link::new(LINK_BITS_PER_SECOND, runtime.handle().clone());
    let world = World::start(&ports, &clusters(&servers, &ports, &mut link, place.path())?)?;
    let mut bench = Bench {
        runtime,
        servers,
        world,
        payload,
        rounds,
        report: Report {
            bench: "transfer",
            ..Report::default()
        },
    };
    bench.s3_to_azure()?;
    bench.with_folders()?;
    bench.over_a_link()?;
    bench.memory();
    Ok(bench.report)
}

/// Two with buckets, one with a folder; `near` and `hidden` with folders and `far` are for the link: whatever `far` asks of others
/// goes over it, and nobody can dial `hidden`.
fn clusters(servers: &Servers, ports: &Ports, link: &mut Link, place: &Path) -> anyhow::Result<Vec<Cluster>> {
    let peers = free_ports(4);
    let at = |index: usize| SocketAddr::from(([127, 0, 0, 1], peers[index]));
    let open = |index| Some((at(index), at(index)));
    let folder = |name: &str| json!({"local": {"path": place.join(name)}});
    let [s3, azure] = servers.stores();
    let cluster = |name, store, master, peer| Cluster {
        name,
        store,
        master,
        peer,
    };
    let (master, near) = (link.to(ports.agents)?, link.to(at(3))?);
    Ok(vec![
        cluster("s3", s3, None, open(0)),
        cluster("azure", azure, None, open(1)),
        cluster("local", folder("local"), None, open(2)),
        cluster("near", folder("near"), None, Some((at(3), near))),
        cluster("hidden", folder("hidden"), None, None),
        cluster("far", folder("far"), Some(master), None),
    ])
}

/// The number in the middle, or between the two that are.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let last = numbers.len() - 1;
    f64::midpoint(numbers[last / 2], numbers[last.div_ceil(2)])
}

fn seconds(runs: &[Run]) -> f64 {
    median(runs.iter().map(|run| run.seconds).collect())
}

fn times(moves: &[Moved]) -> f64 {
    median(moves.iter().map(|moved| moved.seconds).collect())
}

impl Bench<'_> {
    fn order<'a>(&'a self, project: &'a str, from: &'a str, to: &'a str) -> Order<'a> {
        Order {
            project,
            from,
            to,
            payload: &self.payload,
            servers: &self.servers,
        }
    }

    /// From bucket to bucket: the first time, with a change, and again.
    fn s3_to_azure(&mut self) -> anyhow::Result<()> {
        rclone::copy(&self.servers, &self.payload.display().to_string(), "s3:bucket/plain")?;
        let (s3, azure) = self.servers.bare()?;
        let (mut ours, mut files, mut packed, mut bare) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut copied = Vec::new();
        for round in 0..self.rounds {
            let project = builds::project(&self.world, &format!("cold-{round}"))?;
            let moved = builds::run(&self.world, &self.order(&project.name, "s3", "azure"))?;
            files.push(rclone::copy(&self.servers, "s3:bucket/plain", "azure:bucket/files")?);
            let chunks = format!("s3:bucket/agent/projects/{}/chunks", project.id);
            packed.push(rclone::copy(&self.servers, &chunks, "azure:bucket/packed")?);
            let chunks = self.runtime.block_on(bare::chunks(&s3, &project.id))?;
            bare.push(self.runtime.block_on(bare::write(&azure, "bare", &chunks))?);
            copied.push(self.runtime.block_on(bare::copy(&s3, &project.id, &azure, "copied"))?);
            println!(
                "S3 to Azure, round {}: {:.2} s by {} ({:.0} MB moved); rclone {:.2} s, of the {} chunks {:.2} s, bare {:.2} s, with reading {:.2} s",
                round + 1,
                moved.seconds,
                moved.route,
                moved.moved_bytes as f64 / 1e6,
                files[round].seconds,
                chunks.len(),
                packed[round].seconds,
                bare[round],
                copied[round]
            );
            ours.push(moved);
            if round + 1 == self.rounds {
                let rclone = rclone::copy(&self.servers, "s3:bucket/plain", "azure:bucket/files")?;
                self.again(&project.name, times(&ours), rclone.seconds)?;
            }
            for place in ["files", "packed", "bare", "copied"] {
                rclone::purge(&self.servers, &format!("azure:bucket/{place}"))?;
            }
            builds::remove(&self.world, &project.name)?;
        }
        let against = [
            ("rclone copy --transfers 8", seconds(&files), Target::Ratio(0.4)),
            ("rclone copy of the chunks", seconds(&packed), Target::Told),
            ("bare object_store writes", median(bare), Target::Ratio(1.15)),
            ("bare object_store copy", median(copied), Target::Told),
        ];
        let rows = against.map(|(against, theirs, target)| Row {
            case: "S3 to Azure, first time",
            unit: "s",
            ours: times(&ours),
            against,
            theirs,
            target,
        });
        self.report.rows.splice(0..0, rows);
        let last = files.last().context("there was a round")?;
        self.cost("S3 to Azure", "rclone (files)", last);
        self.costs("S3 to Azure", ours.pop().context("there was a round")?);
        Ok(())
    }

    /// With a part of it changed, and unchanged, beside the first time.
    fn again(&mut self, project: &str, first: f64, rclone: f64) -> anyhow::Result<()> {
        payload::change(&self.payload)?;
        let changed = builds::run(&self.world, &self.order(project, "s3", "azure"))?;
        let unchanged = builds::run(&self.world, &self.order(project, "s3", "azure"))?;
        let row = |case, ours: &Moved, against, theirs, target| Row {
            case,
            unit: "s",
            ours: ours.seconds,
            against,
            theirs,
            target,
        };
        println!(
            "1 % changed: {:.3} s by {} ({:.1} MB moved); unchanged: {:.3} s",
            changed.seconds,
            changed.route,
            changed.moved_bytes as f64 / 1e6,
            unchanged.seconds
        );
        self.report.rows.extend([
            row("1 % changed", &changed, "the first time", first, Target::Ratio(0.05)),
            row("unchanged", &unchanged, "rclone copy, unchanged", rclone, Target::Told),
        ]);
        fs::remove_dir_all(&self.payload)?;
        Ok(payload::make(&self.payload)?)
    }

    /// From a bucket to a folder, and the other way.
    fn with_folders(&mut self) -> anyhow::Result<()> {
        let files = self.payload.display().to_string();
        let copy = self.payload.with_file_name("copied").display().to_string();
        for (case, from, to, here, there) in [
            ("S3 to a folder", "s3", "local", "s3:bucket/plain", copy.as_str()),
            ("a folder to S3", "local", "s3", files.as_str(), "s3:bucket/copied"),
        ] {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for round in 0..self.rounds {
                let project = builds::project(&self.world, &format!("{from}-{round}"))?;
                ours.push(builds::run(&self.world, &self.order(&project.name, from, to))?);
                theirs.push(rclone::copy(&self.servers, here, there)?);
                rclone::purge(&self.servers, there)?;
                builds::remove(&self.world, &project.name)?;
                let route = &ours[round].route;
                println!(
                    "{case}, round {}: {:.2} s by {route}; rclone {:.2} s",
                    round + 1,
                    ours[round].seconds,
                    theirs[round].seconds
                );
            }
            self.report.rows.push(Row {
                case,
                unit: "s",
                ours: times(&ours),
                against: "rclone copy --transfers 8",
                theirs: seconds(&theirs),
                target: Target::Told,
            });
            self.costs(case, ours.pop().context("there was a round")?);
        }
        Ok(())
    }

    /// Through the master instead of from agent to agent.
    fn over_a_link(&mut self) -> anyhow::Result<()> {
        let (mut relayed, mut direct) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            for (from, route, moves) in [("near", "peer", &mut direct), ("hidden", "relay", &mut relayed)] {
                let project = builds::project(&self.world, &format!("{from}-{round}"))?;
                let moved = builds::run(&self.world, &self.order(&project.name, from, "far"))?;
                ensure!(moved.route == route, "it went by {} instead of {route}", moved.route);
                println!("400 Mbit/s, round {}: {:.2} s by {route}", round + 1, moved.seconds);
                builds::remove(&self.world, &project.name)?;
                moves.push(moved);
            }
        }
        let growth = relayed
            .iter()
            .map(|moved| moved.growth_bytes("master"))
            .max()
            .unwrap_or(0);
        self.report.rows.extend([
            Row {
                case: "relay, 400 Mbit/s",
                unit: "s",
                ours: times(&relayed),
                against: "peer, 400 Mbit/s",
                theirs: times(&direct),
                target: Target::Ratio(1.1),
            },
            Row {
                case: "relay, the master's growth",
                unit: "MiB",
                ours: growth as f64 / f64::from(1 << 20),
                against: "limit",
                theirs: MASTER_GROWTH_MEBIBYTES,
                target: Target::Limit,
            },
        ]);
        self.costs("peer, 400 Mbit/s", direct.pop().context("there was a round")?);
        self.costs("relay, 400 Mbit/s", relayed.pop().context("there was a round")?);
        Ok(())
    }

    /// The agent that held most.
    fn memory(&mut self) {
        let agents = self.report.costs.iter().filter(|cost| {
            let others = ["master", "SeaweedFS", "Azurite", "rclone (files)"];
            !others.contains(&cost.process)
        });
        let most = agents.map(Cost::mebibytes).fold(0.0, f64::max);
        self.report.rows.push(Row {
            case: "any agent, resident at most",
            unit: "MiB",
            ours: most,
            against: "limit",
            theirs: AGENT_MEBIBYTES,
            target: Target::Limit,
        });
        self.report.notes.push(
            "\nOurs is the time of the pull, as its receipt says: from the first question to the manifest in the destination's store. \
             The agents' CPU includes unpacking what came into the child's folder."
                .to_owned(),
        );
    }

    fn cost(&mut self, case: &'static str, process: &'static str, run: &Run) {
        self.report.costs.push(Cost {
            case,
            process,
            taken: run.taken,
            bytes: payload::BYTES,
        });
    }

    fn costs(&mut self, case: &'static str, moved: Moved) {
        self.report
            .costs
            .extend(moved.costs.into_iter().map(|(process, taken)| Cost {
                case,
                process,
                taken,
                bytes: payload::BYTES,
            }));
    }
}
