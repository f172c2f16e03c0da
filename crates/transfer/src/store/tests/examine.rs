//! What `doctor` finds in a store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::signer::Signer;
use url::Url;

use super::gcs::Strictness;
use super::proxy::{Asked, Proxy, Weather};
use super::{Patience, StoreLocation, azurite, embedded, gcs, owner, seaweed};
use crate::store::direct::Signing;
use crate::store::examine::{Claim, Step, examine, sign};
use crate::store::location::{Kind, Signers};
use crate::store::{DirectAccess, Inner};

/// The steps of a store that can be opened.
const STEPS: [&str; 8] = [
    "write",
    "read",
    "look",
    "create conditionally",
    "list",
    "delete",
    "belong to us",
    "sign",
];

async fn steps(location: &StoreLocation) -> Vec<Step> {
    let patience = Patience {
        request: Duration::from_secs(5),
        operation: Duration::from_secs(5),
    };
    examine(location, &DirectAccess::default(), &owner("east"), Claim::Now, patience).await
}

async fn all_is_well(location: &StoreLocation) {
    for _ in 0..2 {
        let steps = steps(location).await;
        let what: Vec<_> = steps.iter().map(|step| step.what).collect();
        assert_eq!(what, STEPS);
        assert!(steps.iter().all(|step| step.outcome.is_ok()), "{steps:#?}");
    }
    let raw = location.connect(&DirectAccess::never()).unwrap();
    let left = raw.objects.list_with_delimiter(Some(&raw.prefix)).await.unwrap();
    let left: Vec<_> = left
        .objects
        .iter()
        .filter_map(|object| object.location.filename())
        .collect();
    assert_eq!(left, ["owner"]);
}

/// These steps fail, each with these words, and no other.
async fn lacking(location: &StoreLocation, expected: &[(&str, &str)]) {
    let steps = steps(location).await;
    let failed = steps
        .iter()
        .filter_map(|step| Some((step.what, step.outcome.as_ref().err()?)));
    let failed: Vec<_> = failed.collect();
    let what: Vec<_> = failed.iter().map(|(what, _)| *what).collect();
    let expected_what: Vec<_> = expected.iter().map(|(what, _)| *what).collect();
    assert_eq!(what, expected_what, "{steps:#?}");
    for ((what, reason), (_, words)) in failed.iter().zip(expected) {
        assert!(reason.contains(words), "{what}: {reason}");
    }
}

#[tokio::test]
async fn who_only_looks_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let location = StoreLocation::local(folder.path());
    let never = DirectAccess::never();
    let look = async |member: &str| {
        let steps = examine(&location, &never, &owner(member), Claim::Later, Patience::default()).await;
        let what: Vec<_> = steps.iter().map(|step| step.what).collect();
        let tried = if member == "east" { &STEPS[..7] } else { &STEPS[6..7] };
        assert_eq!(what, tried);
        steps.into_iter().last().unwrap().outcome
    };
    let words = look("east").await.unwrap();
    assert!(words.ends_with("is nobody's, and will be east's"), "{words}");
    assert!(!folder.path().join("owner").exists());
    examine(&location, &never, &owner("east"), Claim::Now, Patience::default()).await;
    assert!(look("east").await.unwrap().ends_with("is east's"));
    let words = look("west").await.unwrap_err();
    assert!(words.contains("east"), "{words}");
}

#[tokio::test]
async fn a_folder() {
    let folder = tempfile::tempdir().unwrap();
    all_is_well(&StoreLocation::local(folder.path())).await;
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    lacking(&StoreLocation::local(file), &[("open", "cannot make the folder")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_s3() {
    let server = seaweed::Server::start().await;
    all_is_well(&server.location("east")).await;
    let reader = embedded::s3(server.address(), "reader", "reader", seaweed::process::SECRET_KEY);
    lacking(
        &reader,
        &[
            ("write", "right that is missing: `s3:PutObject`"),
            ("create conditionally", "`s3:PutObject`"),
            ("delete", "`s3:DeleteObject`"),
            ("belong to us", "`s3:PutObject`"),
        ],
    )
    .await;
    let stranger = embedded::s3(server.address(), "east", "nobody", "nothing");
    let steps = steps(&stranger).await;
    assert!(steps.iter().all(|step| step.outcome.is_err()), "{steps:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_azure() {
    let server = azurite::Server::start().await;
    all_is_well(&server.location("east")).await;
    all_is_well(&server.location_with("signature", "rwdl")).await;
    lacking(
        &server.location_with("keeps", "rwl"),
        &[("delete", "`blobs/delete` (role Storage Blob Data Contributor; `d`")],
    )
    .await;
    lacking(
        &server.location_with("unlisted", "rwd"),
        &[("list", "`l` of a signature")],
    )
    .await;
    let StoreLocation::Azure(mut elsewhere) = server.location("east") else {
        unreachable!("it is one")
    };
    elsewhere.container = "absent".to_owned();
    let steps = steps(&StoreLocation::Azure(elsewhere)).await;
    let write = steps[0].outcome.as_ref().unwrap_err();
    assert!(write.contains("container must exist"), "{write}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_gcs() {
    let server = gcs::Server::start(Strictness::Signed).await;
    all_is_well(&server.location("east")).await;
    let proxy = Proxy::start(server.address).await;
    for (refused, expected) in [
        (
            "PUT",
            &[
                ("write", "`storage.objects.create`"),
                ("create conditionally", "`storage.objects.create`"),
                ("belong to us", "`storage.objects.create`"),
            ][..],
        ),
        ("DELETE", &[("delete", "`storage.objects.delete`")]),
        ("listing", &[("list", "`storage.objects.list`")]),
    ] {
        proxy.turn(move |asked: &Asked<'_>| {
            let is_refused = asked.method == refused || (refused == "listing" && asked.is_listing());
            if is_refused {
                Weather::Throttled(403, 0)
            } else {
                Weather::Fine
            }
        });
        lacking(&gcs::location(proxy.address, refused), expected).await;
    }
}

/// As Azure and Google do for one who is not given the right to have signatures made.
#[derive(Debug)]
struct NoSigner;

#[async_trait]
impl Signer for NoSigner {
    async fn signed_url(&self, _: Method, path: &Path, _: Duration) -> object_store::Result<Url> {
        Err(object_store::Error::PermissionDenied {
            path: path.to_string(),
            source: "planted".into(),
        })
    }
}

#[tokio::test]
async fn who_may_not_sign_is_told_which_right_is_missing() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let signer: Arc<dyn Signer> = Arc::new(NoSigner);
    let signers = Signers {
        own: Arc::clone(&signer),
        members: Arc::clone(&signer),
        others: signer,
        certificates: None,
        binding: None,
    };
    let signing = Signing::new(signers, &DirectAccess::default());
    let objects = Arc::new(InMemory::new());
    let inner = Inner {
        signing: Some(signing.unwrap()),
        ..Inner::new(objects, "memory".to_owned(), Path::default(), Patience::default())
    };
    let store = inner.claim(&owner("east")).await.unwrap();
    let began = std::time::Instant::now();
    for (kind, right) in [(Kind::Azure, "generateUserDelegationKey"), (Kind::Gcs, "signBlob")] {
        let step = sign(&store, kind, &DirectAccess::default()).await;
        let words = step.outcome.unwrap_err();
        for word in [right, "through the agent", "`direct` and `signed` to \"never\""] {
            assert!(words.contains(word), "{words}");
        }
    }
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "it is not tried again and again"
    );
    // An agent works like this.
    let reachable = store.reachable().await.unwrap();
    assert!(!reachable.downloads && !reachable.uploads);
}

#[tokio::test]
async fn who_does_not_want_signatures_is_not_bothered() {
    let server = gcs::Server::start(Strictness::Signed).await;
    let never = DirectAccess::never();
    let steps = examine(
        &server.location("east"),
        &never,
        &owner("east"),
        Claim::Now,
        Patience::default(),
    )
    .await;
    let sign = steps.last().unwrap();
    assert_eq!(
        sign.outcome.as_deref(),
        Ok("not used: `direct` and `signed` are `never`")
    );
}
