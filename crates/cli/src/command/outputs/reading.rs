//! Downloads that break off, and are gone on with where they broke.

use std::time::Duration;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::header::{ETAG, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};

use crate::client::Client;
use crate::failure::{ExitCode, Failure};

/// How often it is gone on with, without a byte in between.
const ATTEMPTS: u32 = 5;
/// How long to wait before that.
const RESUME_AFTER: Duration = match cfg!(test) {
    true => Duration::from_millis(10),
    false => Duration::from_secs(2),
};

const BAR: &str = "  downloading [{bar:24}] {bytes}/{total_bytes} {eta}";

/// A download, piece by piece.
pub(super) struct Reading {
    client: Client,
    path: String,
    /// None if the connection broke.
    response: Option<Response>,
    /// Which content it is; what the master gives without it is not gone on with.
    tag: Option<HeaderValue>,
    position: u64,
    /// Of all of it, if the master has said so.
    size: Option<u64>,
    /// Since the last piece.
    attempts: u32,
    bar: ProgressBar,
}

impl Reading {
    /// Asks for it; fails if the master has no answer.
    pub(super) async fn begin(client: &Client, path: String) -> Result<Self, Failure> {
        let mut attempts = 0;
        let response = loop {
            match client.send(client.request(Method::GET, &path)?).await {
                // What breaks off at its very beginning may be seen as an answer that never came: the next one says why.
                Err(failure) if failure.is_broken_off() && attempts < ATTEMPTS => attempts += 1,
                answer => break answer?,
            }
            tokio::time::sleep(RESUME_AFTER).await;
        };
        Ok(Self {
            client: client.clone(),
            path,
            tag: response.headers().get(ETAG).cloned(),
            size: response.content_length(),
            response: Some(response),
            position: 0,
            attempts: 0,
            bar: ProgressBar::hidden(),
        })
    }

    /// Shows on a terminal how far it is.
    #[must_use]
    pub(super) fn shown(mut self) -> Self {
        if let Some((size, style)) = self.size.zip(ProgressStyle::with_template(BAR).ok()) {
            self.bar = ProgressBar::new(size).with_style(style.progress_chars("=> "));
        }
        self
    }

    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let failure = match self.piece().await {
                Ok(piece) => {
                    self.attempts = 0;
                    self.position += piece.as_ref().map_or(0, |piece| piece.len() as u64);
                    self.bar.set_position(self.position);
                    return Ok(piece);
                }
                Err(failure) => failure,
            };
            if self.size == Some(self.position) {
                // Only the end of the stream was lost.
                return Ok(None);
            }
            self.response = None;
            self.attempts += 1;
            if self.tag.is_none() || !failure.is_passing() || self.attempts > ATTEMPTS {
                return Err(failure);
            }
            tokio::time::sleep(RESUME_AFTER).await;
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        let response = match &mut self.response {
            Some(response) => response,
            None => {
                let response = self.ask_for_the_rest().await?;
                self.response.insert(response)
            }
        };
        self.client.chunk(response).await
    }

    async fn ask_for_the_rest(&self) -> Result<Response, Failure> {
        let mut request = self.client.request(Method::GET, &self.path)?;
        if let Some(tag) = self.tag.as_ref().filter(|_| self.position > 0) {
            request = request.header(RANGE, format!("bytes={}-", self.position));
            request = request.header(IF_RANGE, tag);
        }
        let response = self.client.send(request).await?;
        if self.position == 0 || response.status() == StatusCode::PARTIAL_CONTENT {
            return Ok(response);
        }
        let words = "the download broke off, and the output is another one now";
        Err(Failure::new(ExitCode::Failed, words).hint("try again"))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests;
