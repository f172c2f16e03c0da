//! The courier: the only process of a pod that talks to the agent.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tombolo_identity::transport;
use tombolo_runtime::shutdown::on_signals;

use super::attend::{Attendants, Way};
use super::direct::Direct;
use super::observer::{Observer, Over, Seen, Wish};
use super::proxy::{self, Proxy};
use super::session::Session;
use super::tenure::Tenure;
use super::{Places, Settings, settings};

/// How long a courier that is asked to end waits for a supervisor that lives: it is asked to end too, and has its last word to say.
/// The system's own patience with a pod is shorter.
const LAST_WORD: Duration = Duration::from_secs(60 * 60);
/// Threads that read the log.
const BLOCKING_THREADS: usize = 2;
/// How long the log of a supervisor that died is shipped: its pod fails then.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Why a courier could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not know what it must.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] tombolo_identity::tls::Error),
    /// The system does not play along.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// Its socket.
    #[error("cannot listen at {}: {source}", .path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is nobody left to work for.
    #[error("the supervisor of the command died before it had finished")]
    Abandoned,
}

/// The courier as a process: [`run`], asked to end by the usual signals.
///
/// # Errors
/// See [`Error`].
pub fn main(settings: &Settings, places: &Places) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(Error::Runtime)?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = async {
            if let Err(error) = on_signals(stop.clone()).await {
                tracing::warn!(%error, "signals are not heard");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = run(settings, places, stop.clone()) => ended,
            () = signals => Ok(()),
        }
    });
    // Nothing that reads a file of the pod holds up the end.
    runtime.shutdown_background();
    ended
}

/// Works until the supervisor has finished, or until `stop` if there is none.
///
/// # Errors
/// See [`Error`].
pub async fn run(settings: &Settings, places: &Places, stop: CancellationToken) -> Result<(), Error> {
    let authorization = settings.authorization()?;
    let addresses = std::slice::from_ref(&settings.agent);
    let tls = settings.tls()?;
    let agent = transport::connect_lazy(addresses, tls.clone(), &transport::Proxy::none());
    let (wish, wishes) = watch::channel(Wish::default());
    let observer = Observer::new(places, wishes);
    let seen = observer.seen();
    let folder = places.attempt();
    let way = Way {
        agent: settings.agent.clone(),
        tls,
        authorization: authorization.clone(),
    };
    let attendants = Attendants::new(way, folder.clone());
    let tenure = Tenure::new(agent.clone(), authorization.clone(), wish.clone());
    let session = Session::new(
        agent.clone(),
        authorization.clone(),
        &folder,
        seen.clone(),
        wish,
        attendants,
    );
    let direct = Direct::new(agent.clone(), &authorization);
    let proxy = Proxy::new(agent, authorization, session.reported(), direct.clone());
    let path = places.courier();
    let listener = proxy::listen(&path).map_err(|source| Error::Listen { path, source })?;
    let mut ending = seen.clone();
    let observed = async {
        observer.run().await;
        match ending.borrow_and_update().over {
            Some(Over::Finished) => Ok(()),
            _ => {
                sleep(LAST_LINES).await;
                Err(Error::Abandoned)
            }
        }
    };
    let ended = tokio::select! {
        ended = observed => ended,
        () = session.run() => Ok(()),
        () = tenure.run() => Ok(()),
        () = proxy.serve(listener) => Ok(()),
        () = dismissed(places, seen, stop) => Ok(()),
    };
    direct.tell();
    ended
}

/// When somebody has asked for the courier's end and nobody needs it any more.
async fn dismissed(places: &Places, seen: watch::Receiver<Seen>, stop: CancellationToken) {
    stop.cancelled().await;
    // The watcher tells when the supervisor has ended.
    let is_needed = places.attempt().lock().exists() && seen.borrow().over.is_none();
    if is_needed {
        sleep(LAST_WORD).await;
    }
}
