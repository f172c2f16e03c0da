use super::*;
use crate::trial::{Trial, cluster};

const PATIENCE: Duration = Duration::from_millis(300);

async fn join_in(folder: &Path, invite: Option<&Invite>) -> Result<Membership, Error> {
    open(Request {
        folder,
        master: &[],
        invite,
        proxy: &Proxy::none(),
        patience: PATIENCE,
    })
    .await
}

#[tokio::test]
async fn an_invite_lets_a_cluster_join_once_and_its_folder_remembers() {
    let trial = Trial::start().await;
    let invite = trial.invite();
    let folder = tempfile::tempdir().unwrap();
    let joined = join_in(folder.path(), Some(&invite)).await.unwrap();
    assert_eq!(joined.cluster, cluster());
    let again = join_in(folder.path(), None).await.unwrap();
    assert_eq!(again.identity.peer_identity(), joined.identity.peer_identity());
    assert_eq!(again.addresses, [trial.address.to_string().parse().unwrap()]);

    let other = tempfile::tempdir().unwrap();
    let used = join_in(other.path(), Some(&invite)).await.unwrap_err();
    assert!(matches!(used, Error::Refused { .. }), "{used}");
    assert!(used.to_string().contains("tombolo cluster invite east"), "{used}");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let trial = Trial::start().await;
    let invite = trial.invite();
    let folder = tempfile::tempdir().unwrap();
    let joined = join_in(folder.path(), Some(&invite)).await.unwrap();
    // As if the process had died before it wrote the answer.
    std::fs::remove_file(folder.path().join("certificate.pem")).unwrap();
    let again = join_in(folder.path(), Some(&invite)).await.unwrap();
    assert_eq!(again.identity.peer_identity(), joined.identity.peer_identity());
}

#[tokio::test]
async fn a_new_invite_lets_a_removed_cluster_join_anew() {
    let trial = Trial::start().await;
    let folder = tempfile::tempdir().unwrap();
    let first = trial.invite();
    let joined = join_in(folder.path(), Some(&first)).await.unwrap();
    let certificate = || std::fs::read_to_string(folder.path().join("certificate.pem")).unwrap();
    let before = certificate();
    join_in(folder.path(), Some(&first)).await.unwrap();
    assert_eq!(certificate(), before, "the invite that was used is not used again");
    join_in(folder.path(), Some(&trial.invite())).await.unwrap();
    assert_ne!(certificate(), before);
    // One that the master does not know is left over from somewhere: the identity stays.
    let stranger = trial_invite_of(&trial, &Trial::start().await);
    let unknown = Invite {
        addresses: vec![trial.address.to_string()],
        ..stranger
    };
    let kept = certificate();
    let again = join_in(folder.path(), Some(&unknown)).await.unwrap();
    assert_eq!(certificate(), kept);
    assert_eq!(again.cluster, joined.cluster);
}

#[tokio::test]
async fn what_does_not_let_a_cluster_join_is_said() {
    let trial = Trial::start().await;
    let stranger = Trial::start().await;
    let unknown = Invite {
        addresses: vec![trial.address.to_string()],
        ..trial_invite_of(&trial, &stranger)
    };
    let wrong_pin = Invite {
        addresses: vec![trial.address.to_string()],
        ..stranger.invite()
    };
    for (invite, expected) in [
        (None, "TOMBOLO_AGENT_INVITE"),
        (Some(unknown), "unknown, used or expired"),
        (Some(wrong_pin), "the peer's certificate is refused"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = join_in(folder.path(), invite.as_ref()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(Credentials::open(folder.path()).unwrap().is_none());
    }
}

/// An invite with the pin of one master and the secret of another.
fn trial_invite_of(pinned: &Trial, other: &Trial) -> Invite {
    Invite {
        pin: pinned.shared.authority.pin(),
        ..other.invite()
    }
}
