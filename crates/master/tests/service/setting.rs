//! A master and a user.

use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use http::Method;
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tombolo_api::{Code, CreatedToken, Problem};
use tombolo_master::{Configuration, Running};
use url::Url;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Master {
    pub(crate) configuration: Configuration,
    pub(crate) user: User,
    pub(crate) agents: std::net::SocketAddr,
    running: Option<(
        tokio::task::JoinHandle<Result<(), tombolo_master::Error>>,
        CancellationToken,
    )>,
    folder: Option<TempDir>,
}

#[derive(Clone)]
pub(crate) struct User {
    client: Client,
    /// Of HTTP/1.1 alone, which is the one whose connections can become WebSockets here.
    client_for_upgrades: Client,
    base: Url,
    token: Option<String>,
}

fn prepare_process() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().unwrap();
        crate::audit::install();
    });
}

impl Master {
    pub(crate) async fn start() -> Self {
        Self::start_changed(|_| {}).await
    }

    /// With settings of its own.
    pub(crate) async fn start_changed(change: impl FnOnce(&mut Configuration)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut configuration = Configuration::in_folder(folder.path().join("data"));
        configuration.agents.listen = "127.0.0.1:0".parse().unwrap();
        configuration.users.listen = "127.0.0.1:0".parse().unwrap();
        configuration.leases.lease = Duration::from_secs(6);
        configuration.leases.heartbeat = Duration::from_secs(1);
        change(&mut configuration);
        let mut master = Self::start_with(configuration).await;
        master.folder = Some(folder);
        master
    }

    pub(crate) async fn start_with(configuration: Configuration) -> Self {
        prepare_process();
        let stopping = CancellationToken::new();
        let running: Running = tombolo_master::start(configuration.clone(), stopping.clone())
            .await
            .unwrap();
        let agents = running.agents_address();
        let base = format!("https://localhost:{}", running.users_address().port())
            .parse()
            .unwrap();
        let token = std::fs::read_to_string(running.admin_token())
            .unwrap()
            .trim()
            .to_owned();
        let trust = Certificate::from_pem(&std::fs::read(running.trust()).unwrap()).unwrap();
        let builder = || Client::builder().tls_certs_only([trust.clone()]).no_proxy();
        let (client, client_for_upgrades) = (builder().build().unwrap(), builder().http1_only().build().unwrap());
        Self {
            configuration,
            user: User {
                client,
                client_for_upgrades,
                base,
                token: Some(token),
            },
            agents,
            running: Some((tokio::spawn(running.wait()), stopping)),
            folder: None,
        }
    }

    /// Stops it and starts it again on the same data.
    pub(crate) async fn restart(mut self) -> Self {
        self.stop().await;
        let mut next = Self::start_with(self.configuration.clone()).await;
        next.folder = self.folder.take();
        next
    }

    pub(crate) async fn stop(&mut self) {
        if let Some((running, stopping)) = self.running.take() {
            stopping.cancel();
            tokio::time::timeout(DEADLINE, running).await.unwrap().unwrap().unwrap();
        }
    }

    /// Where its data are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// A user with a new token.
    pub(crate) async fn user_with(&self, role: &str, project: Option<&str>) -> User {
        let name = format!("{role} {}", project.unwrap_or("everywhere"));
        let request = json!({"name": name, "role": role, "project": project});
        let created: CreatedToken = self.user.post("/api/v1/tokens", request).await;
        self.user.with_token(Some(created.secret))
    }
}

impl User {
    pub(crate) fn with_token(&self, token: Option<String>) -> Self {
        Self { token, ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_by(&self.client, method, path)
    }

    /// A request by which the connection is to become another one.
    pub(crate) fn upgrade(&self, path: &str) -> RequestBuilder {
        self.request_by(&self.client_for_upgrades, Method::GET, path)
    }

    fn request_by(&self, client: &Client, method: Method, path: &str) -> RequestBuilder {
        let request = client.request(method, self.base.join(path).unwrap()).timeout(DEADLINE);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        expect(self.send(Method::GET, path, None).await).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: Value) -> T {
        expect(self.send(Method::POST, path, Some(body)).await).await
    }

    pub(crate) async fn patch<T: DeserializeOwned>(&self, path: &str, body: Value) -> T {
        expect(self.send(Method::PATCH, path, Some(body)).await).await
    }

    pub(crate) async fn delete(&self, path: &str) -> StatusCode {
        self.send(Method::DELETE, path, None).await.status()
    }

    pub(crate) async fn refused(&self, method: Method, path: &str, body: Option<Value>) -> Problem {
        problem(self.send(method, path, body).await).await
    }
}

async fn expect<T: DeserializeOwned>(response: Response) -> T {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(crate) async fn problem(response: Response) -> Problem {
    let status = response.status();
    let media_type = response
        .headers()
        .get("content-type")
        .map(|value| value.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    assert_eq!(
        media_type.as_deref(),
        Some("application/problem+json"),
        "{status}: {text}"
    );
    let problem: Problem = serde_json::from_str(&text).unwrap();
    assert_eq!(problem.status, status.as_u16());
    assert_ne!(problem.code, Code::Unknown);
    assert!(!problem.hint.is_empty(), "{text}");
    problem
}
