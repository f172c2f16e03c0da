//! How clusters join, and what strangers and removed members get.

use http::Method;
use serde_json::json;
use tombolo_api::{Availability, Cluster, ClusterList, Code, InviteList};
use tombolo_core::name::ClusterName;
use tombolo_identity::authority::Authority;
use tombolo_identity::key::PrivateKey;
use tombolo_identity::member::Member;
use tombolo_identity::tls::{Identity, joining};
use tombolo_identity::transport::{Address, Proxy, connect};
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::control_client::ControlClient;
use tombolo_proto::transfer::v1::GetManifestRequest;
use tombolo_proto::transfer::v1::chunks_client::ChunksClient;
use tonic::Code as Status;

use crate::agent::{Agent, channel, credentials, invite, join, name};
use crate::builds::{CHAIN, submit};
use crate::setting::Master;

#[tokio::test]
async fn an_invite_is_good_once_and_for_one_key() {
    let master = Master::start().await;
    let invitation = invite(&master, "east", &["AWS", "region=us"]).await;
    let (key, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let mut wrong = invitation.clone();
    wrong.secret = vec![7; 32].into();
    assert_eq!(
        join(&master, &wrong, &key).await.unwrap_err().code(),
        Status::PermissionDenied
    );
    assert_eq!(join(&master, &invitation, &key).await.unwrap().cluster, "east");
    assert_eq!(
        join(&master, &invitation, &key).await.unwrap().cluster,
        "east",
        "an answer that was lost"
    );
    assert_eq!(
        join(&master, &invitation, &other).await.unwrap_err().code(),
        Status::PermissionDenied
    );
    wrong.secret = vec![7; 31].into();
    assert_eq!(
        join(&master, &wrong, &key).await.unwrap_err().code(),
        Status::InvalidArgument
    );
    let cluster: Cluster = master.user.get("/api/v1/clusters/east").await;
    let labels: Vec<_> = cluster
        .labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(labels, [("AWS", ""), ("cluster", "east"), ("region", "us")]);
    assert!(!cluster.connected);
    let again = master
        .user
        .refused(Method::POST, "/api/v1/invites", Some(json!({"name": "east"})))
        .await;
    assert_eq!(again.code, Code::Exists);
}

#[tokio::test]
async fn invites_are_listed_and_withdrawn() {
    let master = Master::start().await;
    let user = &master.user;
    let leaked = invite(&master, "east", &["AWS"]).await;
    let _joined = Agent::join(&master, "west", &[]).await;
    let listed = async || {
        let list: InviteList = user.get("/api/v1/invites").await;
        let mut states: Vec<_> = list
            .invites
            .iter()
            .map(|invite| format!("{} {}", invite.name, invite.state.as_str()))
            .collect();
        states.sort();
        states
    };
    assert_eq!(listed().await, ["east open", "west used"]);
    assert_eq!(user.delete("/api/v1/invites/east").await, 204);
    assert_eq!(listed().await, ["west used"]);
    let key = PrivateKey::generate().unwrap();
    assert_eq!(
        join(&master, &leaked, &key).await.unwrap_err().code(),
        Status::PermissionDenied
    );
    for name in ["east", "west", "nobody"] {
        let gone = user
            .refused(Method::DELETE, &format!("/api/v1/invites/{name}"), None)
            .await;
        assert_eq!(gone.code, Code::NotFound, "{name}");
        assert!(gone.hint.contains("tombolo cluster invites"), "{gone:?}");
    }
    let unknown = user.refused(Method::GET, "/api/v1/clusters/wset", None).await;
    assert_eq!(unknown.hint, "the clusters are: west");
    let unknown = user.refused(Method::DELETE, "/api/v1/clusters/wset", None).await;
    assert_eq!(unknown.hint, "the clusters are: west");
}

#[tokio::test]
async fn an_agent_is_told_that_another_took_its_place() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &[]).await;
    let mut first = east.connect(Vec::new()).await;
    let _second = east.connect(Vec::new()).await;
    assert_eq!(first.next().await.unwrap_err().code(), Status::AlreadyExists);
}

#[tokio::test]
async fn strangers_may_only_join() {
    let master = Master::start().await;
    let invitation = invite(&master, "east", &[]).await;
    let address = Address::parse(&master.agents.to_string()).unwrap();
    let stranger = connect(&[address], joining(&invitation).unwrap(), &Proxy::none())
        .await
        .unwrap();
    let renewed = ControlClient::new(stranger.clone())
        .renew(wire::RenewRequest::default())
        .await;
    assert_eq!(renewed.unwrap_err().code(), Status::Unauthenticated);
    let read = ChunksClient::new(stranger)
        .get_manifest(GetManifestRequest::default())
        .await;
    assert_eq!(read.unwrap_err().code(), Status::Unauthenticated);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_no_certificate() {
    let master = Master::start().await;
    let now = tombolo_core::time::Timestamp(tombolo_runtime::clock::now().wall_milliseconds);
    let foreign = Authority::create(Default::default(), now).unwrap();
    let known = Agent::join(&master, "east", &[]).await;
    let forged = foreign
        .issue(&Member::Cluster(name("east")), foreign.trust(), now)
        .unwrap();
    // It believes the real master, and shows what the other authority signed.
    let mixed =
        tombolo_identity::credentials::Credentials::new(forged.key, forged.chain, known.identity.trust()).unwrap();
    let identity = Identity::new(mixed).unwrap();
    let address = Address::parse(&master.agents.to_string()).unwrap();
    let refused = match connect(&[address], identity.client(&Member::Master).unwrap(), &Proxy::none()).await {
        Err(_) => true,
        // TLS 1.3 tells a client of its refusal only when it reads.
        Ok(channel) => ControlClient::new(channel)
            .renew(wire::RenewRequest::default())
            .await
            .is_err(),
    };
    assert!(refused);
    let _good = known.connect(Vec::new()).await;
}

#[tokio::test]
async fn a_certificate_is_renewed_for_its_own_key_only() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &[]).await;
    let key = east.identity.credentials().key;
    let request = |key: &PrivateKey| wire::RenewRequest {
        signing_request: key.request().unwrap(),
    };
    let answer = east.control().renew(request(&key)).await.unwrap().into_inner();
    let renewed = Identity::new(credentials(key, answer.credentials.unwrap())).unwrap();
    let with_new = Agent {
        channel: channel(&master, &renewed).await,
        identity: renewed,
    };
    let _session = with_new.connect(Vec::new()).await;
    let foreign = east.control().renew(request(&PrivateKey::generate().unwrap())).await;
    assert_eq!(foreign.unwrap_err().code(), Status::PermissionDenied);
    let broken = east
        .control()
        .renew(wire::RenewRequest {
            signing_request: vec![1, 2, 3],
        })
        .await;
    assert_eq!(broken.unwrap_err().code(), Status::InvalidArgument);
}

#[tokio::test]
async fn a_removed_cluster_is_out_at_once() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let west = Agent::join(&master, "west", &["GCP"]).await;
    let mut session = east.connect(Vec::new()).await;
    let _other = west.connect(Vec::new()).await;
    submit(&master.user, CHAIN).await;
    let attempt = session.assignment().await.attempt;
    session.run(attempt).await;
    let refused = master.user.refused(Method::DELETE, "/api/v1/clusters/east", None).await;
    assert_eq!((refused.code, refused.status), (Code::Conflict, 409));
    assert_eq!(refused.detail, "cluster `east` has a job that is not over");
    let hint = refused.hint;
    assert!(hint.contains("drain east --wait") && hint.contains("--force"), "{hint}");
    assert_eq!(master.user.delete("/api/v1/clusters/east?force=true").await, 204);
    let ended = async { while session.next().await.is_ok() {} };
    tokio::time::timeout(std::time::Duration::from_secs(5), ended)
        .await
        .expect("the session ends within seconds");
    let again = Agent {
        channel: channel(&master, &east.identity).await,
        identity: east.identity,
    };
    let refused = again.try_connect().await.err().map(|status| status.code());
    assert_eq!(refused, Some(Status::PermissionDenied));
    let clusters: ClusterList = master.user.get("/api/v1/clusters").await;
    let names: Vec<_> = clusters
        .clusters
        .iter()
        .map(|cluster| (&cluster.name, cluster.connected))
        .collect();
    assert_eq!(names, [(&ClusterName::new("west").unwrap(), true)]);
    // Its name can be given again, and the old key stays out.
    let new = Agent::join(&master, "east", &["AWS"]).await;
    assert_eq!(
        again.try_connect().await.err().map(|status| status.code()),
        Some(Status::PermissionDenied)
    );
    let mut session = new.connect(Vec::new()).await;
    assert_eq!(
        session.assignment().await.attempt.epoch.0,
        2,
        "what the old one had is given to the new one"
    );
}

#[tokio::test]
async fn a_disabled_cluster_is_out_at_once_and_comes_back() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let mut session = east.connect(Vec::new()).await;
    let change = |availability: &str| json!({"availability": availability});
    let cordoned: Cluster = master.user.patch("/api/v1/clusters/east", change("cordoned")).await;
    assert_eq!(
        (cordoned.availability, cordoned.connected),
        (Availability::Cordoned, true)
    );
    let disabled: Cluster = master.user.patch("/api/v1/clusters/east", change("disabled")).await;
    assert_eq!(
        (disabled.availability, disabled.connected),
        (Availability::Disabled, false)
    );
    let ended = async { while session.next().await.is_ok() {} };
    tokio::time::timeout(std::time::Duration::from_secs(5), ended)
        .await
        .expect("the session ends within seconds");

    let master = master.restart().await;
    let east = Agent {
        channel: channel(&master, &east.identity).await,
        identity: east.identity,
    };
    let mut refused = east.greet(Vec::new()).await;
    let status = refused.next().await.unwrap_err();
    assert_eq!(status.code(), Status::Aborted);
    assert!(status.message().contains("tombolo cluster enable east"), "{status:?}");
    let request = GetManifestRequest::default();
    let read = ChunksClient::new(east.channel.clone()).get_manifest(request).await;
    assert_eq!(read.unwrap_err().code(), Status::Unavailable);
    let key = east.identity.credentials().key;
    let signing_request = key.request().unwrap();
    let renewed = east.control().renew(wire::RenewRequest { signing_request }).await;
    assert!(renewed.is_ok(), "its certificate must not run out: {renewed:?}");

    let open: Cluster = master.user.patch("/api/v1/clusters/east", change("open")).await;
    assert_eq!(open.availability, Availability::Open);
    let _session = east.connect(Vec::new()).await;
    let unknown = json!({"availability": "broken"});
    let refused = master
        .user
        .refused(Method::PATCH, "/api/v1/clusters/east", Some(unknown))
        .await;
    assert_eq!(refused.code, Code::InvalidRequest);
    let absent = master
        .user
        .refused(Method::PATCH, "/api/v1/clusters/west", Some(change("open")))
        .await;
    assert_eq!(
        (absent.code, absent.hint.as_str()),
        (Code::NotFound, "the clusters are: east")
    );
}
