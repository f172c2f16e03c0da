//! Clusters and invites.

mod drain;

use std::time::Duration;

use clap::Subcommand;
use reqwest::Method;
use tombolo_api::{
    Availability, ChangeCluster, ChangeLabels, Cluster as Described, ClusterList, CreateInvite, Invite, InviteList,
    InviteSummary, LabelledCluster, path,
};
use tombolo_core::label;
use tombolo_core::name::{ClusterName, ProjectName};

use crate::Session;
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Changed, Format, Rows, Wide};

#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Invites a cluster, and prints how its agent joins. The invite works once.
    Invite {
        /// The name that the cluster will have.
        name: ClusterName,
        /// A label for it, `key=value` or a bare flag; may be given several times.
        #[arg(long = "label", short, value_name = "LABEL")]
        labels: Vec<String>,
        /// How long the invite is valid; 15 minutes if absent.
        #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
        expires_in: Option<Duration>,
    },
    /// Lists the invites of the last day.
    Invites,
    /// Withdraws the open invites of a cluster.
    Uninvite {
        /// The name that was invited.
        name: ClusterName,
    },
    /// Lists the clusters.
    List,
    /// Shows one cluster.
    Show {
        /// Its name.
        name: ClusterName,
    },
    /// Changes the labels of a cluster. Jobs that it has stay there; those that wait are looked at again at once.
    Label {
        /// Its name.
        name: ClusterName,
        /// What changes: `key=value` or a bare flag sets a label, `key-` takes one away.
        #[arg(required = true, value_name = "LABEL")]
        labels: Vec<String>,
    },
    /// Lets a cluster take no new jobs. Those that it has go on.
    Cordon {
        /// Its name.
        name: ClusterName,
    },
    /// Lets a cluster take jobs again that was cordoned or drained.
    Uncordon {
        /// Its name.
        name: ClusterName,
    },
    /// Empties a cluster: it takes no new jobs, but for those that can run nowhere else; those that it has go on to their end, and outputs that
    /// jobs wait for are copied to other clusters.
    Drain {
        /// Its name.
        name: ClusterName,
        /// Does not wait for its jobs: they begin anew elsewhere, but for those that work with a volume which is only there.
        #[arg(long)]
        now: bool,
        /// Waits until nothing is left, and it can be removed. Ctrl-C ends the waiting, and not the draining.
        #[arg(long)]
        wait: bool,
        /// How long to wait; for ever if absent.
        #[arg(long, requires = "wait", value_parser = humantime::parse_duration, value_name = "DURATION")]
        timeout: Option<Duration>,
    },
    /// Takes a cluster out of use: its jobs begin anew elsewhere, and its agent is refused until the cluster is enabled.
    Disable {
        /// Its name.
        name: ClusterName,
    },
    /// Takes a cluster that was disabled into use again.
    Enable {
        /// Its name.
        name: ClusterName,
    },
    /// Removes a cluster: its agent is refused from now on. Refused while jobs need the cluster.
    Remove {
        /// Its name.
        name: ClusterName,
        /// Also if it has jobs, which begin anew elsewhere, or outputs that jobs wait for and no other cluster has: the jobs run again that made them.
        #[arg(long)]
        force: bool,
    },
}

impl Rows for ClusterList {
    fn header(&self, wide: Wide) -> Vec<&'static str> {
        let mut header = vec!["name", "state", "attempts", "cpu free", "memory free", "labels"];
        if wide == Wide::Yes {
            header.extend(["version", "peer address", "age"]);
        }
        header
    }

    fn rows(&self, wide: Wide) -> Vec<Vec<String>> {
        let row = |cluster: &Described| {
            let slots = cluster.slots.map(|slots| format!("/{slots}")).unwrap_or_default();
            let free = cluster.free.zip(cluster.capacity);
            let unknown = || if cluster.connected { "unknown" } else { "" }.to_owned();
            // What the agent itself reports is for `cluster show`.
            let labels = cluster
                .labels
                .iter()
                .filter(|(key, _)| wide == Wide::Yes || !key.starts_with("node."));
            let mut row = vec![
                cluster.name.to_string(),
                standing(cluster),
                format!("{}{slots}", cluster.attempts),
                free.map_or_else(unknown, |(free, all)| {
                    format!("{} of {} m", free.cpu_milli, all.cpu_milli)
                }),
                free.map_or_else(unknown, |(free, _)| render::bytes(free.memory_bytes)),
                render::labels(labels),
            ];
            if wide == Wide::Yes {
                row.push(cluster.version.clone().unwrap_or_default());
                row.push(cluster.peer_address.clone().unwrap_or_default());
                row.push(render::age(cluster.joined_at));
            }
            row
        };
        self.clusters.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.clusters.iter().map(|cluster| cluster.name.to_string()).collect()
    }

    fn empty(&self) -> &'static str {
        "No cluster has joined yet: `tombolo cluster invite NAME -l key=value`."
    }
}

impl Rows for InviteList {
    fn header(&self, _: Wide) -> Vec<&'static str> {
        vec!["name", "state", "expires", "labels"]
    }

    fn rows(&self, _: Wide) -> Vec<Vec<String>> {
        let row = |invite: &InviteSummary| {
            vec![
                invite.name.to_string(),
                invite.state.as_str().to_owned(),
                invite.expires_at.to_string(),
                render::labels(&invite.labels),
            ]
        };
        self.invites.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.invites.iter().map(|invite| invite.name.to_string()).collect()
    }

    fn empty(&self) -> &'static str {
        "There are no invites: `tombolo cluster invite NAME -l key=value` makes one."
    }
}

/// Invites, lists, shows, changes and removes clusters.
pub(crate) async fn cluster(command: &Cluster, session: &Session) -> Result<(), Failure> {
    match command {
        Cluster::Invite {
            name,
            labels,
            expires_in,
        } => {
            let request = CreateInvite {
                name: name.clone(),
                labels: labels.clone(),
                ttl_seconds: expires_in.map(|duration| duration.as_secs()),
            };
            let invite: Invite = session.client.post(&path::invites(), &request).await?;
            show_invite(&invite, session.format)
        }
        Cluster::Invites => {
            let list: InviteList = session.client.get(&path::invites()).await?;
            render::print(session.format, &list)
        }
        Cluster::Uninvite { name } => {
            session.client.act(Method::DELETE, &path::invites_of(name)).await?;
            let (kind, name, change) = ("invite", name.as_str(), "withdrawn");
            render::changed(session.format, &Changed { kind, name, change })
        }
        Cluster::List => {
            let list: ClusterList = session.client.get(&path::clusters()).await?;
            render::print(session.format, &list)
        }
        Cluster::Show { name } => {
            let cluster: Described = session.client.get(&path::cluster(name)).await?;
            match session.format {
                Format::Table | Format::Wide => render::print_value(Format::Yaml, &cluster),
                Format::Name => render::line(cluster.name.as_str()),
                Format::Json | Format::Yaml => render::print_value(session.format, &cluster),
            }
        }
        Cluster::Label { name, labels } => label(session, name, labels).await,
        Cluster::Cordon { name } => change(session, name, Availability::Cordoned, false).await,
        Cluster::Drain {
            name,
            now,
            wait,
            timeout,
        } => {
            if !*wait {
                return change(session, name, Availability::Draining, *now).await;
            }
            let cluster = set(session, name, Availability::Draining, *now).await?;
            drain::wait(session, cluster, *timeout).await
        }
        Cluster::Disable { name } => change(session, name, Availability::Disabled, false).await,
        Cluster::Uncordon { name } => open(session, name, &[Availability::Disabled]).await,
        Cluster::Enable { name } => open(session, name, &[Availability::Cordoned, Availability::Draining]).await,
        Cluster::Remove { name, force } => {
            let query = if *force { "?force=true" } else { "" };
            let cluster = format!("{}{query}", path::cluster(name));
            session.client.act(Method::DELETE, &cluster).await?;
            let (kind, name, change) = ("cluster", name.as_str(), "removed");
            render::changed(session.format, &Changed { kind, name, change })
        }
    }
}

/// Changes the labels of a cluster, and says which it has now.
async fn label(session: &Session, name: &ClusterName, labels: &[String]) -> Result<(), Failure> {
    let request = ChangeLabels {
        labels: labels.to_vec(),
    };
    let changed: LabelledCluster = session.client.patch(&path::cluster_labels(name), &request).await?;
    let cluster = &changed.cluster;
    match session.format {
        Format::Table | Format::Wide => {
            let given = |key: &str| label::reserved(key).is_none();
            let labels = render::labels(cluster.labels.iter().filter(|(key, _)| given(key)));
            render::line(&match labels.as_str() {
                "" => format!("Cluster `{name}` has no labels of yours."),
                labels => format!("Cluster `{name}` has the labels {labels}."),
            })?;
            reach(&changed).iter().try_for_each(|line| render::line(line))
        }
        Format::Name => render::line(cluster.name.as_str()),
        Format::Json | Format::Yaml => render::print_value(session.format, &changed),
    }
}

/// For which projects it is another question now whether their jobs may run there, in words.
fn reach(changed: &LabelledCluster) -> Vec<String> {
    let names = |projects: &[ProjectName]| {
        let names: Vec<String> = projects.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let mut lines = Vec::new();
    if !changed.lets_in.is_empty() {
        let names = names(&changed.lets_in);
        lines.push(format!(
            "Jobs of these projects may run there now, by their `--clusters`: {names}."
        ));
    }
    if !changed.keeps_out.is_empty() {
        let names = names(&changed.keeps_out);
        lines.push(format!(
            "Jobs of these projects may not run there any more, by their `--clusters`: {names}. Those that it has stay."
        ));
    }
    lines
}

/// How a cluster stands: `connected`, `connected, cordoned`, `connected, drained`, `disabled`.
fn standing(cluster: &Described) -> String {
    let contact = match cluster.handing_over_until {
        Some(until) => format!("handing over until {until}"),
        None if cluster.connected => "connected".to_owned(),
        None => "disconnected".to_owned(),
    };
    match cluster.availability {
        Availability::Open => contact,
        Availability::Disabled => "disabled".to_owned(),
        Availability::Draining if drain::is_over(cluster) => format!("{contact}, drained"),
        availability => format!("{contact}, {}", availability.as_str()),
    }
}

async fn change(
    session: &Session,
    name: &ClusterName,
    availability: Availability,
    move_jobs: bool,
) -> Result<(), Failure> {
    let cluster = set(session, name, availability, move_jobs).await?;
    show_change(session, &cluster)
}

async fn set(
    session: &Session,
    name: &ClusterName,
    availability: Availability,
    move_jobs: bool,
) -> Result<Described, Failure> {
    let request = ChangeCluster {
        availability,
        move_jobs,
    };
    session.client.patch(&path::cluster(name), &request).await
}

fn show_change(session: &Session, cluster: &Described) -> Result<(), Failure> {
    match session.format {
        Format::Table | Format::Wide => render::line(&changed(cluster)),
        Format::Name => render::line(cluster.name.as_str()),
        Format::Json | Format::Yaml => render::print_value(session.format, cluster),
    }
}

/// Lets a cluster take jobs again, unless it is one of `refused`: that has another command, which says more of what is meant.
async fn open(session: &Session, name: &ClusterName, refused: &[Availability]) -> Result<(), Failure> {
    let now: Described = session.client.get(&path::cluster(name)).await?;
    if refused.contains(&now.availability) {
        let command = match now.availability {
            Availability::Disabled => "enable",
            _ => "uncordon",
        };
        let standing = now.availability.as_str();
        let failure = Failure::new(ExitCode::Failed, format!("cluster `{name}` is {standing}"));
        return Err(failure.hint(format!("`tombolo cluster {command} {name}` lets it take jobs again")));
    }
    change(session, name, Availability::Open, false).await
}

/// What has become of a cluster, for people.
fn changed(cluster: &Described) -> String {
    let name = &cluster.name;
    let left = match cluster.attempts {
        0 => "it has none".to_owned(),
        1 => "the one that it has goes on".to_owned(),
        more => format!("the {more} that it has go on"),
    };
    match cluster.availability {
        Availability::Open if cluster.connected => format!("Cluster `{name}` takes jobs."),
        Availability::Open => format!("Cluster `{name}` takes jobs when its agent has connected."),
        Availability::Cordoned => format!("Cluster `{name}` is cordoned: it takes no new jobs; {left}."),
        Availability::Draining if drain::is_over(cluster) => {
            format!("Cluster `{name}` is drained: nothing is left there that a job needs, and it can be removed.")
        }
        Availability::Draining => format!(
            "Cluster `{name}` is being drained: it takes no new jobs; {}.",
            drain::left(cluster)
        ),
        Availability::Disabled => format!("Cluster `{name}` is disabled: it has no jobs, and its agent is refused."),
    }
}

/// Installs the agent's chart, and comes back when the cluster has joined.
fn helm_line(invite: &str) -> String {
    format!(
        "helm upgrade --install tombolo-agent helm/tombolo-agent --namespace tombolo-agent --create-namespace --wait --set-string invite.value={invite}"
    )
}

fn show_invite(invite: &Invite, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json | Format::Yaml => render::print_value(format, invite),
        Format::Name => render::line(&invite.invite),
        Format::Table | Format::Wide => {
            let labels = render::labels(&invite.labels);
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!(" with the labels {labels}")
            };
            render::line(&format!(
                "Cluster `{}`{labels} may join once, until {}.",
                invite.name, invite.expires_at
            ))?;
            render::line("On Kubernetes, with a checkout of Tombolo's version and the context of the cluster:\n")?;
            render::line(&format!("  {}\n", helm_line(&invite.invite)))?;
            render::line("On any other machine, with a configuration as in config/agent.toml:\n")?;
            render::line(&format!(
                "  TOMBOLO_AGENT_INVITE={} tombolo agent --config agent.toml",
                invite.invite
            ))
        }
    }
}
