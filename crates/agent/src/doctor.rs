//! Looks whether an agent can work with its configuration: what `tombolo agent doctor` shows. It joins nothing, runs beside an
//! agent that works, and leaves nothing behind.

use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;
use tombolo_identity::credentials::Credentials;
use tombolo_identity::member::Member;
use tombolo_identity::tls::{self, ClientTls, Identity};
use tombolo_identity::transport::{Address, Proxy, connect};
use tombolo_runtime::clock;
use tombolo_runtime::configuration::Invalid;
use tombolo_transfer::store::examine::{self, Claim, Step};
use tombolo_transfer::store::{Owner, Patience};

use crate::configuration::{Checked, Configuration, Store};
use crate::executor::kubernetes::cluster::{Cluster, Others};
use crate::executor::kubernetes::settings::Settings;
use crate::join;

/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it has to be.
    Good,
    /// Nobody can tell yet.
    Unknown,
    /// The agent cannot work like this.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// How it is.
    pub state: State,
    /// What was seen, or what is wrong and what to do.
    pub detail: String,
}

impl Finding {
    fn new(what: impl Into<String>, state: State, detail: impl ToString) -> Self {
        Self {
            what: what.into(),
            state,
            detail: detail.to_string(),
        }
    }

    fn of<T: ToString, E: ToString>(what: &str, result: Result<T, E>) -> Self {
        match result {
            Ok(detail) => Self::new(what, State::Good, detail),
            Err(error) => Self::new(what, State::Bad, error),
        }
    }
}

/// Looks at everything, each for itself: one fault does not hide the others.
pub async fn examine(configuration: &Configuration) -> Vec<Finding> {
    let checked = match configuration.validate() {
        Ok(checked) => checked,
        Err(faults) => return faults.all().iter().map(invalid).collect(),
    };
    let mut findings = vec![Finding::new("configuration", State::Good, "it is valid")];
    let identity = Credentials::open(&configuration.data_folder.join("identity"));
    let identity = match identity {
        Ok(Some(credentials)) => {
            findings.push(certificate(&credentials));
            let member = credentials.identity().member.clone();
            Identity::new(credentials).ok().map(|identity| (identity, member))
        }
        Ok(None) => {
            findings.push(not_joined(&checked));
            None
        }
        Err(error) => {
            findings.push(Finding::new("identity", State::Bad, error));
            None
        }
    };
    findings.push(Finding::of(
        "master",
        master(configuration, &checked, identity.as_ref().map(|(identity, _)| identity)).await,
    ));
    match (&identity, &checked.invite) {
        (Some((identity, member)), _) => findings.extend(own_store(configuration, identity, member).await),
        (None, Some(invite)) => {
            let owner = Owner {
                trust_domain: invite.domain.to_string(),
                member: invite.cluster.to_string(),
            };
            findings.extend(store(configuration, &owner, Claim::Later).await);
        }
        (None, None) => findings.push(Finding::new(
            "store",
            State::Unknown,
            "whose it will be is known by an invite",
        )),
    }
    if let Some(settings) = &checked.kubernetes {
        kubernetes(settings, &mut findings).await;
    }
    findings
}

fn invalid(fault: &Invalid) -> Finding {
    let Invalid { key, reason } = fault;
    Finding::new(format!("configuration: {key}"), State::Bad, reason)
}

fn certificate(credentials: &Credentials) -> Finding {
    let member = credentials.identity().member.to_string();
    let left = credentials
        .chain
        .not_after()
        .0
        .saturating_sub(clock::now().wall_milliseconds);
    if left == 0 {
        let ended = format!("the certificate of {member} has ended; make an invite with `tombolo cluster invite`");
        return Finding::new("identity", State::Bad, ended);
    }
    let left = humantime::format_duration(Duration::from_secs(left / 60_000 * 60));
    Finding::new("identity", State::Good, format!("{member}, for another {left}"))
}

fn not_joined(checked: &Checked) -> Finding {
    match &checked.invite {
        Some(invite) => {
            let words = format!(
                "not joined yet; the agent will join as `{}` with its invite",
                invite.cluster
            );
            Finding::new("identity", State::Unknown, words)
        }
        None => Finding::new("identity", State::Bad, join::Error::NoInvite),
    }
}

/// Speaks TLS with the master, each convinced of who the other is.
async fn master(
    configuration: &Configuration,
    checked: &Checked,
    identity: Option<&Identity>,
) -> Result<String, String> {
    let (addresses, tls) = way(configuration, checked, identity)?;
    let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let proxy = Proxy::from_environment();
    match timeout(ANSWER_WITHIN, connect(&addresses, tls, &proxy)).await {
        Ok(Ok(_)) => Ok(format!("answers at {}", names.join(" or "))),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "does not answer within {ANSWER_WITHIN:?} at {}",
            names.join(" or ")
        )),
    }
}

fn way(
    configuration: &Configuration,
    checked: &Checked,
    identity: Option<&Identity>,
) -> Result<(Vec<Address>, ClientTls), String> {
    let words = |error: &dyn ToString| error.to_string();
    let own = Some(checked.master.clone()).filter(|addresses| !addresses.is_empty());
    match (identity, &checked.invite) {
        (Some(identity), _) => {
            let folder = configuration.data_folder.join("identity");
            let known = || join::known_addresses(&folder).map_err(|error| words(&error));
            let tls = identity.client(&Member::Master).map_err(|error| words(&error))?;
            Ok((own.map_or_else(known, Ok)?, tls))
        }
        (None, Some(invite)) => {
            let invited = invite.addresses.iter().filter_map(|text| Address::parse(text).ok());
            let tls = tls::joining(invite).map_err(|error| words(&error))?;
            Ok((own.unwrap_or_else(|| invited.collect()), tls))
        }
        (None, None) => Err("without an identity or an invite nobody can tell whether it is the right one".to_owned()),
    }
}

async fn own_store(configuration: &Configuration, identity: &Identity, member: &Member) -> Vec<Finding> {
    let Member::Cluster(name) = member else {
        let words = "the certificate in the data folder is not a cluster's";
        return vec![Finding::new("store", State::Bad, words)];
    };
    let owner = Owner {
        trust_domain: identity.trust().domain().to_string(),
        member: name.to_string(),
    };
    store(configuration, &owner, Claim::Now).await
}

/// Everything that the agent does there, each for itself.
async fn store(configuration: &Configuration, owner: &Owner, claim: Claim) -> Vec<Finding> {
    let patience = Patience {
        request: ANSWER_WITHIN,
        operation: ANSWER_WITHIN,
    };
    let Store { location, access } = &configuration.store;
    let steps = examine::examine(location, access, owner, claim, patience).await;
    let finding = |step: Step| Finding::of(&format!("store: {}", step.what), step.outcome);
    steps.into_iter().map(finding).collect()
}

/// The API server, every right, and the nodes.
async fn kubernetes(settings: &Settings, findings: &mut Vec<Finding>) {
    let cluster = match Cluster::connect(None).await {
        Ok(cluster) => cluster,
        Err(error) => return findings.push(Finding::new("kubernetes", State::Bad, error)),
    };
    match cluster.rights(settings).await {
        Ok(rights) => {
            for (right, denied) in rights {
                findings.push(match denied {
                    None => Finding::new(right.to_string(), State::Good, "allowed"),
                    Some(_) => {
                        let rule = format!("add to the agent's Role: {}", right.as_rule());
                        Finding::new(right.to_string(), State::Bad, rule)
                    }
                });
            }
        }
        Err(error) => return findings.push(Finding::new("kubernetes", State::Bad, error)),
    }
    findings.push(match cluster.capacity(settings, &mut Others::default()).await {
        Ok(Some(capacity)) => {
            let (total, count) = (capacity.total, capacity.nodes.count);
            let words = format!(
                "{count} for jobs, with {} m of processors and {} of memory",
                total.cpu_milli,
                bytesize::ByteSize::b(total.memory_bytes)
            );
            let state = if count == 0 { State::Bad } else { State::Good };
            Finding::new("nodes", state, words)
        }
        Ok(None) => Finding::new(
            "nodes",
            State::Unknown,
            "the agent may not look at them; Kubernetes alone says where a job has room (`rbac.nodes` of the chart)",
        ),
        Err(error) => Finding::new("nodes", State::Bad, error),
    });
}
