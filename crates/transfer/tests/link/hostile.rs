//! A source that is a member, but lies.

use std::pin::Pin;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::Stream;
use tombolo_identity::transport::{Connections, http2};
use tombolo_proto::transfer::v1::chunks_server::{Chunks, ChunksServer};
use tombolo_proto::transfer::v1::{
    ChunkPiece, DialBackRequest, DialBackResponse, GetChunksRequest, GetManifestRequest, Piece, SignChunksRequest,
    SignChunksResponse, SignedChunk,
};
use tombolo_transfer::tunnel::Limits;
use tonic::{Request, Response, Status};

use crate::places::{PROJECT, Place, failure, grant};
use crate::setting::{DEADLINE, Record, Setting, cluster, listen, name};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    ManifestOfNoise,
    EndlessManifest,
    EndlessChunk,
    OtherChunk,
    ChunkOfNoise,
    EmptyChunk,
    CutOff,
    LargeMessage,
    SignedNoise,
    SignedFile,
}

struct Liar {
    lie: Lie,
    manifest: Bytes,
    /// Where something else is.
    elsewhere: String,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Chunks for Liar {
    type GetManifestStream = Answers<Piece>;
    type GetChunksStream = Answers<ChunkPiece>;

    async fn get_manifest(&self, _: Request<GetManifestRequest>) -> Result<Response<Answers<Piece>>, Status> {
        let noise = Bytes::from(vec![1; 64 * 1024]);
        let pieces: Answers<Piece> = match self.lie {
            Lie::ManifestOfNoise => Box::pin(tokio_stream::iter([Ok(Piece { data: noise })])),
            Lie::EndlessManifest => Box::pin(tokio_stream::iter(std::iter::repeat_with(move || {
                Ok(Piece { data: noise.clone() })
            }))),
            _ => Box::pin(tokio_stream::iter([Ok(Piece {
                data: self.manifest.clone(),
            })])),
        };
        Ok(Response::new(pieces))
    }

    async fn get_chunks(&self, request: Request<GetChunksRequest>) -> Result<Response<Answers<ChunkPiece>>, Status> {
        let chunk = request.into_inner().chunks[0];
        let noise = Bytes::from(vec![0; 64 * 1024]);
        let piece = |chunk, data: &Bytes, last| {
            Ok(ChunkPiece {
                chunk,
                data: data.clone(),
                last,
            })
        };
        let pieces: Vec<Result<ChunkPiece, Status>> = match self.lie {
            Lie::EndlessChunk => {
                let endless = std::iter::repeat_with(move || {
                    Ok(ChunkPiece {
                        chunk,
                        data: noise.clone(),
                        last: false,
                    })
                });
                return Ok(Response::new(Box::pin(tokio_stream::iter(endless))));
            }
            Lie::OtherChunk => vec![piece(chunk + 1, &noise, true)],
            Lie::EmptyChunk => vec![piece(chunk, &Bytes::new(), true)],
            Lie::CutOff => vec![piece(chunk, &noise, false)],
            Lie::LargeMessage => vec![piece(chunk, &Bytes::from(vec![0; 1 << 20]), true)],
            _ => vec![piece(chunk, &noise, true)],
        };
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces))))
    }

    /// Whatever is asked for, it is elsewhere.
    async fn sign_chunks(&self, request: Request<SignChunksRequest>) -> Result<Response<SignChunksResponse>, Status> {
        let url = match self.lie {
            Lie::SignedNoise => self.elsewhere.clone(),
            _ => "file:///etc/passwd".to_owned(),
        };
        let chunks = request.into_inner().chunks;
        let signed = chunks.into_iter().map(|chunk| SignedChunk {
            chunk,
            url: url.clone(),
        });
        Ok(Response::new(SignChunksResponse {
            chunks: signed.collect(),
            certificates: String::new(),
            life: u64::MAX,
        }))
    }

    /// Says that it has dialled, and has not.
    async fn dial_back(&self, _: Request<DialBackRequest>) -> Result<Response<DialBackResponse>, Status> {
        Ok(Response::new(DialBackResponse {}))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_liar_sends_is_refused_and_another_source_is_used() {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let mut honest = Place::new(&setting, cluster("honest")).await;
    honest.serve_tunnels(&setting);
    let liar = Place::new(&setting, cluster("liar")).await;
    let (output, _) = honest.pack(23, 2).await;
    let manifest = honest
        .store
        .get_manifest(PROJECT, output.manifest)
        .await
        .unwrap()
        .encoded()
        .clone();
    let mut tasks = JoinSet::new();
    // Another test of this process may have been faster.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let elsewhere = noise(&mut tasks).await;
    for (lie, expected) in [
        (Lie::ManifestOfNoise, "manifest"),
        (Lie::EndlessManifest, "more than"),
        (Lie::EndlessChunk, "more than"),
        (Lie::OtherChunk, "it sent chunk"),
        (Lie::ChunkOfNoise, "are expected"),
        (Lie::EmptyChunk, "empty"),
        (Lie::CutOff, "broke off"),
        (Lie::LargeMessage, "too large"),
        (Lie::SignedNoise, "are expected"),
        (Lie::SignedFile, "of no use"),
    ] {
        let (acceptor, address) = listen(&liar.identity, &Connections::default()).await;
        let service = ChunksServer::new(Liar {
            lie,
            manifest: manifest.clone(),
            elsewhere: elsewhere.clone(),
        });
        let serving = http2::server().add_service(service).serve_with_incoming(acceptor);
        tasks.spawn(async move { serving.await.unwrap() });
        let reader = Place::new(&setting, cluster("reader")).await;
        let grant = grant(&setting.signer, &reader.member, output.manifest);
        let lying = || {
            let (name, address, grant) = (name("liar"), address.clone(), grant.clone());
            match lie {
                Lie::SignedNoise | Lie::SignedFile => reader.links.signed(name, Some(address), false, grant),
                _ => reader.links.peer(name, address, grant),
            }
        };
        let reason = failure(
            timeout(DEADLINE, reader.pull(output.manifest, vec![lying()]))
                .await
                .unwrap(),
        );
        assert!(reason.contains(expected), "{lie:?}: {reason}");
        let sources = vec![lying(), reader.links.relay(name("honest"), grant.clone())];
        let receipt = timeout(DEADLINE, reader.pull(output.manifest, sources))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(receipt.manifest.reference(), output, "{lie:?}");
        assert_eq!(receipt.progress.from, Some(name("honest")), "{lie:?}");
    }
    tasks.abort_all();
}

/// A server that has something else.
async fn noise(tasks: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/noise", listener.local_addr().unwrap());
    tasks.spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n\0noise";
            let _ = socket.write_all(answer).await;
        }
    });
    url
}
