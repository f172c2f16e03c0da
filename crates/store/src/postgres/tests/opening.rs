//! What a master is told whose database cannot be used.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use secrecy::SecretString;

use super::server::PASSWORD;
use super::*;

async fn refused(location: &Location) -> String {
    let opened = Postgres::open(location, Duration::ZERO).await;
    let error = opened.expect_err("the database cannot be used").to_string();
    assert!(!error.contains(PASSWORD) && !error.contains("hunter2"), "{error}");
    error
}

fn with_password(url: String, password: &str) -> Location {
    Location {
        password: Some(SecretString::from(password.to_owned())),
        ..Location::new(url)
    }
}

fn assert_words(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "{error:?} lacks {word:?}");
    }
}

#[tokio::test]
async fn a_password_lets_in_and_another_one_does_not() {
    let name = database(&SERVER);
    let url = SERVER.tcp_url(&name);
    Postgres::open(&with_password(url.clone(), PASSWORD), PATIENCE)
        .await
        .unwrap();
    assert_words(
        &refused(&with_password(url.clone(), "hunter2")).await,
        &["password", "`postgres`", "database.password", &name],
    );
    assert_words(&refused(&Location::new(url)).await, &["asks `postgres` for a password"]);
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let missing = Location::new(SERVER.url("missing"));
    assert_words(
        &refused(&missing).await,
        &["\"missing\" does not exist", "docs/guide/database.md"],
    );
    SERVER.sql(
        "postgres",
        "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0",
    );
    assert_words(
        &refused(&Location::new(SERVER.url("ascii"))).await,
        &["SQL_ASCII", "UTF8"],
    );
    let nobody = SERVER.url("postgres").replace("postgres@", "somebody@");
    assert_words(&refused(&Location::new(nobody)).await, &["somebody"]);
    let nowhere = Location::new("postgres://t@127.0.0.1:1/b");
    assert_words(&refused(&nowhere).await, &["127.0.0.1:1/b", "refused"]);
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let name = database(&SERVER);
    drop(open(&SERVER, &name).await);
    // What is there is not made again.
    drop(open(&SERVER, &name).await);
    let whole = "SELECT COUNT(*) = MAX(version) FROM tombolo_migrations";
    assert_eq!(SERVER.sql(&name, whole), "t");
    SERVER.sql(&name, "INSERT INTO tombolo_migrations (version) VALUES (1000)");
    let location = Location::new(SERVER.url(&name));
    let error = Postgres::open(&location, PATIENCE).await.unwrap_err();
    assert!(matches!(&error, AcquireError::Store(Error::Corrupt(_))), "{error}");
    assert_words(&error.to_string(), &["newer version", "1000"]);
}

#[tokio::test]
async fn a_role_that_may_make_no_tables_is_told_so() {
    let name = database(&SERVER);
    SERVER.sql(
        &name,
        &format!("CREATE ROLE {name}_guest LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC"),
    );
    let url = SERVER.url(&name).replace("postgres@", &format!("{name}_guest@"));
    assert_words(&refused(&Location::new(url)).await, &["permission denied", "must own"]);
}

/// A role without any rights but those of its own database, as the guide sets it up.
#[tokio::test]
async fn the_owner_of_a_database_needs_nothing_else() {
    let name = database(&SERVER);
    let role = format!("{name}_owner");
    SERVER.sql(
        &name,
        &format!("CREATE ROLE {role} LOGIN; ALTER DATABASE {name} OWNER TO {role}"),
    );
    SERVER.sql(&name, &format!("ALTER SCHEMA public OWNER TO {role}"));
    let location = Location::new(SERVER.url(&name).replace("postgres@", &format!("{role}@")));
    let first = Postgres::open(&location, PATIENCE).await.unwrap();
    let epoch = first.acquire().await.unwrap();
    SERVER.sql(
        "postgres",
        &format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"),
    );
    assert_eq!(first.committed(epoch).await, Ok(Sequence(0)), "the lock is taken again");
}

#[tokio::test]
async fn a_server_without_free_connections_is_waited_for() {
    let server = Server::start(&["max_connections=5", "superuser_reserved_connections=0"]);
    let name = database(&server);
    let location = Location::new(server.url(&name));
    let target = Target::read(&location).unwrap();
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(Connection::open(&target, "test").await.unwrap());
    }
    assert_words(&refused(&location).await, &["max_connections"]);
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(others);
    });
    Postgres::open(&location, PATIENCE).await.unwrap();
    later.await.unwrap();
}

/// A certificate authority, and a certificate of it for `localhost`, as PEM.
fn authority(name: &str) -> (String, String, String) {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    (authority.pem(), leaf.pem(), key.serialize_pem())
}

#[tokio::test]
async fn tls_is_as_the_url_says() {
    let (trusted, certificate, key) = authority("trusted");
    let (untrusted, _, _) = authority("untrusted");
    let settings = [
        "ssl=on",
        "ssl_cert_file=FOLDER/server.pem",
        "ssl_key_file=FOLDER/server.key",
    ];
    let server = Server::start_with(&settings, &[("server.pem", &certificate), ("server.key", &key)]);
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (folder.path().join("right.pem"), folder.path().join("wrong.pem"));
    fs::write(&right, trusted).unwrap();
    fs::write(&wrong, untrusted).unwrap();
    let (right, wrong) = (right.display(), wrong.display());
    let name = database(&server);
    let at = |parameters: String| with_password(format!("{}?{parameters}", server.tcp_url(&name)), PASSWORD);
    for parameters in [
        format!("sslmode=verify-full&sslrootcert={right}"),
        format!("sslmode=require&sslrootcert={right}&channel_binding=require"),
        "sslmode=prefer".to_owned(),
    ] {
        let store = Postgres::open(&at(parameters.clone()), PATIENCE).await.unwrap();
        assert_eq!(encrypted(&store).await, Some(true), "{parameters}");
    }
    let store = Postgres::open(&at("sslmode=disable".to_owned()), PATIENCE)
        .await
        .unwrap();
    assert_eq!(encrypted(&store).await, Some(false));
    drop(store);
    let other_name = server.tcp_url(&name).replace("localhost", "127.0.0.1");
    let other_name = with_password(format!("{other_name}?sslmode=require&sslrootcert={right}"), PASSWORD);
    for location in [
        at(format!("sslmode=verify-full&sslrootcert={wrong}")),
        at("sslmode=require".to_owned()),
        other_name,
    ] {
        assert_words(&refused(&location).await, &["certificate", "sslrootcert"]);
    }
    let plain = with_password(format!("{}?sslmode=require", SERVER.tcp_url("postgres")), PASSWORD);
    assert_words(&refused(&plain).await, &["does not support TLS", "sslmode=disable"]);
}

/// Whether the session that writes is encrypted.
async fn encrypted(store: &Postgres) -> Option<bool> {
    let turn = store.inner.writer.turn().await.unwrap();
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = turn.connection().client().query_one(sql, &[]).await.unwrap();
    turn.give_back();
    row.try_get(0).ok()
}
