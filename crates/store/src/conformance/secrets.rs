//! Values that projects keep secret.

use tombolo_core::control::Change;
use tombolo_core::id::ProjectId;
use tombolo_core::name::SecretName;
use tombolo_core::secret::{SealedSecret, SealedValue, Secret};
use tombolo_core::time::Timestamp;

use super::example::{Leader, project};
use crate::Store;

fn name(name: &str) -> SecretName {
    SecretName::new(name).unwrap()
}

fn sealed(project: ProjectId, of: &str, key: &str, byte: u8) -> SealedSecret {
    SealedSecret {
        secret: Secret {
            project,
            name: name(of),
            updated_at: Timestamp(u64::from(byte)),
        },
        value: SealedValue {
            key: key.to_owned(),
            bytes: vec![byte, 0, 0xff, b'\''],
        },
    }
}

pub async fn secrets_are_replaced_and_found_by_name<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let (home, other) = (project(1), project(2));
    assert!(store.secret_keys().await.unwrap().is_empty());
    leader
        .commit(vec![
            Change::PutProject(home.clone()),
            Change::PutProject(other.clone()),
            Change::PutSecret(sealed(home.id, "first", "old", 1)),
            Change::PutSecret(sealed(home.id, "second", "old", 2)),
            Change::PutSecret(sealed(home.id, "SECOND", "old", 3)),
            Change::PutSecret(sealed(other.id, "first", "new", 4)),
            Change::PutSecret(sealed(home.id, "first", "new", 5)),
        ])
        .await;
    leader.check().await;
    assert_eq!(store.secret_keys().await.unwrap(), ["new", "old"]);
    let asked = vec![name("second"), name("none"), name("first")];
    let found = store.secrets(home.id, asked).await.unwrap();
    let expected = [sealed(home.id, "second", "old", 2), sealed(home.id, "first", "new", 5)];
    assert_eq!(
        found,
        expected.map(|sealed| (sealed.secret.name, sealed.value)),
        "in the order of the question"
    );
    leader
        .commit(vec![
            Change::DeleteSecret {
                project: home.id,
                name: name("first"),
            },
            // What is not there can be deleted too.
            Change::DeleteSecret {
                project: home.id,
                name: name("none"),
            },
        ])
        .await;
    leader.check().await;
    assert!(store.secrets(home.id, vec![name("first")]).await.unwrap().is_empty());
    assert_eq!(store.secrets(other.id, vec![name("first")]).await.unwrap().len(), 1);
}

pub async fn secrets_go_with_their_project<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let (gone, kept) = (project(1), project(2));
    leader
        .commit(vec![
            Change::PutProject(gone.clone()),
            Change::PutProject(kept.clone()),
            Change::PutSecret(sealed(gone.id, "a", "gone", 1)),
            Change::PutSecret(sealed(kept.id, "a", "kept", 2)),
            Change::DeleteProject(gone.id),
        ])
        .await;
    leader.check().await;
    assert_eq!(store.secret_keys().await.unwrap(), ["kept"]);
    assert!(store.secrets(gone.id, vec![name("a")]).await.unwrap().is_empty());
}
