//! The configurations of the parts.

use anyhow::Context;
use serde_json::{Value, json};
use tombolo_runtime::telemetry;

use super::s3::BUCKET;
use super::state::State;

/// A cluster of the example.
pub(crate) struct Example {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its labels.
    pub(crate) labels: &'static [&'static str],
}

/// The clusters, which have nothing in common.
pub(crate) const CLUSTERS: [Example; 2] = [
    Example {
        name: "east",
        labels: &["AWS", "region=us"],
    },
    Example {
        name: "west",
        labels: &["GCP", "region=eu", "gpu=1"],
    },
];

/// Where the master writes the token of the bootstrap admin, in the state folder.
pub(crate) const ADMIN_TOKEN: &str = "master/admin.token";
/// Where the master writes the certificates to trust.
pub(crate) const TRUST: &str = "master/trust.pem";
/// The variable by which an agent takes its invite.
pub(crate) const INVITE_VARIABLE: &str = "TOMBOLO_AGENT_INVITE";

/// What `tombolo dev` says of itself: what is worth a warning. What its bucket refuses is none: agents try whether it does.
pub(crate) fn telemetry() -> telemetry::Settings {
    telemetry::Settings {
        filter: "warn,s3s::ops=off".to_owned(),
        ..telemetry::Settings::default()
    }
}

/// The master's configuration.
pub(crate) fn master(state: &State) -> anyhow::Result<String> {
    let settings = &state.settings;
    render(&json!({
        "data_folder": state.path("master"),
        "public_url": format!("https://localhost:{}", settings.user_port),
        "agents": {
            "listen": format!("127.0.0.1:{}", settings.agent_port),
            "addresses": [format!("127.0.0.1:{}", settings.agent_port)],
        },
        "users": {"listen": format!("127.0.0.1:{}", settings.user_port)},
    }))
}

/// An agent's configuration: the first cluster keeps its artifacts in a folder, the second in a bucket.
pub(crate) fn agent(state: &State, index: usize, direct: bool) -> anyhow::Result<String> {
    let settings = &state.settings;
    let name = CLUSTERS[index].name;
    let store = if index == 0 {
        json!({"local": {"path": state.path(name).join("store")}})
    } else {
        json!({"s3": {
            "endpoint": format!("http://127.0.0.1:{}", settings.s3.port),
            "allow_http": true,
            "bucket": BUCKET,
            "access_key_id": settings.s3.access_key_id,
            "secret_access_key": {"value": settings.s3.secret_access_key},
        }})
    };
    let mut configuration = json!({
        "master": format!("127.0.0.1:{}", settings.agent_port),
        "data_folder": state.path(name),
        "store": store,
    });
    if direct {
        let address = format!("127.0.0.1:{}", settings.peer_ports[index]);
        configuration["peer"] = json!({"listen": address, "advertise": address});
    }
    render(&configuration)
}

fn render(configuration: &Value) -> anyhow::Result<String> {
    toml::to_string(configuration).context("a configuration cannot be written as TOML")
}
