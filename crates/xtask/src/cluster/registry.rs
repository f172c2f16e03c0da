//! The cluster's own image registry: one port that is open to all, and one that asks for a name and a password. It also
//! answers for every registry that cannot be reached from here, so that an image that is not there is told at once.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use xshell::Shell;

use super::component::{self, Component};
use super::images;
use super::place::Cluster;
use super::runtime;
use super::words;

/// The registry's name, on the node and in pods.
pub(super) const HOST: &str = "registry.tombolo.test";
const OPEN_PORT: u16 = 5000;
/// Holds the same images, for those who can say who they are.
const GUARDED_PORT: u16 = 5001;
const USER: &str = "puller";
const PASSWORD: &str = "pull-secret-of-tests";
/// bcrypt of [`PASSWORD`], which guards nothing but test images.
const PASSWORD_HASH: &str = "$2y$05$abcdefghijklmnopqrstuuk9dkTjm79Y5d7BLr53yyL2t8Xp1ahkO";
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What `cluster up` tells of it.
pub(super) fn description() -> String {
    format!("{HOST}:{OPEN_PORT} (and :{GUARDED_PORT} as {USER} with {PASSWORD})")
}

/// Starts the registry on both ports.
pub(super) fn start(cluster: &Cluster) -> anyhow::Result<()> {
    let write = |entry: &str, text: &str| {
        let path = cluster.path(entry);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("registry/users", &format!("{USER}:{PASSWORD_HASH}\n"))?;
    let guard = format!(
        "auth: {{htpasswd: {{realm: tombolo, path: {}}}}}\n",
        cluster.text("registry/users")
    );
    for (name, port, auth) in [("registry", OPEN_PORT, ""), ("registry-guarded", GUARDED_PORT, &guard)] {
        let file = format!("registry/{name}.yaml");
        write(&file, &configuration(cluster, port, auth))?;
        Component::launch(cluster, name, words("docker-registry", &format!("serve {file}")))?;
    }
    Ok(())
}

fn configuration(cluster: &Cluster, port: u16, auth: &str) -> String {
    format!(
        "version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}
http: {{addr: \"{}:{port}\", secret: tombolo}}
{auth}",
        cluster.text("registry/images"),
        cluster.address(),
    )
}

/// Tells containerd where images come from.
pub(super) fn write_hosts(cluster: &Cluster) -> anyhow::Result<()> {
    let hosts = [
        (format!("{HOST}:{OPEN_PORT}"), OPEN_PORT),
        (format!("{HOST}:{GUARDED_PORT}"), GUARDED_PORT),
        ("_default".to_owned(), OPEN_PORT),
    ];
    for (host, port) in hosts {
        let folder = cluster.path("registries").join(host);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let server = format!("http://{HOST}:{port}");
        let text = format!("server = \"{server}\"\n[host.\"{server}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
        fs::write(folder.join("hosts.toml"), text).context("cannot write hosts.toml")?;
    }
    Ok(())
}

/// Loads the images of archives, and puts those of tests into the registry as well. Returns when they can be pulled.
pub(super) fn publish(shell: &Shell, cluster: &Cluster, archives: &[PathBuf]) -> anyhow::Result<()> {
    for name in ["registry", "registry-guarded"] {
        let port = if name == "registry" { OPEN_PORT } else { GUARDED_PORT };
        component::wait(cluster, name, READY_WITHIN, || {
            std::net::TcpStream::connect((cluster.address().as_str(), port)).is_ok()
        })?;
    }
    for archive in archives {
        runtime::load(shell, cluster, archive)?;
    }
    for image in images::PUBLISHED {
        let local = format!("tombolo.test/{image}");
        let published = format!("{HOST}:{OPEN_PORT}/{image}");
        let steps: [&[&str]; 3] = [
            &["images", "tag", "--force", &local, &published],
            &["images", "push", "--plain-http", &published],
            // What is not on the node has to be pulled by the first pod that wants it.
            &["images", "rm", &published],
        ];
        for step in steps {
            runtime::ctr(shell, cluster, step).with_context(|| format!("cannot publish {published}"))?;
        }
    }
    Ok(())
}
