//! How configurations name a store.

use super::owner;
use crate::store::{ChunkStore, Patience, StoreLocation};

#[derive(serde::Deserialize)]
struct Configuration {
    store: StoreLocation,
}

#[test]
fn configurations_are_read() {
    let local: Configuration = toml::from_str("store.local.path = '/data'").unwrap();
    assert!(matches!(&local.store, StoreLocation::Local(local) if local.path.ends_with("data")));
    let text = "
        [store.s3]
        bucket = 'outputs'
        endpoint = 'https://s3.internal:9000'
        prefix = 'east'
        access_key_id = 'key'
        secret_access_key = { file = '/run/secrets/key' }";
    let s3: Configuration = toml::from_str(text).unwrap();
    let StoreLocation::S3(s3) = s3.store else {
        panic!("not S3")
    };
    assert_eq!(
        (s3.bucket.as_str(), s3.prefix.as_str(), s3.region.as_str()),
        ("outputs", "east", "us-east-1")
    );
    assert!(!s3.allow_http);
    for (text, message) in [
        ("store.local.folder = '/data'", "unknown field `folder`"),
        ("store.ftp.path = '/data'", "unknown variant `ftp`"),
        ("store.s3 = { bucket = 'x' }", "missing field `access_key_id`"),
        (
            "store.s3 = { bucket = 'x', access_key_id = 'k' }",
            "missing field `secret_access_key`",
        ),
    ] {
        let error = toml::from_str::<Configuration>(text).err().unwrap();
        assert!(error.to_string().contains(message), "{error}");
    }
}

/// Credentials that are not there are an error: they are never looked for in the environment or at a metadata service.
#[tokio::test]
async fn without_credentials_nothing_is_opened() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let missing = tempfile::tempdir().unwrap();
    let missing = missing.path().join("missing");
    for (id, secret, message) in [
        ("''", "{ value = 'x' }".to_owned(), "`access_key_id` is empty"),
        ("'k'", "{ value = '' }".to_owned(), "the secret access key is empty"),
        (
            "'k'",
            "{ env = 'TOMBOLO_NO_SUCH_VARIABLE' }".to_owned(),
            "TOMBOLO_NO_SUCH_VARIABLE",
        ),
        (
            "'k'",
            format!("{{ file = '{}' }}", missing.display()),
            "cannot read the secret from",
        ),
    ] {
        let text = format!("store.s3 = {{ bucket = 'b', access_key_id = {id}, secret_access_key = {secret} }}");
        let configuration: Configuration = toml::from_str(&text).unwrap();
        let error = ChunkStore::open(&configuration.store, &owner("east"), Patience::default())
            .await
            .unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}
