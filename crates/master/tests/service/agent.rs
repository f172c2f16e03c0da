//! An agent as the wire sees it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tombolo_core::attempt::{Assignment, Outcome, OutputReference, Phase};
use tombolo_core::build::TerminalState;
use tombolo_core::id::{AttemptId, TunnelId};
use tombolo_core::name::ClusterName;
use tombolo_core::resources::Resources;
use tombolo_core::session::{AgentFrame, AttemptReport, Capability, Hello, MasterFrame, OrderFrame, StopReason};
use tombolo_core::time::Timestamp;
use tombolo_identity::credentials::{Chain, Credentials};
use tombolo_identity::invite::Invite;
use tombolo_identity::key::PrivateKey;
use tombolo_identity::member::Member;
use tombolo_identity::tls::{Identity, joining};
use tombolo_identity::transport::{Address, Proxy, connect};
use tombolo_identity::trust::Trust;
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::bulk_client::BulkClient;
use tombolo_proto::agent::v1::control_client::ControlClient;
use tombolo_proto::agent::v1::joining_client::JoiningClient;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::setting::{DEADLINE, Master};

/// A member that has joined.
pub(crate) struct Agent {
    pub(crate) identity: Identity,
    pub(crate) channel: Channel,
}

/// Its session.
pub(crate) struct Session {
    frames: mpsc::Sender<wire::AgentFrame>,
    incoming: Streaming<wire::MasterFrame>,
    reports: u64,
    /// The last order that was acknowledged.
    orders: u64,
}

pub(crate) async fn invite(master: &Master, name: &str, labels: &[&str]) -> Invite {
    let request = serde_json::json!({"name": name, "labels": labels});
    let invite: tombolo_api::Invite = master.user.post("/api/v1/invites", request).await;
    Invite::parse(&invite.invite.into()).unwrap()
}

pub(crate) async fn channel(master: &Master, identity: &Identity) -> Channel {
    let address = Address::parse(&master.agents.to_string()).unwrap();
    connect(&[address], identity.client(&Member::Master).unwrap(), &Proxy::none())
        .await
        .unwrap()
}

/// Shows the invite with a key.
pub(crate) async fn join(master: &Master, invite: &Invite, key: &PrivateKey) -> Result<wire::JoinResponse, Status> {
    let address = Address::parse(&master.agents.to_string()).unwrap();
    let stranger = connect(&[address], joining(invite).unwrap(), &Proxy::none())
        .await
        .unwrap();
    let request = wire::JoinRequest {
        secret: secrecy::ExposeSecret::expose_secret(&invite.secret).to_vec(),
        signing_request: key.request().unwrap(),
    };
    Ok(JoiningClient::new(stranger).join(request).await?.into_inner())
}

pub(crate) fn credentials(key: PrivateKey, wire: wire::Credentials) -> Credentials {
    let trust = Trust::new(wire.roots, vec![wire.grant_key]).unwrap();
    Credentials::new(key, Chain::new(wire.chain).unwrap(), trust).unwrap()
}

impl Agent {
    pub(crate) async fn join(master: &Master, name: &str, labels: &[&str]) -> Self {
        let invite = invite(master, name, labels).await;
        let key = PrivateKey::generate().unwrap();
        let answer = join(master, &invite, &key).await.unwrap();
        assert_eq!(answer.cluster, name);
        let identity = Identity::new(credentials(key, answer.credentials.unwrap())).unwrap();
        let channel = channel(master, &identity).await;
        Self { identity, channel }
    }

    pub(crate) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone())
    }

    /// Begins a session and says hello with the attempts that it has.
    pub(crate) async fn connect(&self, attempts: Vec<AttemptReport>) -> Session {
        self.connect_with(attempts, Vec::new()).await
    }

    /// The same with what it can do.
    pub(crate) async fn connect_with(&self, attempts: Vec<AttemptReport>, capabilities: Vec<Capability>) -> Session {
        let mut session = self.greet_with(attempts, capabilities).await;
        match session.next().await.unwrap() {
            MasterFrame::Welcome(welcome) => assert_eq!(welcome.heartbeat, Duration::from_secs(1)),
            frame => panic!("{frame:?}"),
        }
        session
    }

    /// Begins a session and says hello, which may be refused.
    pub(crate) async fn greet(&self, attempts: Vec<AttemptReport>) -> Session {
        self.greet_with(attempts, Vec::new()).await
    }

    async fn greet_with(&self, attempts: Vec<AttemptReport>, capabilities: Vec<Capability>) -> Session {
        let session = self.try_connect().await.unwrap();
        let hello = Hello {
            version: "test".to_owned(),
            capacity: Resources {
                cpu_milli: 8000,
                memory_bytes: 8 << 30,
            },
            slots: 8,
            capabilities,
            facts: Default::default(),
            peer_address: None,
            volumes: Vec::new(),
            attempts,
        };
        session.send(AgentFrame::Hello(Box::new(hello))).await;
        session
    }

    pub(crate) async fn try_connect(&self) -> Result<Session, Status> {
        let (frames, outgoing) = mpsc::channel(64);
        let incoming = self
            .control()
            .session(ReceiverStream::new(outgoing))
            .await?
            .into_inner();
        Ok(Session {
            frames,
            incoming,
            reports: 0,
            orders: 0,
        })
    }

    /// Pushes lines and waits until they are acknowledged.
    pub(crate) async fn push(&self, attempt: AttemptId, first_line: u64, lines: &[&[u8]]) -> wire::LogAcknowledgement {
        let lines = lines.iter().map(|text| wire::LogLine {
            at: 1_793_880_000_000,
            text: text.to_vec(),
        });
        let batch = wire::LogBatch {
            attempt: Some(attempt.into()),
            first_line,
            lines: lines.collect(),
        };
        let mut client = BulkClient::new(self.channel.clone());
        let mut answers = client.push_logs(tokio_stream::once(batch)).await.unwrap().into_inner();
        let answer = tokio::time::timeout(DEADLINE, answers.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(answer.attempt, Some(attempt.into()));
        answer
    }

    /// Pushes the first lines of several logs on one stream, and returns the answers until it ends.
    pub(crate) async fn push_all(&self, logs: &[(AttemptId, &[u8])]) -> Vec<wire::LogAcknowledgement> {
        let batches: Vec<_> = logs
            .iter()
            .map(|(attempt, text)| wire::LogBatch {
                attempt: Some((*attempt).into()),
                first_line: 0,
                lines: vec![wire::LogLine {
                    at: 1_793_880_000_000,
                    text: text.to_vec(),
                }],
            })
            .collect();
        let mut client = BulkClient::new(self.channel.clone());
        let mut stream = client
            .push_logs(tokio_stream::iter(batches))
            .await
            .unwrap()
            .into_inner();
        let mut answers = Vec::new();
        while let Some(answer) = stream.message().await.unwrap() {
            answers.push(answer);
        }
        answers
    }
}

impl Session {
    pub(crate) async fn send(&self, frame: AgentFrame) {
        self.frames.send(frame.into()).await.unwrap();
    }

    /// The next frame that is not an acknowledgement, nor an order that is said again because the acknowledgement took its time.
    pub(crate) async fn next(&mut self) -> Result<MasterFrame, Status> {
        loop {
            let frame = tokio::time::timeout(DEADLINE, self.incoming.message()).await.unwrap()?;
            let frame = frame.ok_or_else(|| Status::cancelled("the stream ended"))?;
            match MasterFrame::try_from(frame).unwrap() {
                MasterFrame::ReportAcknowledged { .. } | MasterFrame::HeartbeatAcknowledged { .. } => {}
                MasterFrame::Order { sequence, .. } if sequence <= self.orders => {
                    self.send(AgentFrame::OrderAcknowledged { sequence }).await;
                }
                frame => return Ok(frame),
            }
        }
    }

    async fn order(&mut self) -> OrderFrame {
        match self.next().await.unwrap() {
            MasterFrame::Order { sequence, order } => {
                self.orders = sequence;
                self.send(AgentFrame::OrderAcknowledged { sequence }).await;
                order
            }
            frame => panic!("{frame:?}"),
        }
    }

    pub(crate) async fn assignment(&mut self) -> Assignment {
        match self.order().await {
            OrderFrame::Assign(assignment) => *assignment,
            order => panic!("{order:?}"),
        }
    }

    pub(crate) async fn stop_order(&mut self) -> (AttemptId, StopReason) {
        match self.order().await {
            OrderFrame::Stop { attempt, reason } => (attempt, reason),
            order => panic!("{order:?}"),
        }
    }

    pub(crate) async fn forget_order(&mut self) -> AttemptId {
        match self.order().await {
            OrderFrame::Forget(attempt) => attempt,
            order => panic!("{order:?}"),
        }
    }

    pub(crate) async fn tunnel_offer(&mut self) -> TunnelId {
        match self.next().await.unwrap() {
            MasterFrame::TunnelOffered { tunnel } => tunnel,
            frame => panic!("{frame:?}"),
        }
    }

    pub(crate) async fn report(&mut self, attempt: AttemptId, phase: Phase) {
        self.reports += 1;
        self.send(AgentFrame::Report {
            sequence: self.reports,
            attempt,
            phase,
        })
        .await;
    }

    /// Says that it lives for as long as something takes: its lease is short.
    pub(crate) async fn alive_during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut sequence = 0;
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(Duration::from_millis(300)) => {
                    sequence += 1;
                    self.send(AgentFrame::Heartbeat { sequence }).await;
                }
            }
        }
    }

    pub(crate) async fn run(&mut self, attempt: AttemptId) {
        self.report(attempt, Phase::Accepted).await;
        self.report(attempt, Phase::Preparing).await;
        self.report(
            attempt,
            Phase::Running {
                started_at: Timestamp(1_793_880_000_000),
                inputs: Vec::new(),
            },
        )
        .await;
    }
}

pub(crate) fn ended(state: TerminalState, log_lines: u64, output: Option<OutputReference>) -> Phase {
    Phase::Ended(Outcome {
        state,
        exit_code: Some(i32::from(state != TerminalState::Finished)),
        message: String::new(),
        started_at: Some(Timestamp(1_793_880_000_000)),
        ended_at: Timestamp(1_793_880_001_000),
        output,
        cache: None,
        inputs: Vec::new(),
        lost_inputs: Vec::new(),
        lease_ended: false,
        lost: false,
        log_lines,
        generated: None,
    })
}

pub(crate) fn name(text: &str) -> ClusterName {
    ClusterName::new(text).unwrap()
}

impl Session {
    /// Takes an assignment and an order to forget, whichever comes first.
    pub(crate) async fn order_pair(&mut self) -> Assignment {
        let (mut assigned, mut forgotten) = (None, 0);
        for _ in 0..2 {
            match self.order().await {
                OrderFrame::Assign(assignment) => assigned = Some(*assignment),
                OrderFrame::Forget(_) => forgotten += 1,
                order @ (OrderFrame::Stop { .. } | OrderFrame::Release(_) | OrderFrame::Prefetch(_)) => {
                    panic!("{order:?}")
                }
            }
        }
        assert_eq!(forgotten, 1);
        assigned.expect("the other is an assignment")
    }
}
