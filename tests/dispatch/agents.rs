//! Agents that run nothing: they join and speak as all agents do, and every job ends when it begins.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tombolo_agent::join;
use tombolo_agent::link::{Ends, Link, Master};
use tombolo_agent::seam::{INSTRUCTIONS_WAITING, Instruction, NOTICES_WAITING, Notice};
use tombolo_core::attempt::{Outcome, Phase};
use tombolo_core::build::TerminalState;
use tombolo_core::id::AttemptId;
use tombolo_core::label::Labels;
use tombolo_core::resources::Resources;
use tombolo_core::session::agent::Settings;
use tombolo_core::session::{Capability, Hello};
use tombolo_core::time::Timestamp;
use tombolo_identity::invite::Invite;
use tombolo_identity::transport::Proxy;
use tombolo_runtime::clock;

use crate::master::Master as Program;
use crate::tally::Tally;

const JOIN_PATIENCE: Duration = Duration::from_secs(60);
/// How many attempts an agent has at once: never what holds jobs up here.
const SLOTS: u32 = 100_000;

/// The agents of some clusters, ended with this value.
pub(crate) struct Agents {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.abort_all();
    }
}

impl Agents {
    /// Joins so many clusters.
    pub(crate) async fn join(master: &Program, count: usize, tally: &Arc<Tally>) -> anyhow::Result<Self> {
        let mut agents = Self {
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        };
        let client = master.client()?;
        for number in 0..count {
            let name = format!("null-{number}");
            let invite = master.invite_by(&client, &name).await?;
            agents.add(&master.path(&name), invite, Arc::clone(tally)).await?;
        }
        master.wait_for_clusters(count)?;
        Ok(agents)
    }

    async fn add(&mut self, folder: &Path, invite: String, tally: Arc<Tally>) -> anyhow::Result<()> {
        let invite = Invite::parse(&SecretString::from(invite)).context("the invite")?;
        let proxy = Proxy::none();
        let request = join::Request {
            folder,
            master: &[],
            invite: Some(&invite),
            proxy: &proxy,
            patience: JOIN_PATIENCE,
        };
        let member = join::open(request).await.context("cannot join")?;
        let (notices, notices_out) = mpsc::channel(NOTICES_WAITING);
        let (instructions, instructions_out) = mpsc::channel(INSTRUCTIONS_WAITING);
        let (offers, mut offers_out) = mpsc::channel(1);
        let ends = Ends {
            notices: notices_out,
            instructions,
            offers,
        };
        let master = Master {
            identity: member.identity,
            addresses: member.addresses,
            proxy,
        };
        let link = Link::new(master, Settings::default(), hello(), Vec::new(), ends);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            if let Err(error) = link.run(stop).await {
                panic!("an agent lost its link: {error:#}");
            }
        });
        self.tasks.spawn(execute(instructions_out, notices, tally));
        self.tasks
            .spawn(async move { while offers_out.recv().await.is_some() {} });
        Ok(())
    }
}

fn hello() -> Hello {
    Hello {
        version: "null".to_owned(),
        capacity: Resources::UNKNOWN,
        slots: SLOTS,
        capabilities: vec![Capability::Images],
        facts: Labels::default(),
        peer_address: None,
        attempts: Vec::new(),
        volumes: Vec::new(),
    }
}

/// Says of each attempt what an executor would, at once.
async fn execute(mut instructions: mpsc::Receiver<Instruction>, notices: mpsc::Sender<Notice>, tally: Arc<Tally>) {
    while let Some(instruction) = instructions.recv().await {
        let told = match instruction {
            Instruction::Start(assignment) => {
                tally.started(&assignment);
                let (inputs, started_at) = (Vec::new(), now());
                vec![
                    progressed(assignment.attempt, Phase::Accepted),
                    progressed(assignment.attempt, Phase::Running { started_at, inputs }),
                    progressed(
                        assignment.attempt,
                        Phase::Ended(outcome(TerminalState::Finished, started_at)),
                    ),
                ]
            }
            Instruction::Stop { attempt, .. } => {
                vec![progressed(attempt, Phase::Ended(outcome(TerminalState::Killed, now())))]
            }
            Instruction::Forget(attempt) => {
                tally.forgotten(attempt);
                vec![Notice::Forgotten(attempt)]
            }
            Instruction::Release(volume) => vec![Notice::Released(volume)],
            Instruction::Prefetch(_) | Instruction::Hold { .. } | Instruction::Lease(_) => Vec::new(),
        };
        for notice in told {
            if notices.send(notice).await.is_err() {
                return;
            }
        }
    }
}

const fn progressed(attempt: AttemptId, phase: Phase) -> Notice {
    Notice::Progressed { attempt, phase }
}

fn now() -> Timestamp {
    Timestamp(clock::now().wall_milliseconds)
}

fn outcome(state: TerminalState, started_at: Timestamp) -> Outcome {
    Outcome {
        state,
        exit_code: Some(0),
        message: String::new(),
        started_at: Some(started_at),
        ended_at: now(),
        output: None,
        cache: None,
        inputs: Vec::new(),
        lost_inputs: Vec::new(),
        lease_ended: false,
        lost: false,
        log_lines: 0,
        generated: None,
    }
}
