//! Signed requests, on real stores: what they are good for, and what not.

mod setting;

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use secrecy::ExposeSecret;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

use self::setting::{Setting, led, refused};
use super::gcs::Strictness;
use super::{PROJECT, azurite, chunk, embedded, gcs, noise, owner, seaweed};
use crate::direct::{Failure, UploadTerms, Written};
use crate::store::{
    Audience, ChunkStore, DirectAccess, DirectMode, Error, Patience, PutOutcome, Reachable, StoreLocation, UploadWay,
};

const LIFE: Duration = Duration::from_secs(60);
const SHORT_LIFE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seaweedfs_keeps_to_all_that_is_signed() {
    let server = seaweed::Server::start().await;
    let setting = Setting::open(server.location("east"), &DirectAccess::default()).await;
    let reachable = setting.store.reachable().await.unwrap();
    let all = Reachable {
        uploads: true,
        downloads: true,
        ..Reachable::default()
    };
    assert_eq!(reachable, all);
    what_is_absent_is_written_once(&setting).await;
    uploads_are_bound_to_what_was_signed(&setting).await;
    signatures_end(&setting).await;
    what_is_damaged_is_written_anew(&setting).await;
    chunks_are_read(&setting).await;
    uploads_are_confirmed(&setting).await;
    let raw = setting.location.connect(&DirectAccess::never()).unwrap();
    let trials = raw
        .objects
        .list_with_delimiter(Some(&Path::from("east/trials")))
        .await
        .unwrap();
    assert!(trials.objects.is_empty(), "{trials:?}");
}

/// By its own rules, which the tests' proxy keeps in place of the emulator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gcs_keeps_to_all_that_is_signed() {
    let server = gcs::Server::start(Strictness::Signed).await;
    let setting = Setting::open(server.location("east"), &DirectAccess::default()).await;
    let reachable = setting.store.reachable().await.unwrap();
    let all = Reachable {
        uploads: true,
        downloads: true,
        wants_md5: true,
        ..Reachable::default()
    };
    assert_eq!(reachable, all);
    what_is_absent_is_written_once(&setting).await;
    uploads_are_bound_to_what_was_signed(&setting).await;
    signatures_end(&setting).await;
    what_is_damaged_is_written_anew(&setting).await;
    chunks_are_read(&setting).await;
    uploads_are_confirmed(&setting).await;
    // A courier of an older version says no MD5.
    let (_, stored) = chunk(&noise(9, 1_000));
    let terms = UploadTerms {
        md5: None,
        ..UploadTerms::of(&stored.to_bytes())
    };
    let digest = stored.reference().digest;
    let way = setting.store.sign_upload(PROJECT, digest, &terms, LIFE).await;
    assert!(matches!(way, Ok(UploadWay::Owner)), "{way:?}");
}

/// A store that looks at no signature is found out, and told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emulator_that_lets_everybody_write_signs_no_uploads() {
    let server = gcs::Server::start(Strictness::Open).await;
    let setting = Setting::open(server.location("east"), &DirectAccess::default()).await;
    let reachable = setting.store.reachable().await.unwrap();
    assert_eq!((reachable.uploads, reachable.downloads), (false, true));
    let words = reachable.to_string();
    for remark in ["takes an upload without the signed conditions", "to whoever asks"] {
        assert!(words.contains(remark), "{words}");
    }
}

/// Its signatures bind no bytes: pods read directly, and write through the agent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_signs_downloads() {
    let server = azurite::Server::start().await;
    let setting = Setting::open(server.location("east"), &DirectAccess::default()).await;
    let reachable = setting.store.reachable().await.unwrap();
    assert_eq!((reachable.uploads, reachable.downloads), (false, true));
    assert!(
        !reachable.refused && reachable.to_string().contains("cannot bind"),
        "{reachable}"
    );
    let (_, stored) = chunk(&noise(1, 1_000));
    let terms = UploadTerms::with_md5(&stored.to_bytes());
    let digest = stored.reference().digest;
    let way = setting.store.sign_upload(PROJECT, digest, &terms, LIFE).await;
    assert!(matches!(way, Ok(UploadWay::Owner)), "{way:?}");
    chunks_are_read(&setting).await;
    signatures_of_downloads_end(&setting).await;
    // Nothing can be signed with what is a signature itself.
    let signature = Setting::open(server.location_with("west", "rwdl"), &DirectAccess::default()).await;
    assert_eq!(signature.store.reachable().await.unwrap(), Reachable::default());
}

/// It keeps an object whose checksum it has refused: who is given an upload could occupy a name with anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_keeps_what_it_refuses_signs_no_uploads() {
    let server = embedded::Server::start().await;
    let setting = Setting::open(server.location("some/prefix"), &DirectAccess::default()).await;
    let reachable = setting.store.reachable().await.unwrap();
    assert_eq!((reachable.uploads, reachable.downloads), (false, true));
    let (_, stored) = chunk(&noise(1, 1_000));
    let terms = UploadTerms::with_md5(&stored.to_bytes());
    let way = setting
        .store
        .sign_upload(PROJECT, stored.reference().digest, &terms, LIFE)
        .await;
    assert!(matches!(way, Ok(UploadWay::Owner)), "{way:?}");
    chunks_are_read(&setting).await;
}

#[tokio::test]
async fn who_cannot_or_may_not_sign_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = embedded::Server::start().await;
    let auto = DirectAccess::default();
    for (location, access) in [
        (StoreLocation::local(folder.path()), &auto),
        (server.location(""), &DirectAccess::never()),
    ] {
        let setting = Setting::open(location, access).await;
        let store = &setting.store;
        assert_eq!(store.reachable().await.unwrap(), Reachable::default());
        let (_, stored) = chunk(b"x");
        let digest = stored.reference().digest;
        let terms = UploadTerms::with_md5(&stored.to_bytes());
        let way = store.sign_upload(PROJECT, digest, &terms, LIFE).await.unwrap();
        assert!(matches!(way, UploadWay::Owner), "{way:?}");
        store.put_chunk(PROJECT, &stored).await.unwrap();
        let way = store.sign_upload(PROJECT, digest, &terms, LIFE).await.unwrap();
        assert!(matches!(way, UploadWay::Present), "{way:?}");
        assert!(
            store
                .sign_download(PROJECT, digest, LIFE, Audience::Pod)
                .await
                .unwrap()
                .is_none()
        );
    }
    let elsewhere = DirectAccess {
        endpoint: Some("https://store:9000".to_owned()),
        ..auto
    };
    let location = StoreLocation::local(folder.path());
    let opened = ChunkStore::open_direct(&location, &elsewhere, &owner("east"), Patience::default()).await;
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("direct_endpoint"), "{error}");
}

#[tokio::test]
async fn requests_are_signed_for_the_address_that_others_use() {
    let server = embedded::Server::start().await;
    let access = DirectAccess {
        endpoint: Some("http://store.example:9000".to_owned()),
        members_endpoint: Some("http://bucket.example".to_owned()),
        ..DirectAccess::default()
    };
    let setting = Setting::open(server.location(""), &access).await;
    let (_, stored) = chunk(b"x");
    setting.store.put_chunk(PROJECT, &stored).await.unwrap();
    let digest = stored.reference().digest;
    for (audience, origin) in [
        (Audience::Pod, "http://store.example:9000"),
        (Audience::Member, "http://bucket.example"),
    ] {
        let signed = setting.store.sign_download(PROJECT, digest, LIFE, audience).await;
        assert_eq!(signed.unwrap().unwrap().origin(), origin);
    }
    // Pods alone, or members alone.
    for (pods, members) in [
        (DirectMode::Never, DirectMode::Auto),
        (DirectMode::Auto, DirectMode::Never),
    ] {
        let access = DirectAccess {
            mode: pods,
            members,
            ..DirectAccess::default()
        };
        let setting = Setting::open(server.location(""), &access).await;
        for (audience, mode) in [(Audience::Pod, pods), (Audience::Member, members)] {
            let signed = setting.store.sign_download(PROJECT, digest, LIFE, audience).await;
            assert_eq!(signed.unwrap().is_some(), mode == DirectMode::Auto, "{audience:?}");
        }
        assert!(!setting.store.readable_elsewhere().await.unwrap().uploads);
    }
}

async fn what_is_absent_is_written_once(setting: &Setting) {
    let (chunk, stored) = chunk(&noise(1, 3 << 20));
    let (reference, bytes) = (chunk.reference(), stored.to_bytes());
    let [first, second] = [setting.sign(&stored, LIFE).await, setting.sign(&stored, LIFE).await];
    assert_eq!(setting.put(&first, &bytes).await, Ok(Written::Stored));
    for request in [&first, &second] {
        assert_eq!(setting.put(request, &bytes).await, Ok(Written::Occupied));
    }
    let store = &setting.store;
    let length = bytes.len() as u64;
    assert!(store.confirm_upload(PROJECT, reference.digest, length).await.unwrap());
    assert!(store.holds_chunk(PROJECT, reference).await.unwrap());
    let read = store.get_chunk(PROJECT, reference).await.unwrap();
    assert_eq!(read.bytes(), chunk.bytes());
    let way = store
        .sign_upload(PROJECT, reference.digest, &UploadTerms::with_md5(&bytes), LIFE)
        .await;
    assert!(matches!(way, Ok(UploadWay::Present)), "{way:?}");
    let other = store
        .sign_upload(
            ProjectId::from_u128(8),
            reference.digest,
            &UploadTerms::with_md5(&bytes),
            LIFE,
        )
        .await;
    assert!(
        matches!(other, Ok(UploadWay::Signed(_))),
        "projects share no chunks: {other:?}"
    );
}

async fn uploads_are_bound_to_what_was_signed(setting: &Setting) {
    let (_, stored) = chunk(&noise(2, 50_000));
    let (digest, bytes) = (stored.reference().digest, stored.to_bytes());
    let request = setting.sign(&stored, LIFE).await;
    let mut other = bytes.to_vec();
    other[25_000] ^= 1;
    for wrong in [other, bytes[1..].to_vec(), [&bytes[..], b"more"].concat(), Vec::new()] {
        let answer = setting.put(&request, &wrong.into()).await;
        assert!(refused(&answer), "{answer:?}");
    }
    let mut bare = request.clone();
    bare.clear_headers();
    let name = digest.to_string();
    let key = led(&request, |url| url.replace(&format!("{name}.0"), &format!("{name}.1")));
    let project = led(&request, |url| {
        url.replace(&PROJECT.to_string(), &ProjectId::from_u128(8).to_string())
    });
    let longer = led(&request, |url| url.replace("Expires=60", "Expires=6000"));
    let unsigned = led(&request, |url| url.split('?').next().unwrap().to_owned());
    for request in [&bare, &key, &project, &longer, &unsigned] {
        let answer = setting.put(request, &bytes).await;
        assert!(refused(&answer), "{answer:?}");
    }
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for method in [Method::GET, Method::DELETE, Method::HEAD] {
        let sent = http.request(method.clone(), request.url().expose_secret());
        let answer = sent.headers(request.headers().clone()).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{method}");
    }
    assert!(!setting.has(digest).await, "what was refused has left something");
    assert_eq!(setting.put(&request, &bytes).await, Ok(Written::Stored));
    for bytes in [0, (16 << 20) + 2] {
        let terms = UploadTerms {
            bytes,
            sha256: [0; 32],
            md5: Some([0; 16]),
        };
        let answer = setting
            .store
            .sign_upload(PROJECT, Digest::new([9; 32]), &terms, LIFE)
            .await;
        assert!(matches!(answer, Err(Error::Refused { .. })), "{answer:?}");
    }
}

async fn signatures_end(setting: &Setting) {
    let (_, stored) = chunk(&noise(3, 1_000));
    let upload = setting.sign(&stored, SHORT_LIFE).await;
    signatures_of_downloads_end(setting).await;
    let answer = setting.put(&upload, &stored.to_bytes()).await;
    assert!(refused(&answer), "{answer:?}");
    assert!(!setting.has(stored.reference().digest).await);
}

async fn signatures_of_downloads_end(setting: &Setting) {
    let (_, there) = chunk(&noise(4, 1_000));
    setting.store.put_chunk(PROJECT, &there).await.unwrap();
    let download = setting
        .store
        .sign_download(PROJECT, there.reference().digest, SHORT_LIFE, Audience::Pod)
        .await;
    let download = download.unwrap().unwrap();
    // Stores count in whole seconds.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let answer = setting.client.get(&download, 1 << 20).await;
    assert!(refused(&answer), "{answer:?}");
}

async fn what_is_damaged_is_written_anew(setting: &Setting) {
    let (chunk, stored) = chunk(&noise(5, 1_000));
    let (reference, bytes) = (chunk.reference(), stored.to_bytes());
    setting.store.put_chunk(PROJECT, &stored).await.unwrap();
    overwrite(setting, reference.digest, b"something else".to_vec()).await;
    let read = setting.store.get_chunk(PROJECT, reference).await;
    assert!(matches!(read, Err(Error::Damaged { .. })), "{read:?}");
    let request = setting.sign(&stored, LIFE).await;
    assert!(
        request
            .url()
            .expose_secret()
            .contains(&format!("{}.1", reference.digest))
    );
    assert_eq!(setting.put(&request, &bytes).await, Ok(Written::Stored));
    let read = setting.store.get_chunk(PROJECT, reference).await.unwrap();
    assert_eq!(read.bytes(), chunk.bytes());
}

async fn overwrite(setting: &Setting, digest: Digest, bytes: Vec<u8>) {
    let raw = setting.location.connect(&DirectAccess::never()).unwrap();
    let name = digest.to_string();
    let path = format!("projects/{PROJECT}/chunks/{}/{name}.0", &name[..2]);
    let path: Path = raw.prefix.parts().chain(Path::from(path).parts()).collect();
    raw.objects.put(&path, bytes.into()).await.unwrap();
}

async fn chunks_are_read(setting: &Setting) {
    let (_, stored) = chunk(&noise(6, 2 << 20));
    let (digest, bytes) = (stored.reference().digest, stored.to_bytes());
    let store = &setting.store;
    assert!(
        store
            .sign_download(PROJECT, digest, LIFE, Audience::Pod)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(store.put_chunk(PROJECT, &stored).await.unwrap(), PutOutcome::Stored);
    let request = store
        .sign_download(PROJECT, digest, LIFE, Audience::Pod)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(setting.client.get(&request, 16 << 20).await.unwrap(), bytes);
    assert_eq!(
        setting.client.get(&request, 1 << 20).await,
        Err(Failure::TooLong(1 << 20))
    );
    let name = digest.to_string();
    let other = led(&request, |url| url.replace(&name, &"0".repeat(64)));
    let owner = led(&request, |url| {
        let (before, _) = url.split_once("projects/").unwrap();
        let (_, query) = url.split_once('?').unwrap();
        format!("{before}owner?{query}")
    });
    for request in [other, owner] {
        let answer = setting.client.get(&request, 16 << 20).await;
        assert!(refused(&answer), "{answer:?}");
    }
    let answer = setting.put(&request, &Bytes::from_static(b"x")).await;
    assert!(refused(&answer), "{answer:?}");
    assert_eq!(setting.client.get(&request, 16 << 20).await.unwrap(), bytes);
}

async fn uploads_are_confirmed(setting: &Setting) {
    let store = &setting.store;
    let (_, stored) = chunk(&noise(7, 1_000));
    let digest = stored.reference().digest;
    assert!(!store.confirm_upload(PROJECT, digest, 1_001).await.unwrap());
    store.put_chunk(PROJECT, &stored).await.unwrap();
    // Another coding of the same content is as good.
    assert!(store.confirm_upload(PROJECT, digest, 17).await.unwrap());
    overwrite(setting, digest, b"less".to_vec()).await;
    assert!(!store.confirm_upload(PROJECT, digest, 1_001).await.unwrap());
    assert!(!store.has_chunk(PROJECT, digest).await.unwrap(), "it is marked");
    let (_, other) = chunk(&noise(8, 1_000));
    store.put_chunk(PROJECT, &other).await.unwrap();
    overwrite(setting, other.reference().digest, vec![0; 5_000]).await;
    let fresh = Setting::open(setting.location.clone(), &DirectAccess::default()).await;
    assert!(!fresh.store.holds_chunk(PROJECT, other.reference()).await.unwrap());
}
