//! A world: the real master and real agents in one thread, whose time is simulated, with all that one seed does to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tombolo_agent::link;
use tombolo_core::control::Command;
use tombolo_core::control::record::Invite;
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, InviteId};
use tombolo_core::label::Labels;
use tombolo_core::name::{ClusterName, ProjectName};
use tombolo_core::resources::Resources;
use tombolo_core::time::Timestamp;
use tombolo_identity::member::Member;
use tombolo_identity::tls::Identity;
use tombolo_identity::transport::Address;
use tombolo_store::Store;
use tombolo_tests::check::Record;
use tombolo_tests::history::{Fact, Outcome};
use tombolo_transfer::store::Owner;

use crate::agent::{Agent, Machine, folder};
use crate::chance;
use crate::chronicle::Chronicle;
use crate::jobs::PROJECT;
use crate::master::{Master, store};
use crate::nemesis::Nemesis;
use crate::network::Network;
use crate::node::Node;
use crate::scenario::{Scenario, draw_time};
use crate::supervisor::LINE;
use crate::users::Users;

/// How long after the healing everything must be over. The master may have to give clusters up first, several times.
const PATIENCE: Duration = Duration::from_secs(900);
/// How often it is looked whether all is over.
const LOOK: Duration = Duration::from_secs(1);
/// How many lines of a log are read at once.
const LINES: u32 = 10_000;

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) chronicle: Chronicle,
    pub(crate) network: Network,
    pub(crate) master: Master,
    pub(crate) agents: Vec<Agent>,
}

/// How a world came out.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    /// What is wrong with the logs.
    pub(crate) logs: Vec<String>,
    /// The keys of the clusters, in their order: they are no world's own, but the machine's.
    pub(crate) keys: Vec<String>,
}

/// Runs the world of a seed to its end, with its files in `root`.
pub(crate) async fn run(seed: u64, root: PathBuf) -> Result<Ended, Failure> {
    chance::begin(seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let scenario = Scenario::draw(&mut rng);
    let mut world = World::new(scenario, &root, &mut rng).await?;
    world.chronicle.note(format_args!("{:?}", world.scenario));
    world.slow_commits(&mut rng);
    world.begin().await?;
    let users = Users::new(world.master.clone(), world.chronicle.clone());
    let asked_for = world.agents.iter().skip(usize::from(world.scenario.one_dies));
    let clusters: Vec<Labels> = asked_for.map(full_labels).collect();
    let mut using = users.plan(&world.scenario, &clusters, &mut rng);
    let mut nemesis = Nemesis {
        world: &world,
        rng: ChaCha8Rng::seed_from_u64(rng.next_u64()),
        mending: JoinSet::new(),
    };
    nemesis.bury();
    nemesis.rage().await;
    let mut mending = nemesis.mending;
    world.heal(&mut mending, &mut rng).await;
    let leftovers = world.finish(&mut using).await;
    let logs = world.check_logs().await?;
    let outcome = Outcome {
        history: world.chronicle.take(),
        leftovers,
        steps: 0,
    };
    let key = |agent: &Agent| agent.machine.master.identity.peer_identity().key.to_string();
    let keys = world.agents.iter().map(key).collect();
    Ok(Ended { outcome, logs, keys })
}

fn full_labels(agent: &Agent) -> Labels {
    agent.machine.labels.clone().with_cluster(&agent.machine.name)
}

impl World {
    async fn new(scenario: Scenario, root: &Path, rng: &mut ChaCha8Rng) -> Result<Self, Failure> {
        let chronicle = Chronicle::new();
        let network = Network::new(
            scenario.agents,
            scenario.latency,
            ChaCha8Rng::seed_from_u64(rng.next_u64()),
        );
        let master = Master::new(root, network.clone(), chronicle.clone()).await?;
        let mut world = Self {
            agents: Vec::new(),
            scenario,
            chronicle,
            network,
            master,
        };
        for index in 0..world.scenario.agents {
            let agent = world.draw_agent(index, root, rng).await?;
            world.agents.push(agent);
        }
        Ok(world)
    }

    async fn draw_agent(&self, index: usize, root: &Path, rng: &mut ChaCha8Rng) -> Result<Agent, Failure> {
        let name = ClusterName::new(&format!("cluster-{index}"))?;
        let mut labels = vec![("region", ["eu", "us"][rng.random_range(0..2)])];
        if rng.random_bool(0.5) {
            labels.push(("spot", "yes"));
        }
        let foundation = self.master.foundation();
        let member = Member::Cluster(name.clone());
        let made_at = foundation.chain().not_before();
        let credentials = foundation.authority.issue(&member, foundation.trust.clone(), made_at)?;
        let owner = Owner {
            trust_domain: foundation.trust.domain().to_string(),
            member: name.to_string(),
        };
        let node_rng = ChaCha8Rng::seed_from_u64(rng.next_u64());
        Ok(Agent::new(Machine {
            index,
            labels: Labels::from_pairs(labels)?,
            slots: rng.random_range(1..=4),
            capacity: Resources {
                cpu_milli: rng.random_range(1..=4) * 1000,
                memory_bytes: 1 << 30,
            },
            folder: folder(root, &name),
            master: link::Master {
                identity: Identity::new(credentials)?,
                addresses: vec![Address::parse("master:7443")?],
                proxy: self.network.from(index),
            },
            store: store(name.as_str(), &owner).await?,
            node: Node::new(
                name.clone(),
                self.chronicle.clone(),
                (self.scenario.command_time, self.scenario.tense),
                node_rng,
            ),
            network: self.network.clone(),
            chronicle: self.chronicle.clone(),
            name,
        }))
    }

    /// Has commits take their time, fail now and then, and be told.
    fn slow_commits(&self, rng: &mut ChaCha8Rng) {
        let faults = self.master.faults();
        let chronicle = self.chronicle.clone();
        faults.watch(move |changes| {
            changes
                .iter()
                .for_each(|change| chronicle.fact(Fact::Committed(change.clone())));
        });
        let mut rng = ChaCha8Rng::seed_from_u64(rng.next_u64());
        let time = self.scenario.commit_time;
        faults.slow_down(move || match time.is_zero() {
            true => Default::default(),
            false => (draw_time(&mut rng, time / 2), draw_time(&mut rng, time / 2)),
        });
    }

    /// The master runs, all clusters are members, and their agents run.
    async fn begin(&mut self) -> Result<(), Failure> {
        self.master.start();
        let handle = loop {
            match self.master.handle() {
                Some(handle) => break handle,
                None => sleep(Duration::from_millis(10)).await,
            }
        };
        let name = ProjectName::new("home")?;
        handle.apply(Command::CreateProject { id: PROJECT, name }).await?;
        for agent in &self.agents {
            let machine = &agent.machine;
            self.chronicle.fact(Fact::Capacity {
                cluster: machine.name.clone(),
                slots: machine.slots,
                resources: machine.capacity,
            });
            let secret = Digest::new([u8::try_from(machine.index)?; 32]);
            let invite = Invite {
                id: InviteId::from_u128(machine.index as u128),
                secret,
                cluster: machine.name.clone(),
                labels: machine.labels.clone(),
                expires_at: Timestamp(u64::MAX),
                used_by: None,
                pin: None,
            };
            handle.apply(Command::Invite(invite)).await?;
            let key = machine.master.identity.peer_identity().key;
            handle.apply(Command::Join { secret, key }).await?;
            agent.start()?;
        }
        Ok(())
    }

    /// Ends all trouble: what is down starts.
    async fn heal(&mut self, mending: &mut JoinSet<()>, rng: &mut ChaCha8Rng) {
        self.chronicle.note("the world heals");
        mending.abort_all();
        while mending.join_next().await.is_some() {}
        self.scenario.heal();
        self.master.faults().come_back();
        self.slow_commits(rng);
        self.network.slow_down(self.scenario.latency);
        for agent in &self.agents {
            self.network.cut(agent.machine.index, [false; 2]);
        }
        self.master.start();
        for agent in &self.agents {
            agent.start().expect("an agent starts");
        }
    }

    /// Waits until all is over, for as long as patience lasts. What is not then.
    async fn finish(&self, using: &mut JoinSet<()>) -> Vec<String> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            while using.try_join_next().is_some() {}
            let mut leftovers = self.open_builds();
            leftovers.extend((!using.is_empty()).then(|| "a user waits for an answer".to_owned()));
            if leftovers.is_empty() {
                leftovers.extend(self.agents.iter().flat_map(Agent::leftovers));
            }
            if leftovers.is_empty() || tokio::time::Instant::now() >= end {
                return leftovers;
            }
            sleep(LOOK).await;
        }
    }

    fn record(&self) -> Record {
        let mut record = Record::default();
        self.chronicle
            .look(|history| history.facts.iter().for_each(|(_, fact)| record.take(fact)));
        record
    }

    fn open_builds(&self) -> Vec<String> {
        let record = self.record();
        let open = record.builds.keys().filter(|build| !record.ended.contains(build));
        open.map(|build| format!("build {build} is not over")).collect()
    }

    /// What is wrong with the logs that the master has in the end. They are told to the checkers as well.
    async fn check_logs(&self) -> Result<Vec<String>, Failure> {
        let mut broken = Vec::new();
        for status in self.record().jobs.into_values() {
            let attempt = AttemptId {
                job: status.id,
                epoch: status.log_epoch(),
            };
            let Some(cluster) = status.cluster else { continue };
            let lines = self.master.database().read_log(attempt, 0, LINES).await?;
            let gap = lines.iter().zip(0..).find(|(line, number)| line.number != *number);
            broken.extend(gap.map(|(_, number)| format!("the log of {attempt} has no line {number}")));
            let texts = lines
                .iter()
                .map(|line| String::from_utf8_lossy(&line.text).into_owned());
            let printed: Vec<String> = texts.filter(|text| text.starts_with(LINE)).collect();
            let expected = (0..printed.len()).map(|number| format!("{LINE}{number}"));
            if !printed.iter().cloned().eq(expected) {
                broken.push(format!("the lines of {attempt} are {printed:?}"));
            }
            self.chronicle.fact(Fact::LogTaken {
                cluster,
                attempt,
                first: 0,
                end: lines.len() as u64,
            });
        }
        Ok(broken)
    }
}
