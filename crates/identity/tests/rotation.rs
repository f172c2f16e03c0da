//! One authority takes the place of another while members talk to each other.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests too

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsConnector;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::{Authority, Error, Files};
use tombolo_identity::credentials::Credentials;
use tombolo_identity::edition::{Edition, Shown, root_name};
use tombolo_identity::invite::Invite;
use tombolo_identity::key::PrivateKey;
use tombolo_identity::member::{Member, TrustDomain};
use tombolo_identity::tls::{self, ClientCertificate, ClientTls, Distrust, Identity};
use tombolo_identity::transport::{Connections, accept, connect_over};
use tombolo_identity::trust::Trust;

const DEADLINE: Duration = Duration::from_secs(10);

fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

fn cluster(name: &str) -> Member {
    Member::Cluster(ClusterName::new(name).unwrap())
}

/// A member as the master takes it in: its key is its own, chain and trust are the master's.
fn member(authority: &Authority, member: &Member) -> Identity {
    let key = PrivateKey::generate().unwrap();
    let chain = authority.sign(&key.request().unwrap(), member, now()).unwrap();
    Identity::new(Credentials::new(key, chain, authority.trust()).unwrap()).unwrap()
}

fn master(authority: &Authority) -> Identity {
    Identity::new(authority.issue(&Member::Master, authority.trust(), now()).unwrap()).unwrap()
}

/// What the server saw of the client's certificate, or the refusal.
async fn shake(server: &Identity, client: ClientTls) -> Result<Option<Shown>, String> {
    let (near, far) = duplex(64 * 1024);
    let config = server.server_config(ClientCertificate::Optional).unwrap();
    let connections = Connections::default();
    let server = accept(far, server, config, DEADLINE, &connections);
    let client = async {
        let mut stream = TlsConnector::from(client.config)
            .connect(client.server_name, near)
            .await?;
        // In TLS 1.3 a client learns only after its own last flight that its certificate was refused.
        stream.write_all(b"?").await?;
        Ok::<_, std::io::Error>(stream)
    };
    let (server, client) = tokio::join!(server, client);
    let _stream = client.map_err(|error| format!("client: {}", tls::readable(error)))?;
    let mut server = server.map_err(|error| format!("server: {error}"))?;
    server.read_u8().await.map_err(|error| error.to_string())?;
    Ok(server.info().shown.clone())
}

/// The states of a rotation, in their order.
struct Rotation {
    before: Authority,
    during: Authority,
    after: Authority,
}

fn rotation() -> Rotation {
    let before = Authority::create(TrustDomain::default(), now()).unwrap();
    let during = before.successor(now()).unwrap();
    let after = during.without_others().unwrap();
    Rotation { before, during, after }
}

#[tokio::test]
async fn members_of_both_sides_of_each_step_believe_each_other_and_nobody_believes_a_third() {
    let Rotation { before, during, after } = rotation();
    let stranger = Authority::create(TrustDomain::default(), now()).unwrap();
    // A foreign authority that another one of its own vouches for is as foreign.
    let strangers_heir = stranger.successor(now()).unwrap();
    let states = [&before, &during, &after, &stranger, &strangers_heir];
    let names = ["before", "during", "after", "stranger", "stranger's heir"];
    let good = [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
        (3, 3),
        (3, 4),
        (4, 3),
        (4, 4),
    ];
    for (server, of_server) in states.iter().enumerate() {
        for (client, of_client) in states.iter().enumerate() {
            let case = format!("client {}, server {}", names[client], names[server]);
            let (east, west) = (member(of_client, &cluster("east")), member(of_server, &cluster("west")));
            let peers = shake(&west, east.client(&cluster("west")).unwrap()).await;
            let to_master = shake(&master(of_server), east.client(&Member::Master).unwrap()).await;
            let expected = good.contains(&(client, server));
            assert_eq!(
                (peers.is_ok(), to_master.is_ok()),
                (expected, expected),
                "{case}: {peers:?} {to_master:?}"
            );
            if let Ok(shown) = peers {
                let root = root_name(of_client.roots().next().unwrap()).unwrap();
                let shown = shown.unwrap();
                assert_eq!((shown.root, shown.edition), (root, Some(of_client.edition())), "{case}");
            }
        }
    }
}

/// Pods that began under the old root keep it to their end; users until they fetch the new one.
#[tokio::test]
async fn who_has_only_the_old_root_and_no_certificate_believes_a_member_to_the_end_of_the_rotation_and_beyond() {
    let Rotation { before, during, after } = rotation();
    let east = cluster("east");
    for authority in [&before, &during, &after] {
        let courier = tls::anonymous(&before.trust(), &east).unwrap();
        shake(&member(authority, &east), courier).await.unwrap();
    }
    let backwards = tls::anonymous(&after.trust(), &east).unwrap();
    assert!(shake(&member(&before, &east), backwards).await.is_err());
}

#[tokio::test]
async fn invites_of_before_and_of_now_are_good_while_both_roots_are_trusted() {
    let Rotation { before, during, after } = rotation();
    let name = ClusterName::new("east").unwrap();
    let invite = |pin| Invite::generate(vec!["h:1".to_owned()], TrustDomain::default(), pin, name.clone()).unwrap();
    let (old, new) = (invite(before.pin()), invite(during.pin()));
    assert_ne!(old.pin, new.pin);
    for (authority, invite, is_good) in [
        (&before, &old, true),
        (&before, &new, false),
        (&during, &old, true),
        (&during, &new, true),
        (&after, &old, false),
        (&after, &new, true),
    ] {
        let joined = shake(&master(authority), tls::joining(invite).unwrap()).await;
        assert_eq!(joined.is_ok(), is_good, "{joined:?}");
        let asks_anew = joined.err().is_none_or(|error| error.contains("ask for a new invite"));
        assert!(asks_anew);
    }
}

#[tokio::test]
async fn a_member_notes_the_edition_of_a_master_that_has_proved_to_be_it() {
    let Rotation { before, during, .. } = rotation();
    let east = member(&before, &cluster("east"));
    let seen = east.master_edition();
    assert_eq!(*seen.borrow(), None);
    for authority in [&before, &during] {
        let (near, far) = duplex(64 * 1024);
        let (server, connections) = (master(authority), Connections::default());
        let config = server.server_config(ClientCertificate::Required).unwrap();
        let (accepted, connected) = tokio::join!(
            accept(far, &server, config, DEADLINE, &connections),
            connect_over(near, east.client(&Member::Master).unwrap())
        );
        assert!(accepted.is_ok() && connected.is_ok(), "{connected:?}");
        assert_eq!(*seen.borrow(), Some(authority.edition()));
    }
    // What another member has is its own business.
    let (near, far) = duplex(64 * 1024);
    let (west, connections) = (member(&before, &cluster("west")), Connections::default());
    let config = west.server_config(ClientCertificate::Required).unwrap();
    let (_accepted, connected) = tokio::join!(
        accept(far, &west, config, DEADLINE, &connections),
        connect_over(near, east.client(&cluster("west")).unwrap())
    );
    assert!(connected.is_ok());
    assert_eq!(*seen.borrow(), Some(during.edition()));
}

#[test]
fn every_change_of_who_is_to_be_believed_is_another_edition() {
    let Rotation { before, during, after } = rotation();
    let point = |key: &PrivateKey| {
        tombolo_identity::grant::Signer::new(key)
            .unwrap()
            .public_point()
            .to_vec()
    };
    let trust = before
        .trust()
        .with_grant_key(&point(&PrivateKey::generate().unwrap()))
        .unwrap();
    let other = before
        .trust()
        .with_grant_key(&point(&PrivateKey::generate().unwrap()))
        .unwrap();
    let again = || Authority::load(&before.pem(), &key_of(&before)).unwrap();
    assert_eq!(
        again().announcing(&trust).edition(),
        again().announcing(&trust).edition()
    );
    let editions = [
        before.edition(),
        during.edition(),
        after.edition(),
        again().announcing(&trust).edition(),
        again().announcing(&other).edition(),
    ];
    for (index, edition) in editions.iter().enumerate() {
        assert!(!editions[..index].contains(edition), "{index}");
    }
    let chain = member(&during, &cluster("east")).credentials().chain;
    assert_eq!(Edition::of_certificate(chain.leaf()), Some(during.edition()));
}

/// The key, by way of the file.
fn key_of(authority: &Authority) -> SecretString {
    let folder = tempfile::tempdir().unwrap();
    authority.save(folder.path()).unwrap();
    let (_, key) = Authority::files(folder.path());
    SecretString::from(std::fs::read_to_string(key).unwrap())
}

fn replace(certificates: &Path, key: &Path, authority: &Authority) {
    Files::lock(certificates, key).unwrap().replace(authority).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Each begins a rotation or ends the one that another has begun; of those who come at once one has the files at a time.
#[test]
fn who_replaces_an_authority_has_its_files_for_himself() {
    let folder = tempfile::tempdir().unwrap();
    rotation().before.save(folder.path()).unwrap();
    let (certificates, key) = Authority::files(folder.path());
    let held = Files::lock(&certificates, &key).unwrap();
    let refused = Files::lock(&certificates, &key).unwrap_err();
    assert!(matches!(refused, Error::Busy(_)), "{refused}");
    assert!(refused.to_string().contains("somebody else"), "{refused}");
    drop(held);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut done = 0;
                while done < 10 {
                    let Ok(files) = Files::lock(&certificates, &key) else {
                        std::thread::yield_now();
                        continue;
                    };
                    let read = files.read().unwrap();
                    let next = read.successor(now()).or_else(|_| read.without_others()).unwrap();
                    files.replace(&next).unwrap();
                    done += 1;
                }
            });
        }
    });
    Authority::open(folder.path()).unwrap().unwrap();
}

#[test]
fn files_stay_their_groups_and_are_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let Rotation { before, during, after } = rotation();
    before.save(folder.path()).unwrap();
    let (certificates, key) = Authority::files(folder.path());
    for (authority, given, of_certificates, of_key) in [
        (&during, 0o640, 0o640, 0o640),
        (&after, 0o400, 0o400, 0o400),
        (&during, 0o666, 0o644, 0o640),
    ] {
        for file in [&certificates, &key] {
            std::fs::set_permissions(file, Permissions::from_mode(given)).unwrap();
        }
        replace(&certificates, &key, authority);
        assert_eq!(
            (mode(&certificates), mode(&key)),
            (of_certificates, of_key),
            "{given:o}"
        );
    }
    let mut left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|one| one.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["ca.key.pem", "ca.pem", "ca.pem.lock"]);
}

#[test]
fn where_the_files_are_links_what_they_lead_to_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let Rotation { before, during, .. } = rotation();
    let (real, links) = (folder.path().join("real"), folder.path().join("links"));
    before.save(&real).unwrap();
    std::fs::create_dir(&links).unwrap();
    let (certificates, key) = Authority::files(&real);
    let (certificates_link, key_link) = Authority::files(&links);
    symlink(&certificates, &certificates_link).unwrap();
    symlink("../real/ca.key.pem", &key_link).unwrap();
    let held = Files::lock(&certificates, &key).unwrap();
    assert!(
        Files::lock(&certificates_link, &key_link).is_err(),
        "they are the same files"
    );
    drop(held);
    replace(&certificates_link, &key_link, &during);
    for link in [&certificates_link, &key_link] {
        assert!(link.symlink_metadata().unwrap().is_symlink(), "{}", link.display());
    }
    assert_eq!(Authority::open(&real).unwrap().unwrap().pin(), during.pin());
    assert_eq!(Authority::open(&links).unwrap().unwrap().pin(), during.pin());
}

#[test]
fn certificates_and_key_in_one_file_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("both.pem");
    std::fs::write(&file, rotation().before.pem()).unwrap();
    let refused = Files::lock(&file, &file).unwrap_err();
    assert!(refused.to_string().contains("two files"), "{refused}");
}

#[test]
fn files_written_by_halves_are_the_authority_of_before_which_trusts_one_more() {
    let folder = tempfile::tempdir().unwrap();
    let Rotation { before, during, after } = rotation();
    before.save(folder.path()).unwrap();
    let (certificates, key) = Authority::files(folder.path());
    let old_key = std::fs::read(&key).unwrap();
    replace(&certificates, &key, &during);
    let read = Authority::open(folder.path()).unwrap().unwrap();
    assert_eq!((read.pin(), read.edition()), (during.pin(), during.edition()));
    assert_ne!(std::fs::read(&key).unwrap(), old_key, "the old key is gone");

    std::fs::write(&key, old_key).unwrap();
    let halved = Authority::open(folder.path()).unwrap().unwrap();
    assert_eq!(halved.pin(), before.pin());
    assert_eq!(halved.roots().count(), 2);
    assert!(halved.successor(now()).is_err(), "one rotation at a time");
    assert!(during.successor(now()).is_err(), "one rotation at a time");

    replace(&certificates, &key, &during);
    replace(&certificates, &key, &after);
    let read = Authority::open(folder.path()).unwrap().unwrap();
    assert_eq!((read.pin(), read.roots().count()), (during.pin(), 1));
    assert!(read.without_others().is_err(), "there is nothing to leave out");
    // The next one begins where this one has ended.
    let next = read.successor(now()).unwrap();
    assert_eq!(
        (next.roots().count(), next.without_others().unwrap().roots().count()),
        (2, 1)
    );
}

#[test]
fn certificates_that_do_not_belong_together_are_no_authority() {
    let Rotation { before, during, after } = rotation();
    let stranger = Authority::create(TrustDomain::default(), now()).unwrap();
    let elsewhere = Authority::create(TrustDomain::new("other.internal").unwrap(), now()).unwrap();
    let leaf = member(&before, &cluster("east")).credentials().chain.pem();
    for (case, certificates, key) in [
        ("nothing", String::new(), &before),
        ("no key of its own", before.pem(), &stranger),
        ("the same twice", before.pem() + &before.pem(), &before),
        ("two trust domains", before.pem() + &elsewhere.pem(), &before),
        ("a member's certificate", before.pem() + &leaf, &before),
        (
            "a link for nobody",
            stranger.pem() + &after.pem().replace(&root_pem(&after), ""),
            &stranger,
        ),
        (
            "too many",
            (0..7).map(|_| rotation().before.pem()).collect::<String>() + &before.pem(),
            &before,
        ),
    ] {
        assert!(Authority::load(&certificates, &key_of(key)).is_err(), "{case}");
    }
    // By hand, without a link: both are trusted, as after a rotation with other tools.
    let by_hand = Authority::load(&(before.pem() + &stranger.pem()), &key_of(&stranger)).unwrap();
    assert_eq!((by_hand.pin(), by_hand.roots().count()), (stranger.pin(), 2));
    assert_ne!(by_hand.edition(), during.edition());
}

fn root_pem(authority: &Authority) -> String {
    authority.without_others().as_ref().unwrap_or(authority).trust().pem()
}

#[test]
fn credentials_whose_trust_does_not_vouch_for_their_certificate_are_found() {
    let Rotation { before, during, after } = rotation();
    let key = PrivateKey::generate().unwrap();
    let signed = |authority: &Authority| {
        authority
            .sign(&key.request().unwrap(), &cluster("east"), now())
            .unwrap()
    };
    let with = |authority: &Authority, trust: Trust| Credentials::new(key.clone(), signed(authority), trust).unwrap();
    for authority in [&before, &during, &after] {
        Identity::check(&with(authority, authority.trust()), now()).unwrap();
    }
    let unvouched = Identity::check(&with(&before, after.trust()), now()).unwrap_err();
    assert!(unvouched.to_string().contains("does not vouch"), "{unvouched}");
}

#[test]
fn a_certificate_is_taken_whatever_the_own_clock_says_unless_the_authoritys_is_wrong() {
    let Rotation { before, during, after } = rotation();
    let away = 10 * 60 * 60 * 1000;
    let key = PrivateKey::generate().unwrap();
    let given = |authority: &Authority, trust: Trust| {
        let request = key.request().unwrap();
        let chain = authority.sign(&request, &cluster("east"), now()).unwrap();
        Credentials::new(key.clone(), chain, trust).unwrap()
    };
    for clock in [0, now().0 - away, now().0 - 6 * 60 * 1000, now().0, now().0 + 3 * away] {
        for authority in [&before, &during, &after] {
            Identity::check(&given(authority, authority.trust()), Timestamp(clock)).unwrap();
        }
        let unvouched = Identity::check(&given(&before, after.trust()), Timestamp(clock)).unwrap_err();
        assert!(matches!(unvouched, tls::Error::Unvouched(_)), "{unvouched}");
    }
    // The clock of the machine on which the authority was replaced was ahead: who knows the older root only has to wait for the link.
    let early = before.successor(Timestamp(now().0 + 3 * away)).unwrap();
    let clock = Identity::check(&given(&early, before.trust()), now()).unwrap_err();
    assert!(clock.to_string().contains("clock"), "{clock}");
}

#[tokio::test]
async fn who_was_left_behind_hears_that_it_is_the_authority() {
    let Rotation { before, after, .. } = rotation();
    let stranger = Authority::create(TrustDomain::default(), now()).unwrap();
    for (of_master, expected) in [(&after, Distrust::OfUs), (&stranger, Distrust::OfPeer)] {
        let (near, far) = duplex(64 * 1024);
        let (server, connections) = (master(of_master), Connections::default());
        let east = member(&before, &cluster("east")).client(&Member::Master).unwrap();
        let config = server.server_config(ClientCertificate::Required).unwrap();
        let client = async {
            let mut stream = TlsConnector::from(east.config).connect(east.server_name, near).await?;
            stream.read_u8().await
        };
        let (refused, heard) = tokio::join!(accept(far, &server, config, DEADLINE, &connections), client);
        assert!(refused.is_err());
        assert_eq!(Distrust::find(&heard.unwrap_err()), Some(expected));
    }
}
