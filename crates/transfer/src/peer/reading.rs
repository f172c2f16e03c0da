//! How manifests and chunks are read from a member that serves them.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tombolo_artifact::chunk::MAXIMUM_STORED_CHUNK_BYTES;
use tombolo_artifact::manifest::MAXIMUM_MANIFEST_BYTES;
use tombolo_proto::transfer::v1::chunks_client::ChunksClient;
use tombolo_proto::transfer::v1::{
    DialBackRequest, GetChunksRequest, GetManifestRequest, SignChunksRequest, SignChunksResponse,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::MAX_MESSAGE_BYTES;
use crate::pull::{ListedChunk, SourceError};

fn client(channel: Channel) -> ChunksClient<Channel> {
    ChunksClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// The bytes of the manifest that the grant is for; nothing of them was checked.
pub(crate) async fn manifest(channel: Channel, grant: Bytes) -> Result<Bytes, SourceError> {
    let request = GetManifestRequest { grant };
    let mut pieces = client(channel)
        .get_manifest(request)
        .await
        .map_err(failure)?
        .into_inner();
    let mut manifest = BytesMut::new();
    while let Some(piece) = pieces.message().await.map_err(failure)? {
        append(&mut manifest, &piece.data, MAXIMUM_MANIFEST_BYTES)?;
    }
    Ok(manifest.freeze())
}

/// The bytes of a chunk of that manifest, as stored; nothing of them was checked.
pub(crate) async fn chunk(channel: Channel, grant: Bytes, chunk: ListedChunk) -> Result<Bytes, SourceError> {
    let request = GetChunksRequest {
        grant,
        chunks: vec![chunk.index],
    };
    let mut pieces = client(channel).get_chunks(request).await.map_err(failure)?.into_inner();
    // At most one byte longer than its content; the reference comes from a manifest that was checked.
    let mut stored = BytesMut::with_capacity(chunk.reference.length as usize + 1);
    while let Some(piece) = pieces.message().await.map_err(failure)? {
        if piece.chunk != chunk.index {
            return Err(SourceError::Damaged(format!(
                "it sent chunk {} for {}",
                piece.chunk, chunk.index
            )));
        }
        append(&mut stored, &piece.data, MAXIMUM_STORED_CHUNK_BYTES)?;
        if piece.last {
            return Ok(stored.freeze());
        }
    }
    Err(SourceError::Unreachable("it broke off within a chunk".to_owned()))
}

/// Requests for chunks of that manifest, which the bucket of the one who is asked will answer.
pub(super) async fn sign(
    channel: Channel,
    grant: Bytes,
    chunks: Range<u64>,
) -> Result<SignChunksResponse, SourceError> {
    let request = SignChunksRequest {
        grant,
        chunks: chunks.collect(),
    };
    let signed = client(channel).sign_chunks(request).await.map_err(failure)?;
    Ok(signed.into_inner())
}

/// Has the other side dial `address` and show `ticket` there.
pub(super) async fn dial_back(channel: Channel, grant: Bytes, address: &str, ticket: &[u8]) -> Result<(), SourceError> {
    let request = DialBackRequest {
        grant,
        address: address.to_owned(),
        ticket: ticket.to_vec().into(),
    };
    client(channel).dial_back(request).await.map_err(failure)?;
    Ok(())
}

fn append(collected: &mut BytesMut, data: &[u8], limit: u32) -> Result<(), SourceError> {
    if collected.len() + data.len() > limit as usize {
        return Err(SourceError::Damaged(format!(
            "it sent more than {limit} bytes for one thing"
        )));
    }
    collected.extend_from_slice(data);
    Ok(())
}

fn failure(status: Status) -> SourceError {
    let message = if status.message().is_empty() {
        status.code().to_string()
    } else {
        status.message().to_owned()
    };
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => SourceError::Refused(message),
        Code::NotFound | Code::DataLoss | Code::OutOfRange => SourceError::Missing(message),
        Code::FailedPrecondition | Code::Unimplemented => SourceError::NotOffered(message),
        Code::InvalidArgument => SourceError::Refused(message),
        _ => SourceError::Unreachable(message),
    }
}
