use super::*;

const LEAST: &str = "image = 'tombolo:1'\ncourier_address = 'agent.tombolo:7444'\n";

fn check(text: &str) -> Result<Settings, Error> {
    let section: Section = toml(&format!("{LEAST}{text}")).unwrap();
    section.check(Some("here".to_owned()))
}

/// As the agent reads it: through the loader of its configuration.
fn toml(text: &str) -> Result<Section, String> {
    #[derive(Deserialize)]
    struct Whole {
        kubernetes: Section,
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("[kubernetes]\n{text}")).unwrap();
    let loaded = tombolo_runtime::configuration::load_from(Some(file.path()), "TEST", std::collections::HashMap::new());
    loaded
        .map(|whole: Whole| whole.kubernetes)
        .map_err(|error| error.to_string())
}

#[test]
fn the_least_has_the_defaults() {
    let settings = check("").unwrap();
    assert_eq!(settings.namespace, "here");
    assert_eq!(settings.ephemeral_storage_limit_bytes, 8 << 30);
    assert_eq!(settings.pod_security, PodSecurity::Restricted);
    assert_eq!(settings.keep_finished, Duration::ZERO);
    assert_eq!(settings.namespaces(), ["here"]);
}

#[test]
fn all_faults_are_told_at_once() {
    let section = toml("image = ''\ncourier_address = 'agent'\ndedicated_nodes = 'pool'\nrun_as_user = 0\n").unwrap();
    let error = section.check(None).unwrap_err();
    let keys: Vec<_> = error.0.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "image",
            "run_as_user",
            "namespace",
            "courier_address",
            "dedicated_nodes"
        ]
    );
    assert!(error.to_string().contains("`kubernetes.dedicated_nodes`"));
}

#[test]
fn each_fault_names_its_setting() {
    for (text, key) in [
        ("namespace = 'Jobs'", "namespace"),
        ("namespace = '-jobs'", "namespace"),
        (
            "sandbox_volume = { storage_class = 'A b' }",
            "sandbox_volume.storage_class",
        ),
        ("sandbox_volume = { maximum = '1GiB' }", "sandbox_volume.maximum"),
        ("volumes = { shared = { size = '0' } }", "volumes.shared.size"),
        (
            "volumes = { workspace = { storage_class = 'A b' } }",
            "volumes.workspace.storage_class",
        ),
        ("image_pull_secrets = ['a b']", "image_pull_secrets"),
        ("node_selector = { 'a b' = 'c' }", "node_selector"),
        ("operating_system = 'windows'", "operating_system"),
        ("architecture = ''", "architecture"),
        ("tolerations = [{ operator = 'Equal', value = 'x' }]", "tolerations"),
        (
            "tolerations = [{ key = 'k', operator = 'Exists', value = 'x' }]",
            "tolerations",
        ),
        ("tolerations = [{ key = 'k', effect = 'Never' }]", "tolerations"),
        (
            "ephemeral_storage_limit = '0B'\nephemeral_storage_request = '0B'",
            "ephemeral_storage_limit",
        ),
        ("ephemeral_storage_request = '9GiB'", "ephemeral_storage_request"),
        ("schedule_deadline = '0s'", "schedule_deadline"),
        ("termination_grace = '1year'", "termination_grace"),
        (
            "maximum_resources = { cpu_milli = 10, memory = '1GiB' }",
            "maximum_resources",
        ),
        ("run_as_user = 4294967296", "run_as_user"),
        ("insecure_registries = ['http://registry']", "insecure_registries"),
        ("pod_template = 'spec: ['", "pod_template"),
        ("[kubernetes.projects.Shop]", "projects.Shop"),
        (
            "[kubernetes.projects.shop]\nrun_as_user = 0",
            "projects.shop.run_as_user",
        ),
        ("[kubernetes.projects.shop]\nnamespace = '.'", "projects.shop.namespace"),
    ] {
        let error = check(text).unwrap_err();
        let keys: Vec<_> = error.0.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, [key], "{text}: {error}");
    }
}

#[test]
fn what_is_unknown_is_refused_when_it_is_read() {
    for text in [
        "images = 'x'",
        "pod_security = 'privileged'",
        "image_pull_policy = 'Sometimes'",
        "keep_finished = 'long'",
    ] {
        assert!(toml(&format!("{LEAST}{text}")).is_err(), "{text}");
    }
}

#[test]
fn projects_differ() {
    let settings = check(
        "run_as_user = 1000\n[kubernetes.projects.shop]\nnamespace = 'shop-jobs'\npod_security = 'baseline'\nrun_as_user = 0\n",
    )
    .unwrap();
    let job = JobSettings::default();
    let (shop, other) = (ProjectName::new("shop").unwrap(), ProjectName::new("other").unwrap());
    assert_eq!(settings.namespaces(), ["here", "shop-jobs"]);
    assert_eq!(
        (settings.namespace_of(&shop), settings.namespace_of(&other)),
        ("shop-jobs", "here")
    );
    assert_eq!(settings.pod_security_of(&shop), PodSecurity::Baseline);
    assert_eq!(settings.pod_security_of(&other), PodSecurity::Restricted);
    assert_eq!(settings.run_as_user_of(&shop, &job), Some(0));
    assert_eq!(settings.run_as_user_of(&other, &job), Some(1000));
    let own = JobSettings {
        run_as_user: Some(7),
        ..job
    };
    assert_eq!(settings.run_as_user_of(&shop, &own), Some(7));
}

#[test]
fn a_job_asks_for_no_more_than_the_maximum() {
    let settings = check("maximum_resources = { cpu_milli = 2000, memory = '4GiB' }").unwrap();
    let ask = |cpu_milli, memory_bytes| {
        settings.resources_of(&JobSettings {
            resources: Resources {
                cpu_milli,
                memory_bytes,
            },
            ..JobSettings::default()
        })
    };
    assert_eq!(ask(0, 0).unwrap(), settings.default_resources);
    assert_eq!(ask(2000, 0).unwrap().cpu_milli, 2000);
    let refused = ask(100, 5 << 30).unwrap_err();
    assert!(refused.contains("5.0 GiB") && refused.contains("4.0 GiB"), "{refused}");
}
