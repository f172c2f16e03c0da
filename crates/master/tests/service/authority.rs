//! Another authority in the place of the first: what the master knows of its clusters. The agents here are as those of a version that knows of
//! no editions: they renew when it is time, and confirm nothing.

use tombolo_api::{Authority as Status, CertificateState, InviteRoot};
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::{Authority, Files};
use tombolo_identity::key::PrivateKey;
use tombolo_identity::tls::{Identity, joining};
use tombolo_identity::transport::{Proxy, connect};
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::control_client::ControlClient;
use tonic::Code;

use crate::agent::{Agent, channel, credentials, invite, join};
use crate::setting::Master;

fn now() -> Timestamp {
    Timestamp(tombolo_runtime::clock::now().wall_milliseconds)
}

fn opened(master: &Master) -> Authority {
    let folder = master.configuration.data_folder.join("authority");
    Authority::open(&folder).unwrap().unwrap()
}

/// Starts the master again with another authority.
async fn restart_with(master: Master, authority: &Authority) -> Master {
    let (certificates, key) = Authority::files(&master.configuration.data_folder.join("authority"));
    let files = Files::lock(&certificates, &key).unwrap();
    files.replace(authority).unwrap();
    master.restart().await
}

async fn status(master: &Master) -> Status {
    master.user.get("/api/v1/authority").await
}

async fn state(master: &Master) -> CertificateState {
    status(master).await.clusters[0].state
}

/// A new certificate with what comes with it, over the connection that there is.
async fn renew(master: &Master, agent: &Agent) -> Agent {
    let key = agent.identity.credentials().key;
    let signing_request = key.request().unwrap();
    let answer = agent.control().renew(wire::RenewRequest { signing_request }).await;
    let given = answer.unwrap().into_inner().credentials.unwrap();
    let identity = Identity::new(credentials(key, given)).unwrap();
    Agent {
        channel: channel(master, &identity).await,
        identity,
    }
}

#[tokio::test]
async fn agents_that_know_of_no_editions_come_along_with_their_renewals_and_show_it_with_their_next_session() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &[]).await;
    assert_eq!(state(&master).await, CertificateState::Unseen);
    let session = east.connect(Vec::new()).await;
    assert_eq!(state(&master).await, CertificateState::Current);
    drop(session);

    let successor = opened(&master).successor(now()).unwrap();
    let master = restart_with(master, &successor).await;
    let roots: Vec<_> = status(&master)
        .await
        .roots
        .into_iter()
        .map(|root| (root.pin, root.signs))
        .collect();
    let pins = successor.pins();
    assert_eq!(roots, [(pins[0].clone(), true), (pins[1].clone(), false)]);
    assert_eq!(state(&master).await, CertificateState::Unseen, "nobody has come yet");
    // It comes with what it has, believes the new master by the link, and is believed.
    let east = Agent {
        channel: channel(&master, &east.identity).await,
        identity: east.identity,
    };
    let session = east.connect(Vec::new()).await;
    assert_eq!(state(&master).await, CertificateState::Older);
    let renewed = renew(&master, &east).await;
    assert_eq!(
        state(&master).await,
        CertificateState::Older,
        "its session is that of before"
    );
    drop(session);
    let session = renewed.connect(Vec::new()).await;
    assert_eq!(state(&master).await, CertificateState::Current);
    assert_eq!(renewed.identity.trust().roots().len(), 2);
    drop(session);

    let master = restart_with(master, &successor.without_others().unwrap()).await;
    let east = Agent {
        channel: channel(&master, &renewed.identity).await,
        identity: renewed.identity,
    };
    let _session = east.connect(Vec::new()).await;
    assert_eq!(
        state(&master).await,
        CertificateState::Behind,
        "it still believes the older root"
    );
    let renewed = renew(&master, &east).await;
    renewed.control().confirm(wire::ConfirmRequest {}).await.unwrap();
    assert_eq!(
        state(&master).await,
        CertificateState::Current,
        "a word of its own does as well"
    );
    assert_eq!(renewed.identity.trust().roots().len(), 1);
}

#[tokio::test]
async fn what_a_cluster_has_shown_that_joined_anew_does_not_count() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &[]).await;
    let _session = east.connect(Vec::new()).await;
    let removed = master
        .user
        .send(http::Method::DELETE, "/api/v1/clusters/east?force=true", None)
        .await;
    assert!(removed.status().is_success());
    let again = invite(&master, "east", &[]).await;
    join(&master, &again, &PrivateKey::generate().unwrap()).await.unwrap();
    assert_eq!(state(&master).await, CertificateState::Unseen);
    let refused = east.control().confirm(wire::ConfirmRequest {}).await;
    assert!(refused.is_err(), "its key is not the cluster's any more");
}

#[tokio::test]
async fn invites_have_the_pin_of_the_authority_that_signs_and_let_clusters_join_at_once() {
    let master = Master::start().await;
    let successor = opened(&master).successor(now()).unwrap();
    let master = restart_with(master, &successor).await;
    let invitation = invite(&master, "east", &[]).await;
    assert_eq!(invitation.pin, successor.pin());
    let joined = join(&master, &invitation, &PrivateKey::generate().unwrap())
        .await
        .unwrap();
    let given = joined.credentials.unwrap();
    // With the link, so that members that have not come along believe it.
    assert_eq!((given.chain.len(), given.roots.len()), (2, 2));
}

#[tokio::test]
async fn open_invites_say_which_root_they_name_from_before_the_rotation_to_after_its_end() {
    let master = Master::start().await;
    for name in ["old", "vain"] {
        let _: tombolo_api::Invite = master
            .user
            .post("/api/v1/invites", serde_json::json!({"name": name}))
            .await;
    }
    Agent::join(&master, "east", &[]).await;
    let roots = async |master: &Master| {
        let invites = status(master).await.invites.into_iter();
        invites
            .map(|invite| (invite.cluster.to_string(), invite.root))
            .collect::<Vec<_>>()
    };
    let all = |found: &[(&str, InviteRoot)]| {
        found
            .iter()
            .map(|(name, root)| ((*name).to_owned(), *root))
            .collect::<Vec<_>>()
    };
    let before = [("old", InviteRoot::Current), ("vain", InviteRoot::Current)];
    assert_eq!(roots(&master).await, all(&before), "those that were used are left out");

    let successor = opened(&master).successor(now()).unwrap();
    let master = restart_with(master, &successor).await;
    invite(&master, "new", &[]).await;
    let withdrawn = master
        .user
        .send(http::Method::DELETE, "/api/v1/invites/vain", None)
        .await;
    assert!(withdrawn.status().is_success());
    let during = [("old", InviteRoot::Older), ("new", InviteRoot::Current)];
    assert_eq!(roots(&master).await, all(&during));

    let master = restart_with(master, &successor.without_others().unwrap()).await;
    let after = [("old", InviteRoot::Gone), ("new", InviteRoot::Current)];
    assert_eq!(roots(&master).await, all(&after));
}

#[tokio::test]
async fn nobody_confirms_without_a_certificate() {
    let master = Master::start().await;
    let invitation = invite(&master, "east", &[]).await;
    let address = master.agents.to_string().parse().unwrap();
    let stranger = connect(&[address], joining(&invitation).unwrap(), &Proxy::none())
        .await
        .unwrap();
    let mut stranger = ControlClient::new(stranger);
    let refused = stranger.confirm(wire::ConfirmRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}
