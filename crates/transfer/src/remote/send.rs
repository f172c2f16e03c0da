use std::collections::HashSet;
use std::path::Path;

use bytes::Bytes;
use futures::stream;
use tokio::task::spawn_blocking;
use tombolo_artifact::{Chunk, Manifest, PackLimits, StoredChunk};
use tombolo_core::attempt::OutputReference;
use tombolo_proto::convert;
use tombolo_proto::courier::v1::courier_client::CourierClient;
use tombolo_proto::courier::v1::{ChunkUpload, FindMissingRequest, ManifestUpload};
use tonic::Status;
use tonic::transport::Channel;

use super::{BUDGET_BYTES, Error, Remote};
use crate::flow::Packing;
use crate::peer::pieces;
use crate::store::budget::{Budget, Share};

/// What is asked for and sent in one call: half of the budget, so that the packer goes on meanwhile.
const BATCH_BYTES: usize = BUDGET_BYTES as usize / 2;

impl Remote {
    /// Packs a folder and sends what is new of it, the manifest last: when this returns, the output is there whole. Memory does
    /// not depend on the size of the output.
    pub async fn pack(&self, folder: &Path, limits: PackLimits) -> Result<OutputReference, Error> {
        let mut packing = Packing::start(folder, limits, Budget::of(BUDGET_BYTES));
        let sent = self.send_all(&mut packing).await;
        let packed = packing.finish::<Error>().await;
        sent?;
        let manifest: Manifest = packed?;
        self.send_manifest(&manifest).await?;
        Ok(manifest.reference())
    }

    async fn send_all(&self, packing: &mut Packing) -> Result<(), Error> {
        while let Some((chunk, share)) = packing.next().await {
            let mut bytes = chunk.bytes().len();
            let mut shares = vec![share];
            let mut chunks = vec![chunk];
            while bytes < BATCH_BYTES {
                let Some((chunk, share)) = packing.next_ready() else {
                    break;
                };
                bytes += chunk.bytes().len();
                chunks.push(chunk);
                shares.push(share);
            }
            self.send(chunks, shares).await?;
        }
        Ok(())
    }

    /// Sends those of the chunks that are not there yet. Their memory is accounted for by `shares` until then.
    async fn send(&self, mut chunks: Vec<Chunk>, shares: Vec<Share>) -> Result<(), Error> {
        let mut seen = HashSet::new();
        chunks.retain(|chunk| seen.insert(chunk.reference().digest));
        let digests: Vec<_> = chunks.iter().map(|chunk| chunk.reference().digest).collect();
        let find = || async {
            let digests = digests.iter().map(|digest| digest.as_bytes().to_vec()).collect();
            let found = self.client().find_missing(FindMissingRequest { digests }).await?;
            Ok(found.into_inner().missing)
        };
        let missing = self.patience.spend("say which chunks it lacks", find).await?;
        let missing: HashSet<u32> = missing.into_iter().collect();
        let wanted = chunks.into_iter().zip(0..).filter(|(_, place)| missing.contains(place));
        let mut stored = Vec::new();
        for (chunk, _) in wanted {
            let encoded = spawn_blocking(move || StoredChunk::encode(&chunk)).await;
            stored.push(encoded.map_err(|_| Error::Interrupted("compressing a chunk"))?);
        }
        if !stored.is_empty() {
            let put = || async {
                let uploads = stored.clone().into_iter().flat_map(uploads);
                self.client().put_chunks(stream::iter(uploads)).await?;
                Ok(())
            };
            self.patience.spend("take chunks", put).await?;
        }
        drop(shares);
        Ok(())
    }

    async fn send_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        let put = || async {
            let uploads = pieces(manifest.encoded().clone()).map(|data| ManifestUpload { data });
            let stored = self.client().put_manifest(stream::iter(uploads)).await?.into_inner();
            let digest = convert::digest(&stored.manifest, "PutManifestResponse.manifest")
                .map_err(|error| Status::data_loss(error.to_string()))?;
            if digest == manifest.digest() {
                Ok(())
            } else {
                Err(Status::data_loss(format!("it has stored manifest {digest}")))
            }
        };
        self.patience.spend("take the manifest of the output", put).await
    }

    fn client(&self) -> CourierClient<Channel> {
        CourierClient::new(self.channel.clone())
    }
}

/// The messages of one chunk for `Courier.PutChunks`.
pub fn uploads(stored: StoredChunk) -> impl Iterator<Item = ChunkUpload> {
    let [coding, body] = stored.parts();
    let mut left = body.len();
    let first = ChunkUpload {
        digest: stored.reference().digest.as_bytes().to_vec().into(),
        data: coding,
        last: left == 0,
    };
    let rest = pieces(body).map(move |data| {
        left -= data.len();
        ChunkUpload {
            digest: Bytes::new(),
            data,
            last: left == 0,
        }
    });
    std::iter::once(first).chain(rest)
}
