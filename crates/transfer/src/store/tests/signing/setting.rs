//! A store, and somebody who makes the requests that it signs.

use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret;
use tombolo_artifact::StoredChunk;
use tombolo_core::digest::Digest;

use super::super::{PROJECT, owner};
use crate::direct::{Client, Deadlines, Failure, SignedRequest, UploadTerms, Written};
use crate::store::{ChunkStore, DirectAccess, Patience, StoreLocation, UploadWay};

pub(super) struct Setting {
    pub(super) store: ChunkStore,
    pub(super) client: Client,
    pub(super) location: StoreLocation,
}

impl Setting {
    pub(super) async fn open(location: StoreLocation, access: &DirectAccess) -> Self {
        let store = ChunkStore::open_direct(&location, access, &owner("east"), Patience::default()).await;
        Self {
            store: store.unwrap(),
            client: Client::new(None, Deadlines::default()).unwrap(),
            location,
        }
    }

    pub(super) async fn sign(&self, stored: &StoredChunk, life: Duration) -> SignedRequest {
        let terms = UploadTerms::with_md5(&stored.to_bytes());
        let digest = stored.reference().digest;
        match self.store.sign_upload(PROJECT, digest, &terms, life).await.unwrap() {
            UploadWay::Signed(request) => request,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn put(&self, request: &SignedRequest, bytes: &Bytes) -> Result<Written, Failure> {
        self.client.put_once(request, bytes.clone()).await
    }

    /// Whether anything is stored under the name of the chunk, seen without what a store remembers.
    pub(super) async fn has(&self, digest: Digest) -> bool {
        let again = ChunkStore::open(&self.location, &owner("east"), Patience::default()).await;
        again.unwrap().has_chunk(PROJECT, digest).await.unwrap()
    }
}

pub(super) fn refused<T: std::fmt::Debug>(answer: &Result<T, Failure>) -> bool {
    matches!(answer, Err(Failure::Refused(_)))
}

/// The same request with another address.
pub(super) fn led(request: &SignedRequest, change: impl Fn(&str) -> String) -> SignedRequest {
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let changed = change(request.url().expose_secret());
    assert_ne!(&changed, request.url().expose_secret());
    SignedRequest::parse(&changed, headers).unwrap()
}
