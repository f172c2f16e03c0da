//! What a real registry says of an image.

use serde_json::json;
use tombolo_agent::executor::kubernetes::entrypoint::{Entrypoints, Error};
use tombolo_agent::executor::kubernetes::settings::Section;

fn entrypoints(registry: &str) -> Entrypoints {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let section =
        json!({ "image": "a", "courier_address": "a:1", "namespace": "a", "insecure_registries": [registry] });
    let section: Section = serde_json::from_value(section).unwrap();
    Entrypoints::new(&section.check(None).unwrap()).unwrap()
}

fn address(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is the address of a registry"))
}

#[tokio::test]
async fn an_open_registry() {
    let registry = address("TOMBOLO_TEST_REGISTRY");
    let entrypoints = entrypoints(&registry);
    let image = entrypoints
        .command_of(&format!("{registry}/greeter:1"), &[])
        .await
        .unwrap();
    println!("{image:?}");
    let missing = entrypoints
        .look_up(&format!("{registry}/none:1"), &[])
        .await
        .unwrap_err();
    println!("{missing}");
    assert!(matches!(missing, Error::Missing { .. }), "{missing}");
}

#[tokio::test]
async fn a_registry_with_users() {
    let registry = address("TOMBOLO_TEST_PULL_REGISTRY");
    let entrypoints = entrypoints(&registry);
    let image = format!("{registry}/greeter:1");
    let secret = |password: &str| {
        let user = json!({ "username": "puller", "password": password });
        json!({ "auths": { registry.clone(): user } }).to_string().into()
    };
    for secrets in [vec![], vec![secret("wrong")]] {
        let denied = entrypoints.look_up(&image, &secrets).await.unwrap_err();
        println!("{denied}");
        assert!(matches!(denied, Error::Denied { .. }), "{denied}");
    }
    let found = entrypoints
        .look_up(&image, &[secret("pull-secret-of-tests")])
        .await
        .unwrap();
    assert!(!found.command.is_empty());
}
