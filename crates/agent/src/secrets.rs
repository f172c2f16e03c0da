//! Values of secrets on their way to a job. They are in memory only: what the agent writes to its disk has their names.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use tombolo_core::id::AttemptId;
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::bulk_client::BulkClient;
use tonic::Code;
use tonic::transport::Channel;

/// The most bytes of all values of an attempt: more than a system takes as the environment of a process.
const READ_LIMIT: u64 = 16 * 1024 * 1024;

/// How long the master may take to answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// The values that an attempt is given, by the variables that are to have them. `Debug` shows the variables only.
#[derive(Clone, Default)]
pub struct Values(BTreeMap<String, SecretString>);

impl std::fmt::Debug for Values {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromIterator<(String, String)> for Values {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(values: T) -> Self {
        let values = values.into_iter();
        Self(values.map(|(variable, value)| (variable, value.into())).collect())
    }
}

impl Values {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The variables with their values: for the command's environment, and for the way there.
    pub(crate) fn exposed(&self) -> BTreeMap<String, String> {
        let exposed = self
            .0
            .iter()
            .map(|(variable, value)| (variable.clone(), value.expose_secret().to_owned()));
        exposed.collect()
    }

    /// What [`Self::read`] takes.
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let text = serde_json::to_vec(&self.exposed());
        Zeroizing::new(text.expect("texts by texts are always JSON"))
    }

    /// Reads values to the end.
    ///
    /// # Errors
    /// If they are not whole.
    pub(crate) fn read(from: impl Read) -> io::Result<Self> {
        let mut text = Zeroizing::new(Vec::new());
        from.take(READ_LIMIT).read_to_end(&mut text)?;
        // An error would quote what is there.
        let values = serde_json::from_slice::<BTreeMap<String, String>>(&text)
            .map_err(|_| io::Error::new(io::ErrorKind::UnexpectedEof, "they are not whole"))?;
        Ok(values.into_iter().collect())
    }

    /// Whether these variables have values, and no others.
    pub(crate) fn are_of(&self, variables: &[String]) -> bool {
        variables.len() == self.0.len() && variables.iter().all(|variable| self.0.contains_key(variable))
    }

    /// The values.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(ExposeSecret::expose_secret)
    }
}

/// Why there are no values.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There will not be any: the secret was deleted, say.
    #[error("{0}")]
    Denied(String),
    /// Nobody can say now.
    #[error("the master does not say the secrets: {0}")]
    Unavailable(String),
}

/// Who knows the values.
pub trait Source: Send + Sync + 'static {
    /// The values that the attempt's job refers to.
    ///
    /// # Errors
    /// See [`Error`].
    fn of(&self, attempt: AttemptId) -> BoxFuture<'_, Result<Values, Error>>;
}

/// The master.
#[derive(Clone)]
pub struct Master {
    bulk: Channel,
}

impl Master {
    /// At the other end of this connection.
    pub const fn new(bulk: Channel) -> Self {
        Self { bulk }
    }
}

impl Master {
    async fn ask(&self, attempt: AttemptId) -> Result<Values, Error> {
        let request = wire::FindSecretsRequest {
            attempt: Some(attempt.into()),
        };
        let mut client = BulkClient::new(self.bulk.clone());
        match timeout(DEADLINE, client.find_secrets(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner().variables.into_iter().collect()),
            Ok(Err(status)) => Err(match status.code() {
                Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::DataLoss
                | Code::OutOfRange
                | Code::ResourceExhausted
                | Code::Unimplemented => Error::Denied(status.message().to_owned()),
                _ => Error::Unavailable(status.message().to_owned()),
            }),
            Err(_) => Err(Error::Unavailable("it takes too long".to_owned())),
        }
    }
}

impl Source for Master {
    fn of(&self, attempt: AttemptId) -> BoxFuture<'_, Result<Values, Error>> {
        self.ask(attempt).boxed()
    }
}
