//! How a cluster gets its identity: read from the data folder, or by joining with an invite.

use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep, timeout};
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_identity::credentials::{self, Chain, Credentials};
use tombolo_identity::invite::Invite;
use tombolo_identity::key::{self, PrivateKey};
use tombolo_identity::member::Member;
use tombolo_identity::tls::{self, Identity};
use tombolo_identity::transport::{Address, Proxy, connect};
use tombolo_identity::trust::{self, Trust};
use tombolo_identity::{private_file, transport};
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::joining_client::JoiningClient;
use tombolo_runtime::clock;
use tonic::{Code, Status};

use crate::pauses::Pauses;

/// The file beside the credentials that says where the master is, one address a line.
const ADDRESSES_FILE: &str = "master";
/// The file beside them that holds the digest of the invite's secret that was used.
const INVITE_FILE: &str = "invite";
/// How long the answer to one call may take; the master commits before it answers.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// The pauses between attempts to reach the master.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first start, without an invite.
    #[error(
        "this cluster has not joined yet, and there is no invite: make one with `tombolo cluster invite NAME` and give it as \
         the variable TOMBOLO_AGENT_INVITE"
    )]
    NoInvite,
    /// The certificate has ended, and there is no invite to get another one.
    #[error(
        "the certificate of cluster {0} has ended because the master was not reached for too long: make an invite with \
         `tombolo cluster invite {0}` and give it as the variable TOMBOLO_AGENT_INVITE"
    )]
    Ended(ClusterName),
    /// The master does not take the invite.
    #[error(
        "the master refuses the invite for cluster {cluster}: {reason}. Make another one with `tombolo cluster invite {cluster}`"
    )]
    Refused {
        /// Whom it was made for.
        cluster: ClusterName,
        /// What the master said.
        reason: String,
    },
    /// The master was not reached.
    #[error("cannot join within {}: {reason}", humantime::format_duration(*.within))]
    Unreachable {
        /// How long it was tried.
        within: Duration,
        /// What went wrong at last.
        reason: String,
    },
    /// What the master gave cannot be used.
    #[error("the master's answer cannot be used: {0}")]
    Answer(String),
    /// Neither invite nor folder nor configuration says where the master is.
    #[error("nothing says where the master is: set `master` in the configuration (or TOMBOLO_AGENT_MASTER)")]
    NoAddress,
    /// The credentials in the folder cannot be used.
    #[error(transparent)]
    Credentials(#[from] credentials::Error),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] key::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A file of the folder.
    #[error(transparent)]
    File(#[from] private_file::Error),
}

/// What it takes to join or to come back.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The folder with the credentials; made if it does not exist.
    pub folder: &'a Path,
    /// Where the configuration says that the master is; empty if it does not.
    pub master: &'a [Address],
    /// The right to join.
    pub invite: Option<&'a Invite>,
    /// The way out.
    pub proxy: &'a Proxy,
    /// How long to try to reach the master.
    pub patience: Duration,
}

/// What a cluster has when it has joined.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Who it is.
    pub identity: Identity,
    /// Its name.
    pub cluster: ClusterName,
    /// Where the master is, in the order to try.
    pub addresses: Vec<Address>,
}

/// The identity in the folder; joins with the invite if there is none, if its certificate has ended, or if the invite is a new
/// one for the same cluster.
///
/// # Errors
/// See [`Error`].
pub async fn open(request: Request<'_>) -> Result<Membership, Error> {
    let folder = request.folder;
    let found = Credentials::open(folder)?;
    let credentials = match (found, request.invite) {
        (Some(credentials), invite) if now() < credentials.chain.not_after() => match invite {
            Some(invite) if is_new(&credentials, invite, folder)? => join_anew(&request, invite, credentials).await?,
            _ => credentials,
        },
        (Some(credentials), None) => return Err(Error::Ended(cluster(&credentials)?)),
        (None, None) => return Err(Error::NoInvite),
        (_, Some(invite)) => join(&request, invite).await?,
    };
    let cluster = cluster(&credentials)?;
    if let Some(invite) = request.invite.filter(|invite| invite.cluster != cluster) {
        tracing::warn!(
            %cluster, invited = %invite.cluster, folder = %folder.display(),
            "the invite is not used: this folder belongs to a cluster of another name"
        );
    }
    let addresses = match request.master {
        [] => known_addresses(folder)?,
        addresses => addresses.to_vec(),
    };
    Ok(Membership {
        identity: Identity::new(credentials)?,
        cluster,
        addresses,
    })
}

/// Whether the invite is another one for the same cluster than the folder's identity came from.
fn is_new(credentials: &Credentials, invite: &Invite, folder: &Path) -> Result<bool, Error> {
    if cluster(credentials)? != invite.cluster {
        return Ok(false);
    }
    let used = private_file::read(&folder.join(INVITE_FILE))?;
    Ok(used.is_none_or(|used| used.trim() != invite.secret_digest().to_string()))
}

/// Uses an invite although there is an identity: the cluster was removed and invited again, and the old certificate is of no use.
/// An invite that is not taken does no harm: it may be left over from long ago.
async fn join_anew(request: &Request<'_>, invite: &Invite, before: Credentials) -> Result<Credentials, Error> {
    match join(request, invite).await {
        Err(error @ Error::Refused { .. }) => {
            tracing::warn!(%error, "the invite is not used: going on with the identity in the folder");
            Ok(before)
        }
        joined => joined,
    }
}

fn now() -> Timestamp {
    Timestamp(clock::now().wall_milliseconds)
}

fn cluster(credentials: &Credentials) -> Result<ClusterName, Error> {
    match &credentials.identity().member {
        Member::Cluster(name) => Ok(name.clone()),
        Member::Master => Err(Error::Answer("the certificate is not a cluster's".to_owned())),
    }
}

/// Where the invite said that the master is.
pub(crate) fn known_addresses(folder: &Path) -> Result<Vec<Address>, Error> {
    let text = private_file::read(&folder.join(ADDRESSES_FILE))?.unwrap_or_default();
    let addresses: Vec<Address> = text.lines().filter_map(|line| Address::parse(line).ok()).collect();
    if addresses.is_empty() {
        return Err(Error::NoAddress);
    }
    Ok(addresses)
}

async fn join(request: &Request<'_>, invite: &Invite) -> Result<Credentials, Error> {
    // Kept before it is shown: if the answer is lost, the same key asks again and is let in.
    let key = Credentials::key_in(request.folder)?;
    let addresses: Vec<Address> = match request.master {
        [] => invite
            .addresses
            .iter()
            .filter_map(|text| Address::parse(text).ok())
            .collect(),
        addresses => addresses.to_vec(),
    };
    let began = Instant::now();
    let mut pauses = Pauses::new(PAUSES);
    loop {
        let reason = match attempt(request, invite, &key, &addresses).await {
            Ok(credentials) => {
                let text: Vec<String> = invite.addresses.clone();
                private_file::write(&request.folder.join(ADDRESSES_FILE), text.join("\n").as_bytes())?;
                credentials.save(request.folder)?;
                let used = invite.secret_digest().to_string();
                private_file::write(&request.folder.join(INVITE_FILE), used.as_bytes())?;
                tracing::info!(cluster = %invite.cluster, "joined");
                return Ok(credentials);
            }
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(reason)) => reason,
        };
        let pause = pauses.next();
        if began.elapsed() + pause > request.patience {
            return Err(Error::Unreachable {
                within: request.patience,
                reason,
            });
        }
        tracing::warn!(%reason, "cannot join yet");
        sleep(pause).await;
    }
}

enum Failure {
    Final(Error),
    Passing(String),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

async fn attempt(
    request: &Request<'_>,
    invite: &Invite,
    key: &PrivateKey,
    addresses: &[Address],
) -> Result<Credentials, Failure> {
    let unreachable = |error: transport::Error| Failure::Passing(error.to_string());
    let channel = connect(addresses, tls::joining(invite)?, request.proxy)
        .await
        .map_err(unreachable)?;
    let call = wire::JoinRequest {
        secret: invite.secret.expose_secret().to_vec(),
        signing_request: key.request()?,
    };
    let mut client = JoiningClient::new(channel);
    let answer = timeout(CALL_DEADLINE, client.join(call)).await;
    let answer = answer.map_err(|_| Failure::Passing("the master did not answer in time".to_owned()))?;
    let answer = answer.map_err(|status| refusal(invite, &status))?.into_inner();
    let given = answer
        .credentials
        .ok_or_else(|| Error::Answer("it has no credentials".to_owned()))?;
    let (chain, trust) = taken(given)?;
    let credentials = Credentials::new(key.clone(), chain, trust)?;
    let expected = Member::Cluster(invite.cluster.clone());
    if credentials.identity().member != expected || credentials.trust.domain() != &invite.domain {
        let reason = format!(
            "the certificate is for {}, not for {expected}",
            credentials.identity().member
        );
        return Err(Error::Answer(reason).into());
    }
    Ok(credentials)
}

fn refusal(invite: &Invite, status: &Status) -> Failure {
    match status.code() {
        Code::PermissionDenied | Code::NotFound | Code::Unauthenticated => Failure::Final(Error::Refused {
            cluster: invite.cluster.clone(),
            reason: status.message().to_owned(),
        }),
        Code::InvalidArgument | Code::Unimplemented => Failure::Final(Error::Answer(status.message().to_owned())),
        _ => Failure::Passing(format!("the master says: {}", status.message())),
    }
}

/// A certificate chain and whom to believe, from the wire.
///
/// # Errors
/// [`Error::Answer`] if it cannot be read.
pub(crate) fn taken(given: wire::Credentials) -> Result<(Chain, Trust), Error> {
    let chain = Chain::new(given.chain).map_err(|error| Error::Answer(error.to_string()))?;
    let unfit = |error: trust::Error| Error::Answer(error.to_string());
    let trust = Trust::new(given.roots, vec![given.grant_key]).map_err(unfit)?;
    Ok((chain, trust))
}

#[cfg(test)]
mod tests;
