//! How configurations name a store.

use super::gcs::account_key;
use super::owner;
use crate::store::{ChunkStore, Patience, StoreLocation};

#[derive(serde::Deserialize)]
struct Configuration {
    store: StoreLocation,
}

fn read(text: &str) -> Result<StoreLocation, toml::de::Error> {
    toml::from_str::<Configuration>(text).map(|configuration| configuration.store)
}

#[test]
fn configurations_are_read() {
    let local = read("store.local.path = '/data'").unwrap();
    assert!(matches!(&local, StoreLocation::Local(local) if local.path.ends_with("data")));
    let text = "
        [store.s3]
        bucket = 'outputs'
        endpoint = 'https://s3.internal:9000'
        prefix = 'east'
        access_key_id = 'key'
        secret_access_key = { file = '/run/secrets/key' }";
    let StoreLocation::S3(s3) = read(text).unwrap() else {
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
        ("store.s3.access_key = 'x'", "unknown field `access_key`"),
        ("store.azure.bucket = 'x'", "unknown field `bucket`"),
        ("store.gcs.region = 'x'", "unknown field `region`"),
        ("store.gcs.credentials = 'everywhere'", "unknown variant `everywhere`"),
    ] {
        let error = read(text).err().unwrap();
        assert!(error.to_string().contains(message), "{error}");
    }
}

/// Whoever corrects one setting is to hear of the others too.
#[test]
fn all_faults_are_told_at_once() {
    let principal = "account = 'east1', container = 'c'";
    for (text, keys) in [
        ("store.local.path = ''".to_owned(), &["local.path"][..]),
        ("store.s3 = {}".to_owned(), &["s3.bucket", "s3.credentials"]),
        (
            "store.s3 = { bucket = 's3://b/x', region = '', prefix = 'a//b', endpoint = 'http://s', access_key_id = 'k' }".to_owned(),
            &["s3.bucket", "s3.region", "s3.prefix", "s3.endpoint", "s3.secret_access_key"],
        ),
        (
            "store.s3 = { bucket = 'b', access_key_id = ' ', secret_access_key = { env = '' } }".to_owned(),
            &["s3.access_key_id", "s3.secret_access_key"],
        ),
        (
            "store.s3 = { bucket = 'b', credentials = 'ambient', access_key_id = 'k' }".to_owned(),
            &["s3.credentials"],
        ),
        ("store.azure = {}".to_owned(), &["azure.account", "azure.container", "azure.credentials"]),
        (
            format!("store.azure = {{ {principal}, access_key.env = 'A', sas_token.env = 'B' }}"),
            &["azure.credentials"],
        ),
        (
            format!("store.azure = {{ {principal}, tenant_id = 't', authority_host = 'http://login' }}"),
            &["azure.authority_host", "azure.client_id", "azure.client_secret"],
        ),
        (
            "store.gcs = { bucket = '', endpoint = 'https://user:word@s/?x' }".to_owned(),
            &["gcs.bucket", "gcs.endpoint", "gcs.credentials"],
        ),
        (
            "store.gcs = { bucket = 'b', credentials = 'ambient', service_account_key.env = 'A' }".to_owned(),
            &["gcs.credentials"],
        ),
    ] {
        let faults = read(&text).unwrap().faults();
        let found: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(found, keys, "{text}: {faults:?}");
        assert!(faults.iter().all(|fault| fault.reason.len() > 10 && !fault.reason.contains("word")), "{faults:?}");
    }
    for text in [
        "store.s3 = { bucket = 'b', credentials = 'ambient' }".to_owned(),
        "store.gcs = { bucket = 'b.example.org', credentials = 'ambient' }".to_owned(),
        format!("store.azure = {{ {principal}, credentials = 'ambient' }}"),
        format!("store.azure = {{ {principal}, tenant_id = 't', client_id = 'c', client_secret.env = 'A' }}"),
        format!(
            "store.azure = {{ {principal}, access_key.env = 'A', allow_http = true, endpoint = 'http://s:1/east1' }}"
        ),
    ] {
        assert_eq!(read(&text).unwrap().faults(), [], "{text}");
    }
}

#[test]
fn where_others_reach_a_store_is_an_address_that_signatures_are_good_for() {
    let s3 = "store.s3 = { bucket = 'b', credentials = 'ambient' }";
    let azure = "store.azure = { account = 'east1', container = 'c', credentials = 'ambient' }";
    let gcs = "store.gcs = { bucket = 'b', credentials = 'ambient' }";
    for (text, endpoint, words) in [
        ("store.local.path = '/s'", "https://s", "can reach a folder"),
        (s3, "http://s", "s3.allow_http"),
        (s3, "https://s/bucket", "https://host:port"),
        (s3, "s:8333", "https://"),
        (azure, "http://s", "azure.allow_http"),
        (gcs, "https://s", "its own host only"),
    ] {
        let reason = read(text).unwrap().fault_of_direct_endpoint(endpoint).unwrap();
        assert!(reason.contains(words), "{text}: {reason}");
    }
    for (text, endpoint) in [(s3, "https://s:8333"), (azure, "https://s/east1")] {
        assert_eq!(read(text).unwrap().fault_of_direct_endpoint(endpoint), None);
    }
}

/// Credentials that are not there are an error: they are never looked for in the environment or at a metadata service. Those
/// that are wrong are not shown.
#[tokio::test]
async fn without_credentials_nothing_is_opened() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let s3 = |rest: &str| format!("store.s3 = {{ bucket = 'b', {rest} }}");
    let azure = |rest: &str| format!("store.azure = {{ account = 'east1', container = 'c', {rest} }}");
    let gcs = |text: &str| format!("store.gcs = {{ bucket = 'b', service_account_key.value = '{text}' }}");
    let no_key = account_key("");
    let bad_key = account_key("canary");
    for (text, message) in [
        ("store.s3.bucket = 'b'".to_owned(), "there are none"),
        (
            s3("access_key_id = '', secret_access_key.value = 'x'"),
            "`s3.access_key_id`",
        ),
        (s3("access_key_id = 'k', secret_access_key.value = ''"), "it is empty"),
        (
            s3("access_key_id = 'k', secret_access_key.env = 'TOMBOLO_NO_SUCH_VARIABLE'"),
            "TOMBOLO_NO_SUCH_VARIABLE is not set",
        ),
        (
            s3(&format!(
                "access_key_id = 'k', secret_access_key.file = '{}'",
                missing.display()
            )),
            "cannot read the secret from",
        ),
        (azure("prefix = 'p'"), "there are none"),
        (azure("access_key.value = 'canary!'"), "not base64"),
        (azure("sas_token.value = 'canary'"), "no `sig=`"),
        ("store.gcs.bucket = 'b'".to_owned(), "there are none"),
        (gcs("canary"), "cannot be read at line 1"),
        (gcs("{\"type\": \"authorized_user\"}"), "of the type `authorized_user`"),
        (gcs(&no_key), "it has no `private_key`"),
        (gcs(&bad_key), "store cannot be opened"),
    ] {
        let location = read(&text).unwrap();
        let error = ChunkStore::open(&location, &owner("east"), Patience::default())
            .await
            .unwrap_err();
        let shown = format!("{error} {location:?}");
        assert!(error.to_string().contains(message), "{error}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
