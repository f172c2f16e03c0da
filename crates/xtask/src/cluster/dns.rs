//! The names of Services: dnsmasq, fed from the API.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;

use super::component::Component;
use super::place::Cluster;
use super::registry;
use super::words;

/// Starts the server, and what keeps it told. A Service is known under its name a moment after it is made; one without an address
/// of its own (headless) is known under the addresses of its ready pods, and these under their host names.
pub(super) fn start(cluster: &Cluster, kubectl: &Path) -> anyhow::Result<()> {
    let address = cluster.address();
    let path = cluster.path("dns/feed");
    let write = || {
        fs::write(cluster.path("dns/hosts"), "")?;
        fs::write(&path, feed(cluster, kubectl))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    // Nothing is asked elsewhere: a name that is not known here does not exist.
    let server = format!(
        "--keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --addn-hosts={} --user=root --log-facility=-
         --listen-address={address} --bind-interfaces --pid-file={} --local=/#/ --local-ttl=1
         --host-record={},{address}",
        cluster.text("dns/hosts"),
        cluster.text("dns/pid"),
        registry::HOST
    );
    Component::launch(cluster, "dnsmasq", words("dnsmasq", &server))?;
    Component::launch(cluster, "dns-feed", words(&path.display().to_string(), ""))
}

/// A script that writes all names anew whenever something about Services or their endpoints changes.
fn feed(cluster: &Cluster, kubectl: &Path) -> String {
    let services =
        r#"{range .items[*]}{.spec.clusterIP} {.metadata.name}.{.metadata.namespace}.svc.cluster.local{"\n"}{end}"#;
    format!(
        r#"#!/bin/sh
# Written by `cargo xtask cluster up`.
kubectl='{kubectl}'
folder='{folder}'
names() {{
  $kubectl get services --all-namespaces --output 'jsonpath={services}' | grep '^[0-9]' &&
  $kubectl get endpoints --all-namespaces --selector service.kubernetes.io/headless --output 'go-template={headless}'
}}
while sleep 1; do
  # What changes before the watches begin is seen with the next tick.
  {{ while echo tick; do sleep 15; done & ticks=$!
    $kubectl get services --all-namespaces --watch-only --output name & services=$!
    $kubectl get endpoints --all-namespaces --watch-only --output name --selector service.kubernetes.io/headless
    kill $ticks $services; }} 2>/dev/null | while read -r changed; do
    names > "$folder/hosts.new" 2>/dev/null || continue
    cmp -s "$folder/hosts.new" "$folder/hosts" && continue
    # In place: dnsmasq may be reading it.
    cat "$folder/hosts.new" > "$folder/hosts"
    kill -HUP "$(cat "$folder/pid")"
  done
done
"#,
        kubectl = kubectl.display(),
        folder = cluster.text("dns"),
        headless = HEADLESS,
    )
}

/// One line for each address of a headless Service, and one for each pod with a host name.
const HEADLESS: &str = r#"{{range .items}}{{$name := printf "%s.%s.svc.cluster.local" .metadata.name .metadata.namespace}}{{range .subsets}}{{range .addresses}}{{.ip}} {{$name}}{{if .hostname}} {{.hostname}}.{{$name}}{{end}}{{"\n"}}{{end}}{{end}}{{end}}"#;
