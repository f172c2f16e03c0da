use std::sync::atomic::Ordering;

use tombolo_core::attempt::Phase;
use tombolo_core::control::Command;
use tombolo_core::resources::Resources;
use tombolo_core::session::{OrderFrame, master};
use tombolo_identity::authority::Authority;
use tombolo_identity::credentials::Credentials;
use tombolo_identity::edition::Edition;
use tombolo_identity::key::PrivateKey;
use tombolo_identity::member::{Member, TrustDomain};
use tombolo_identity::transport;

use super::*;
use crate::seam::INSTRUCTIONS_WAITING;
use crate::trial::{SOON, Trial, attempt, cluster, wall};

struct Running {
    notices: mpsc::Sender<Notice>,
    instructions: mpsc::Receiver<Instruction>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Running {
    fn start(master: Master, recovered: Vec<AttemptReport>) -> Self {
        let (notices, heard) = mpsc::channel(4);
        let (sender, instructions) = mpsc::channel(INSTRUCTIONS_WAITING);
        let ends = Ends {
            notices: heard,
            instructions: sender,
            offers: mpsc::channel(4).0,
        };
        let description = Hello {
            version: "1".to_owned(),
            capacity: Resources {
                cpu_milli: 1000,
                memory_bytes: 1,
            },
            slots: 1,
            capabilities: Vec::new(),
            facts: Default::default(),
            peer_address: None,
            volumes: Vec::new(),
            attempts: Vec::new(),
        };
        let link = Link::new(master, Settings::default(), description, recovered, ends);
        let stop = CancellationToken::new();
        let task = tokio::spawn(link.run(stop.clone()));
        Self {
            notices,
            instructions,
            stop,
            task,
        }
    }

    async fn told(&mut self) -> Instruction {
        tokio::time::timeout(SOON, self.instructions.recv())
            .await
            .unwrap()
            .unwrap()
    }

    /// What the attempts are told beside leases.
    async fn ordered(&mut self) -> Instruction {
        loop {
            match self.told().await {
                Instruction::Lease(_) => {}
                other => return other,
            }
        }
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(SOON, self.task).await.unwrap().unwrap().unwrap();
    }
}

fn greeting(command: Command) -> Option<Vec<AttemptReport>> {
    match command {
        Command::Connect { hello, .. } => Some(hello.attempts),
        _ => None,
    }
}

#[tokio::test]
async fn hello_reports_orders_and_lease() {
    let mut trial = Trial::start().await;
    let recovered = AttemptReport {
        attempt: attempt(1),
        phase: Phase::Preparing,
    };
    let mut running = Running::start(trial.member(Duration::ZERO), vec![recovered.clone()]);
    assert_eq!(trial.hear(greeting).await, [recovered]);
    let Instruction::Lease(lease) = running.told().await else {
        panic!("nothing comes before the first lease")
    };
    assert!(now().steady < Moment(lease.until));

    let publishing = Notice::Progressed {
        attempt: attempt(1),
        phase: Phase::Publishing,
    };
    running.notices.send(publishing).await.unwrap();
    // What had not begun is reported once more after the hello, unless it has gone on by then.
    let report = |command| match command {
        Command::Report { attempt, phase, .. } if phase != Phase::Preparing => Some((attempt, phase)),
        _ => None,
    };
    assert_eq!(trial.hear(report).await, (attempt(1), Phase::Publishing));

    let forget = master::Event::Order(OrderFrame::Forget(attempt(1)));
    trial.shared.events.send(forget).unwrap();
    assert_eq!(running.ordered().await, Instruction::Forget(attempt(1)));
    running.notices.send(Notice::Forgotten(attempt(1))).await.unwrap();
    // Later heartbeats go on renewing the lease.
    trial
        .hear(|command| matches!(command, Command::Heartbeat { .. }).then_some(()))
        .await;
    running.end().await;
}

#[tokio::test]
async fn the_link_is_back_soon_after_the_master() {
    let mut trial = Trial::start().await;
    let running = Running::start(trial.member(Duration::ZERO), Vec::new());
    assert_eq!(trial.hear(greeting).await, []);
    trial.end().await;
    // What happens meanwhile is not lost.
    let accepted = Notice::Progressed {
        attempt: attempt(2),
        phase: Phase::Accepted,
    };
    running.notices.send(accepted).await.unwrap();
    trial.start_again().await;
    trial.hear(greeting).await;
    running.end().await;
}

#[tokio::test]
async fn a_cluster_that_was_removed_goes_on_trying_slowly() {
    let mut trial = Trial::start().await;
    let running = Running::start(trial.member(Duration::ZERO), Vec::new());
    trial.hear(greeting).await;
    trial.remove(&cluster());
    let refusals = || trial.shared.refusals.load(Ordering::Relaxed);
    let refused = async {
        while refusals() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, refused).await.unwrap();
    // With the pauses of a connection that broke it would have asked again by then.
    let busy = async {
        while refusals() == 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(1), busy).await.is_err());
    assert!(!running.task.is_finished());
    running.end().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
    let trial = Trial::start().await;
    let folder = tempfile::tempdir().unwrap();
    let master = trial.member(Duration::from_secs(17 * 3600));
    let before = master.identity.credentials();
    before.save(folder.path()).unwrap();
    let stop = CancellationToken::new();
    let renewing = renew(master.clone(), folder.path(), stop.clone());
    let renewed = async {
        while master.identity.credentials().chain.not_after() == before.chain.not_after() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    tokio::time::timeout(SOON, Box::pin(async { tokio::join!(renewing, renewed) }))
        .await
        .unwrap();
    let kept = Credentials::open(folder.path()).unwrap().unwrap();
    assert_eq!(kept.chain.pem(), master.identity.credentials().chain.pem());
    assert_eq!(kept.identity(), before.identity());
}

/// A member of an authority whose place the trial's takes.
fn member_of_before(trial: &Trial, before: &Authority) -> Master {
    let key = PrivateKey::generate().unwrap();
    let member = Member::Cluster(cluster());
    let chain = before.sign(&key.request().unwrap(), &member, wall()).unwrap();
    let credentials = Credentials::new(key, chain, before.trust()).unwrap();
    Master {
        identity: Identity::new(credentials).unwrap(),
        ..trial.member(Duration::ZERO)
    }
}

#[tokio::test]
async fn another_edition_of_the_master_has_the_certificate_renewed_at_once_and_shown() {
    let before = Authority::create(TrustDomain::default(), wall()).unwrap();
    let trial = Trial::start_with(before.successor(wall()).unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    let master = member_of_before(&trial, &before);
    let edition = trial.shared.authority.edition();
    let stop = CancellationToken::new();
    let renewing = renew(master.clone(), folder.path(), stop.clone());
    let connecting = async {
        let tls = master.identity.client(&Member::Master).unwrap();
        let _channel = transport::connect(&master.addresses, tls, &master.proxy).await.unwrap();
        while trial.shared.confirmed.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Nothing more is to be had.
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop.cancel();
    };
    tokio::time::timeout(SOON, Box::pin(async { tokio::join!(renewing, connecting) }))
        .await
        .unwrap();
    assert_eq!(*trial.shared.confirmed.lock().unwrap(), [edition]);
    assert_eq!(trial.shared.renewals.load(Ordering::Relaxed), 1);
    let kept = Credentials::open(folder.path()).unwrap().unwrap();
    assert_eq!(kept.trust.pem(), trial.shared.trust.pem(), "both roots");
    assert_eq!(Edition::of_certificate(kept.chain.leaf()), Some(edition));
}

/// Two masters of different editions behind one address, say: what is asked for in vain is not asked for again and again.
#[tokio::test]
async fn a_master_that_gives_another_edition_than_it_shows_is_asked_once() {
    let trial = Trial::start().await;
    let folder = tempfile::tempdir().unwrap();
    let master = trial.member(Duration::from_secs(60));
    trial.show_edition_of(&trial.shared.authority.successor(wall()).unwrap());
    let stop = CancellationToken::new();
    let renewing = renew(master.clone(), folder.path(), stop.clone());
    let connecting = async {
        let tls = master.identity.client(&Member::Master).unwrap();
        let _channel = transport::connect(&master.addresses, tls, &master.proxy).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
    };
    tokio::join!(renewing, connecting);
    assert_eq!(trial.shared.renewals.load(Ordering::Relaxed), 1);
}

#[test]
fn who_was_replaced_keeps_away_for_longer_than_who_lost_the_connection() {
    use tonic::Status;
    let pause = |status: Status| match Failure::from(status) {
        Failure::Replaced(_) => REPLACED_PAUSE,
        Failure::Refused(_) => REFUSED_PAUSE,
        Failure::Distrusted(_) | Failure::Lost(_) => PAUSES.1,
    };
    assert_eq!(
        pause(Status::already_exists("another agent has connected")),
        REPLACED_PAUSE
    );
    assert_eq!(pause(Status::permission_denied("removed")), REFUSED_PAUSE);
    assert_eq!(pause(Status::aborted("the master begins the session anew")), PAUSES.1);
    assert!(REPLACED_PAUSE > PAUSES.1);
}
