//! What strangers and members try, and what they get.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests too

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::{Authority, CERTIFICATE_LIFE, request_key};
use tombolo_identity::credentials::{Chain, Credentials};
use tombolo_identity::grant::{self, Grant, Signer, Verifier};
use tombolo_identity::invite::Invite;
use tombolo_identity::key::PrivateKey;
use tombolo_identity::member::{Member, PeerIdentity, TrustDomain, key_digest, peer_member};
use tombolo_identity::tls::{self, ClientCertificate, ClientTls, Identity};
use tombolo_identity::transport::{Connection, Connections, accept};
use tombolo_identity::trust::Trust;

const DEADLINE: Duration = Duration::from_secs(10);
const DAY_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;

fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

fn authority() -> Authority {
    Authority::create(TrustDomain::default(), now()).unwrap()
}

fn cluster(name: &str) -> Member {
    Member::Cluster(ClusterName::new(name).unwrap())
}

fn identity_at(authority: &Authority, member: &Member, time: Timestamp) -> Identity {
    Identity::new(authority.issue(member, authority.trust(), time).unwrap()).unwrap()
}

fn identity(authority: &Authority, member: &Member) -> Identity {
    identity_at(authority, member, now())
}

/// Both ends of a handshake; the client's error, if it has one, is the last word.
async fn shake(
    server: &Identity,
    client_certificate: ClientCertificate,
    client: ClientTls,
    connections: &Connections,
) -> Result<(Connection<DuplexStream>, tokio_rustls::client::TlsStream<DuplexStream>), String> {
    let (near, far) = duplex(64 * 1024);
    let config = server.server_config(client_certificate).unwrap();
    let server = accept(far, server, config, DEADLINE, connections);
    let client = async {
        let mut stream = TlsConnector::from(client.config)
            .connect(client.server_name, near)
            .await?;
        // In TLS 1.3 a client learns only after its own last flight that its certificate was refused.
        stream.write_all(b"?").await?;
        Ok::<_, std::io::Error>(stream)
    };
    let (server, client) = tokio::join!(server, client);
    let client = client.map_err(|error| format!("client: {}", tls::readable(error)))?;
    let mut server = server.map_err(|error| format!("server: {error}"))?;
    server.read_u8().await.map_err(|error| error.to_string())?;
    Ok((server, client))
}

struct Handshake {
    case: &'static str,
    server: Identity,
    client: Identity,
    /// Whom the client wants.
    expected: Member,
    /// What the refusal says; none if the connection is to succeed.
    refused: Option<&'static str>,
}

fn handshake_cases() -> Vec<Handshake> {
    let (ours, theirs) = (authority(), authority());
    let long_ago = Timestamp(now().0 - 2 * DAY_MILLISECONDS);
    let ahead = Timestamp(now().0 + DAY_MILLISECONDS);
    let (master, east, west, mallory) = (Member::Master, cluster("east"), cluster("west"), cluster("mallory"));
    let ok = |who: &Member| identity(&ours, who);
    let foreign = |who: &Member| {
        // A member of another CA would not accept our server; an attacker does not check.
        let issued = theirs.issue(who, theirs.trust(), now()).unwrap();
        Identity::new(Credentials::new(issued.key, issued.chain, ours.trust()).unwrap()).unwrap()
    };
    let case = |case, server, client, expected: &Member, refused| {
        let expected = expected.clone();
        Handshake {
            case,
            server,
            client,
            expected,
            refused,
        }
    };
    let (unknown, name, expired) = (Some("UnknownIssuer"), Some("not valid for"), Some("xpired"));
    let at = |who: &Member, time| identity_at(&ours, who, time);
    vec![
        case("a member at the master", ok(&master), ok(&east), &master, None),
        case("a member at another", ok(&west), ok(&east), &west, None),
        case("client of another CA", ok(&master), foreign(&east), &master, unknown),
        case("server of another CA", foreign(&master), ok(&east), &master, unknown),
        case(
            "a cluster that says it is the master",
            ok(&mallory),
            ok(&east),
            &master,
            name,
        ),
        case(
            "a cluster that says it is another",
            ok(&mallory),
            ok(&east),
            &west,
            name,
        ),
        case("expired client", ok(&master), at(&east, long_ago), &master, expired),
        case("expired server", at(&master, long_ago), ok(&east), &master, expired),
        case(
            "client of the future",
            ok(&master),
            at(&east, ahead),
            &master,
            Some("not valid yet"),
        ),
    ]
}

#[tokio::test]
async fn handshakes() {
    for Handshake {
        case,
        server,
        client,
        expected,
        refused,
    } in handshake_cases()
    {
        let connections = Connections::default();
        let tls = client.client(&expected).unwrap();
        let outcome = shake(&server, ClientCertificate::Required, tls, &connections).await;
        match (outcome, refused) {
            (Ok((connection, _)), None) => {
                assert_eq!(connection.info().peer, Some(client.peer_identity()), "{case}");
                assert_eq!(connections.len(), 1, "{case}");
            }
            (Err(error), Some(refused)) => {
                assert!(error.contains(refused), "{case}: {error}");
                assert!(connections.is_empty(), "{case}");
            }
            (Ok(_), Some(_)) => panic!("{case}: accepted"),
            (Err(error), None) => panic!("{case}: {error}"),
        }
    }
}

#[tokio::test]
async fn joining_believes_only_the_pinned_master() {
    let (ours, theirs) = (authority(), authority());
    let name = ClusterName::new("east").unwrap();
    let invite = |authority: &Authority, domain: &str| {
        let domain = TrustDomain::new(domain).unwrap();
        Invite::generate(vec!["localhost:1".to_owned()], domain, authority.pin(), name.clone()).unwrap()
    };
    let domain = "tombolo.internal";
    for (case, server, invite, refused) in [
        (
            "the master",
            identity(&ours, &Member::Master),
            invite(&ours, domain),
            None,
        ),
        (
            "another master",
            identity(&theirs, &Member::Master),
            invite(&ours, domain),
            Some("pins"),
        ),
        (
            "a cluster of the same CA",
            identity(&ours, &cluster("mallory")),
            invite(&ours, domain),
            Some("not valid for"),
        ),
        (
            "another trust domain",
            identity(&ours, &Member::Master),
            invite(&ours, "other.internal"),
            Some("pins"),
        ),
    ] {
        let client = tls::joining(&invite).unwrap();
        let outcome = shake(
            &server,
            ClientCertificate::Optional,
            client.clone(),
            &Connections::default(),
        )
        .await;
        match (outcome, refused) {
            (Ok((connection, _)), None) => assert_eq!(connection.info().peer, None, "{case}"),
            (Err(error), Some(refused)) => assert!(error.contains(refused), "{case}: {error}"),
            (outcome, _) => panic!("{case}: {:?}", outcome.err()),
        }
        let without = shake(&server, ClientCertificate::Required, client, &Connections::default()).await;
        assert!(without.is_err(), "{case}: no certificate where one is required");
    }
}

/// A root with the pinned key, but not signed with it, vouches for nothing.
#[tokio::test]
async fn a_forged_root_with_the_pinned_key_is_refused() {
    let ours = authority();
    let mallory = ours.issue(&cluster("mallory"), ours.trust(), now()).unwrap();
    let mut forged = ours.trust().roots()[0].to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let chain = Chain::new(vec![mallory.chain.leaf().to_vec(), forged]).unwrap();
    let server = Identity::new(Credentials::new(mallory.key, chain, mallory.trust).unwrap()).unwrap();
    let name = ClusterName::new("east").unwrap();
    let invite = Invite::generate(vec!["h:1".to_owned()], TrustDomain::default(), ours.pin(), name).unwrap();
    let client = tls::joining(&invite).unwrap();
    let error = shake(&server, ClientCertificate::Optional, client, &Connections::default())
        .await
        .err()
        .unwrap();
    assert!(error.contains("pins"), "{error}");
}

#[tokio::test]
async fn closing_a_member_ends_its_connections_and_no_others() {
    let ours = authority();
    let master = identity(&ours, &Member::Master);
    let connections = Connections::default();
    let mut ends = Vec::new();
    for name in ["east", "west"] {
        let client = identity(&ours, &cluster(name)).client(&Member::Master).unwrap();
        ends.push(
            shake(&master, ClientCertificate::Required, client, &connections)
                .await
                .unwrap(),
        );
    }
    let (mut west, mut west_client) = ends.pop().unwrap();
    let (mut east, _east_client) = ends.pop().unwrap();
    let reading = tokio::spawn(async move { east.read_u8().await });
    tokio::task::yield_now().await;
    assert_eq!(connections.close(&cluster("east")), 1);
    let error = tokio::time::timeout(DEADLINE, reading)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    west_client.write_all(b"!").await.unwrap();
    assert_eq!(west.read_u8().await.unwrap(), b'!');
    assert_eq!(connections.len(), 1);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_open_streams_go_on() {
    let ours = authority();
    let master = identity(&ours, &Member::Master);
    let east = identity(&ours, &cluster("east"));
    let tls = east.client(&Member::Master).unwrap();
    let connections = Connections::default();
    let (mut before, mut stream) = shake(&master, ClientCertificate::Required, tls.clone(), &connections)
        .await
        .unwrap();
    let old = east.credentials();
    let chain = ours.sign(&old.key.request().unwrap(), &cluster("east"), now()).unwrap();
    assert_ne!(chain.leaf(), old.chain.leaf());
    east.replace(old.renewed(chain, old.trust.clone()).unwrap()).unwrap();
    let (after, _stream) = shake(&master, ClientCertificate::Required, tls, &connections)
        .await
        .unwrap();
    assert_eq!(after.info().peer, before.info().peer, "the key stays");
    stream.write_all(b"!").await.unwrap();
    assert_eq!(before.read_u8().await.unwrap(), b'!');
    // The authority is rotated: whoever believes the new root only refuses the old certificate at once.
    let successor = authority();
    master
        .replace(successor.issue(&Member::Master, successor.trust(), now()).unwrap())
        .unwrap();
    let refused = shake(
        &master,
        ClientCertificate::Required,
        east.client(&Member::Master).unwrap(),
        &connections,
    )
    .await;
    assert!(refused.is_err());
    let both = Trust::new(
        vec![ours.trust().roots()[0].to_vec(), successor.trust().roots()[0].to_vec()],
        Vec::new(),
    )
    .unwrap();
    master
        .replace(successor.issue(&Member::Master, both.clone(), now()).unwrap())
        .unwrap();
    let old = east.credentials();
    east.replace(old.renewed(old.chain.clone(), both).unwrap()).unwrap();
    shake(
        &master,
        ClientCertificate::Required,
        east.client(&Member::Master).unwrap(),
        &connections,
    )
    .await
    .unwrap();
}

#[test]
fn requests_that_ask_for_more_get_no_more() {
    let ours = authority();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["master.tombolo.internal".to_owned()]).unwrap();
    let uri = "spiffe://tombolo.internal/master".try_into().unwrap();
    parameters.subject_alt_names.push(rcgen::SanType::URI(uri));
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let request = parameters.serialize_request(&key).unwrap();
    let chain = ours.sign(request.der(), &cluster("east"), now()).unwrap();
    let leaf = chain.leaf();
    assert_eq!(peer_member(leaf, ours.domain()).unwrap(), cluster("east"));
    assert_eq!(key_digest(leaf).unwrap(), request_key(request.der()).unwrap());
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).unwrap();
    assert!(!parsed.is_ca());
    assert!(!parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 2);
    assert!(!format!("{names:?}").contains("master"));
    let life = chain.not_after().0 - now().0;
    assert!(life <= CERTIFICATE_LIFE.as_millis() as u64 && life > CERTIFICATE_LIFE.as_millis() as u64 - 60_000);
    // Two thirds of the life, from when the certificate begins (five minutes back).
    let renew_in = chain.renew_in(now());
    assert!(
        renew_in > Duration::from_secs(57_000) && renew_in < Duration::from_secs(57_700),
        "{renew_in:?}"
    );
    assert_eq!(chain.renew_in(Timestamp(now().0 + DAY_MILLISECONDS)), Duration::ZERO);
}

#[test]
fn requests_that_are_refused() {
    let ours = authority();
    let request = PrivateKey::generate().unwrap().request().unwrap();
    assert!(ours.sign(&request, &cluster("east"), now()).is_ok());
    let mut unproven = request.clone();
    let last = unproven.len() - 1;
    unproven[last] ^= 1;
    // Somebody else's public key in a request that is otherwise whole.
    let mut stolen = request.clone();
    let victim = PrivateKey::generate().unwrap().public_der();
    let own = victim[..26].to_vec();
    let position = stolen.windows(26).position(|window| window == own).unwrap() + 26;
    stolen[position..position + 65].copy_from_slice(&victim[26..]);
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let p384 = rcgen::CertificateParams::default()
        .serialize_request(&p384)
        .unwrap()
        .der()
        .to_vec();
    let mut longer = request.clone();
    longer.push(0);
    for (case, request, reason) in [
        ("empty", Vec::new(), "not a PKCS #10"),
        ("noise", vec![0x30; 300], "not a PKCS #10"),
        ("cut off", request[..request.len() - 10].to_vec(), "not a PKCS #10"),
        ("signature altered", unproven, "does not prove"),
        ("another's key", stolen, "does not prove"),
        ("another curve", p384, "P-256"),
        ("bytes after it", longer, "follow"),
        ("huge", vec![0; 1 << 20], "too large"),
    ] {
        let error = ours.sign(&request, &cluster("east"), now()).unwrap_err().to_string();
        assert!(error.contains(reason), "{case}: {error}");
    }
}

#[test]
fn grants() {
    let ours = authority();
    let signer = Signer::new(&PrivateKey::generate().unwrap()).unwrap();
    let other = Signer::new(&PrivateKey::generate().unwrap()).unwrap();
    let old = Signer::new(&PrivateKey::generate().unwrap()).unwrap();
    let trust = ours
        .trust()
        .with_grant_key(old.public_point())
        .unwrap()
        .with_grant_key(signer.public_point())
        .unwrap();
    let verifier = Verifier::new(&Trust::from_pem(&trust.pem()).unwrap());
    let grant = |reader: &Member| Grant {
        reader: reader.clone(),
        project: ProjectId::from_u128(7),
        manifest: Digest::new([9; 32]),
        expires_at: Timestamp(1000),
    };
    let (east, west) = (cluster("east"), cluster("west"));
    let longest = cluster(&"n".repeat(63));
    for reader in [&Member::Master, &east, &longest] {
        for signer in [&signer, &old] {
            let bytes = signer.sign(&grant(reader)).unwrap();
            assert_eq!(verifier.check(&bytes, reader, Timestamp(999)).unwrap(), grant(reader));
        }
    }
    let good = signer.sign(&grant(&east)).unwrap();
    assert_eq!(
        verifier.check(&good, &east, Timestamp(1000)),
        Err(grant::Error::Expired)
    );
    let foreign = grant::Error::ForeignReader {
        granted: east.clone(),
        shown_by: west.clone(),
    };
    assert_eq!(verifier.check(&good, &west, Timestamp(0)), Err(foreign));
    let forged = other.sign(&grant(&east)).unwrap();
    assert_eq!(
        verifier.check(&forged, &east, Timestamp(0)),
        Err(grant::Error::Signature)
    );
    for index in 0..good.len() {
        let mut altered = good.clone();
        altered[index] ^= 1;
        assert_eq!(
            verifier.check(&altered, &east, Timestamp(0)),
            Err(grant::Error::Signature),
            "byte {index}"
        );
        assert!(
            verifier.check(&good[..index], &east, Timestamp(0)).is_err(),
            "cut at {index}"
        );
    }
    // A name that is the prefix of another: the end of the name is signed too.
    let cut = [&good[..good.len() - 65], &good[good.len() - 64..]].concat();
    assert!(verifier.check(&cut, &cluster("eas"), Timestamp(0)).is_err());
    assert_eq!(
        verifier.check(&[0; 4096], &east, Timestamp(0)),
        Err(grant::Error::Malformed)
    );
    assert!(
        Verifier::new(&ours.trust()).check(&good, &east, Timestamp(0)).is_err(),
        "no key, no right"
    );
}

#[test]
fn folders_keep_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (authority(), authority());
    assert!(Authority::open(folder.path()).unwrap().is_none());
    assert!(Credentials::open(folder.path()).unwrap().is_none());
    ours.save(folder.path()).unwrap();
    assert_eq!(Authority::open(folder.path()).unwrap().unwrap().pin(), ours.pin());
    assert_ne!(ours.pin(), theirs.pin());

    // An agent that was killed while it joined finds its key again.
    let key = Credentials::key_in(folder.path()).unwrap();
    assert_eq!(Credentials::key_in(folder.path()).unwrap().digest(), key.digest());
    assert!(Credentials::open(folder.path()).unwrap().is_none());
    let chain = ours.sign(&key.request().unwrap(), &cluster("east"), now()).unwrap();
    let credentials = Credentials::new(key, chain, ours.trust()).unwrap();
    credentials.save(folder.path()).unwrap();
    let read = Credentials::open(folder.path()).unwrap().unwrap();
    let expected = PeerIdentity {
        member: cluster("east"),
        key: credentials.key.digest(),
    };
    assert_eq!(read.identity(), &expected);

    let stranger = PrivateKey::generate().unwrap();
    let chain = || {
        ours.sign(&stranger.request().unwrap(), &cluster("east"), now())
            .unwrap()
    };
    assert!(
        Credentials::new(PrivateKey::generate().unwrap(), chain(), ours.trust()).is_err(),
        "another key"
    );
    let elsewhere = Authority::create(TrustDomain::new("other.internal").unwrap(), now()).unwrap();
    assert!(
        Credentials::new(stranger.clone(), chain(), elsewhere.trust()).is_err(),
        "another trust domain"
    );
    assert!(
        Authority::load(&ours.trust().pem(), stranger.pem()).is_err(),
        "a key that is not the CA's"
    );
    let leaf = chain().pem();
    assert!(
        Authority::load(&leaf, stranger.pem()).is_err(),
        "a certificate that is no CA's"
    );
    assert!(Trust::from_pem(&leaf).is_err(), "a certificate that is no CA's");
    let mixed = vec![ours.trust().roots()[0].to_vec(), elsewhere.trust().roots()[0].to_vec()];
    assert!(Trust::new(mixed, Vec::new()).is_err(), "two trust domains");
    assert!(Trust::from_pem("").is_err());
    for (path, text) in [
        ("key.pem", "no key"),
        ("trust.pem", ""),
        ("certificate.pem", "-----BEGIN"),
    ] {
        let before = std::fs::read(folder.path().join(path)).unwrap();
        std::fs::write(folder.path().join(path), text).unwrap();
        assert!(Credentials::open(folder.path()).is_err(), "{path} damaged");
        std::fs::write(folder.path().join(path), before).unwrap();
    }
    assert!(
        !format!("{credentials:?}{ours:?}").contains("PRIVATE"),
        "keys are not printed"
    );
}
