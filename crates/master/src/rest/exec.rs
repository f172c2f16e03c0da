//! Other commands beside those of running jobs.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use axum::{Extension, RequestPartsExt};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tombolo_api::exec::{FRAME_BYTES, PROTOCOL, StartExec};
use tombolo_api::problem::Code;
use tombolo_core::build::JobState;
use tombolo_core::id::AttemptId;
use tombolo_core::name::{ClusterName, JobName};
use tombolo_core::session::Capability;

use super::audit::Remote;
use super::authorization::{Developer, InProject};
use super::error::Problems;
use super::extract::Path;
use super::job::{FoundJob, JobPath, find_job};
use super::{Application, Error};
use crate::exec::{Caller, Session, Subject, Target};

/// How long the connection may take to become a WebSocket after that was agreed on.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(10);
/// What the socket reads and writes at once; a piece of data fits.
const BUFFER_BYTES: usize = 64 * 1024;

/// Another command beside a job's own
///
/// A WebSocket (subprotocol `exec.v1.tombolo.dev`). Its messages are binary frames: a byte that says which, and its content; the first
/// is the client's `StartExec`. The command runs in the job's working directory, with its variables, as its user. It ends when the
/// connection does, and with the job.
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}/exec", tag = "jobs", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The job's name, with `/` written as `%2F`"),
    ),
    responses((status = 101, description = "The frames of the session", body = StartExec), Problems)
)]
pub(super) async fn exec_job(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
    Path(path): Path<JobPath>,
    remote: Option<Extension<Remote>>,
    upgrade: Upgrade,
) -> Result<Response, Error> {
    let found = find_job(&state, &access.project, &path).await?;
    found.refuse_array("command")?;
    let (attempt, cluster) = running(&state, &found).await?;
    let exec = state.exec.clone();
    let place = exec.admit(found.build.id)?;
    let target = Target {
        project: access.project.name,
        number: found.build.number,
        job: found.node.name,
        attempt,
        cluster,
    };
    let caller = Caller {
        token: access.caller,
        remote: remote.map(|remote| remote.0.0),
    };
    let response = upgrade.response();
    let (clock, stopping, sessions) = (state.clock.clone(), state.stopping.clone(), exec.clone());
    exec.spawn(async move {
        let Some(socket) = upgrade.socket().await else { return };
        let subject = Subject {
            exec: sessions,
            _place: place,
            target,
            caller,
            clock,
        };
        let session = Session {
            subject,
            socket,
            stopping,
        };
        Box::pin(session.run()).await;
    })?;
    Ok(response)
}

/// The attempt whose command runs, and where; else says why there is none.
async fn running(state: &Application, found: &FoundJob) -> Result<(AttemptId, ClusterName), Error> {
    let FoundJob { node, status, .. } = found;
    let (JobState::Running, Some(cluster)) = (status.state, &status.cluster) else {
        return Err(not_running(&node.name, status.state));
    };
    let attempt = AttemptId {
        job: node.id,
        epoch: status.epoch,
    };
    let name = cluster.clone();
    let agent = state.handle.query(move |control| {
        let view = control.cluster(&name)?;
        let connected = view.session.is_some();
        let agent = view.agent.filter(|_| connected)?;
        Some((agent.version.clone(), agent.capabilities.contains(&Capability::Exec)))
    });
    match agent.await? {
        Some((_, true)) => Ok((attempt, cluster.clone())),
        Some((version, false)) => {
            let detail = format!(
                "the agent of cluster `{cluster}` (version {version}) cannot run commands beside those of jobs"
            );
            Err(Error::new(Code::Conflict, detail).with_hint("bring the agent up to the master's version"))
        }
        None => {
            let detail = format!(
                "the agent of cluster `{cluster}`, where job `{}` runs, is not connected",
                node.name
            );
            Err(Error::new(Code::Unavailable, detail)
                .with_hint("see `tombolo cluster show`; the job goes on meanwhile"))
        }
    }
}

fn not_running(job: &JobName, state: JobState) -> Error {
    let (detail, hint) = match state {
        JobState::Terminal(end) => (
            format!("job `{job}` is over: {end}"),
            "`tombolo logs` shows what it printed, `tombolo outputs` what it left behind",
        ),
        JobState::Publishing => (
            format!("the command of job `{job}` has ended: it is `{state}`"),
            "`tombolo logs` shows what it printed",
        ),
        _ => (
            format!("job `{job}` does not run yet: it is `{state}`"),
            "`tombolo explain` says what it waits for",
        ),
    };
    Error::new(Code::Conflict, detail).with_hint(hint)
}

/// A request that wants to become a WebSocket.
pub(super) struct Upgrade {
    accept: HeaderValue,
    upgrade: OnUpgrade,
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let refused = |what: &str| {
            Error::new(
                Code::InvalidRequest,
                format_args!("this path is a WebSocket, and {what}"),
            )
            .with_hint(format_args!(
                "use `tombolo exec`, or a WebSocket client with the subprotocol `{PROTOCOL}`"
            ))
        };
        let headers = &parts.headers;
        if !has(headers, header::CONNECTION, "upgrade") || !has(headers, header::UPGRADE, "websocket") {
            return Err(refused("the request is no handshake of HTTP/1.1 for one"));
        }
        if !has(headers, header::SEC_WEBSOCKET_VERSION, "13") {
            return Err(refused("its version is not 13"));
        }
        if !has(headers, header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL) {
            return Err(refused("the request does not name its subprotocol"));
        }
        let key = headers
            .get(header::SEC_WEBSOCKET_KEY)
            .map(|key| derive_accept_key(key.as_bytes()));
        let accept = key.and_then(|key| HeaderValue::from_str(&key).ok());
        let accept = accept.ok_or_else(|| refused("the request has no key"))?;
        let upgrade = parts.extract::<Extension<OnUpgrade>>().await;
        let Extension(upgrade) = upgrade.map_err(|_| refused("the connection cannot become one"))?;
        Ok(Self { accept, upgrade })
    }
}

fn has(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut words = values.flat_map(|value| value.split(','));
    words.any(|found| found.trim().eq_ignore_ascii_case(word))
}

impl Upgrade {
    fn response(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        for (name, value) in [
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, self.accept.clone()),
            (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL)),
        ] {
            response.headers_mut().insert(name, value);
        }
        response
    }

    async fn socket(self) -> Option<WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>> {
        let upgraded = tokio::time::timeout(UPGRADE_DEADLINE, self.upgrade).await.ok()?;
        let stream = TokioIo::new(upgraded.ok()?);
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(4 * FRAME_BYTES)
            .max_message_size(Some(FRAME_BYTES))
            .max_frame_size(Some(FRAME_BYTES));
        Some(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await)
    }
}
