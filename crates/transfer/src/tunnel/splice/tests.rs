//! What one end sends comes out at the other, however the network cuts it.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body::Frame as BodyFrame;
use http_body_util::StreamBody;
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tombolo_proto::transfer::v1::Finished;
use tonic_prost::ProstDecoder;

use super::*;
use crate::tunnel::MAX_FRAME_BYTES;

const SEEDS: u64 = 30;

/// The frames of a call as they come from the network: in pieces that begin and end anywhere.
fn call(frames: &[TunnelFrame], rng: &mut ChaCha8Rng) -> Streaming<TunnelFrame> {
    let mut wire = Vec::new();
    for frame in frames {
        let encoded = frame.encode_to_vec();
        wire.push(0);
        wire.extend(u32::try_from(encoded.len()).unwrap().to_be_bytes());
        wire.extend(encoded);
    }
    let (mut rest, mut pieces) = (Bytes::from(wire), Vec::new());
    while !rest.is_empty() {
        let length = rng.random_range(1..=rest.len().min(100_000));
        pieces.push(Ok::<_, Status>(BodyFrame::data(rest.split_to(length))));
    }
    let body = StreamBody::new(stream::iter(pieces));
    Streaming::new_request(ProstDecoder::default(), body, None, Some(MAX_FRAME_BYTES))
}

async fn live(seed: u64) -> Result<(), String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut sent, mut frames) = (Vec::new(), Vec::new());
    for _ in 0..rng.random_range(1..8) {
        let mut data = vec![0; rng.random_range(1..=MAX_DATA_BYTES)];
        rng.fill(&mut data[..]);
        sent.extend_from_slice(&data);
        frames.push(frame(Frame::Data(data.into())));
    }
    frames.push(frame(Frame::Finished(Finished {})));
    let shared = Tunnelling::new(Arc::default(), Places::of_nobody());
    let mut splice = Splice::new(call(&frames, &mut rng), shared);
    let mut arrived = Vec::new();
    loop {
        let next = splice.next().await.ok_or("the tunnel ended early")?;
        match next.map_err(|status| status.to_string())?.frame {
            Some(Frame::Opened(_)) => {}
            Some(Frame::Data(data)) => arrived.extend_from_slice(&data),
            Some(Frame::Finished(_)) => break,
            other => return Err(format!("{other:?} came out of the tunnel")),
        }
    }
    match arrived == sent {
        true => Ok(()),
        false => Err(format!("{} bytes went in, {} came out", sent.len(), arrived.len())),
    }
}

fn run(seed: u64) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(live(seed))
}

#[test]
fn every_byte_comes_out_that_goes_in() {
    for seed in 0..SEEDS {
        run(seed).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    }
}

#[test]
#[cfg(feature = "planted")]
fn planted_a_byte_that_the_relay_drops_is_missed() {
    let _planting = tombolo_core::planted::Planting::of(Some(Bug::RelayByteDropped));
    let missed = (0..SEEDS).find(|seed| run(*seed).is_err());
    let seed = missed.expect("nobody misses the byte");
    crate::caught(Bug::RelayByteDropped, "every byte comes out that goes in", seed);
}
