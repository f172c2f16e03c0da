//! Inputs that turn out to be damaged in the cluster's store while a pod fetches them.

use std::fs;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use tombolo_agent::couriers::{Losses, Visit};
use tombolo_agent::executor::Material;
use tombolo_agent::supervisor::{Ending, Exit};
use tombolo_artifact::PackLimits;
use tombolo_core::digest::Digest;
use tombolo_transfer::StoreLocation;
use tombolo_transfer::store::DirectAccess;
use tombolo_transfer::store::retention::UploadId;

use crate::agent::specification;
use crate::direct::{PROJECT, Port};
use crate::life::noise;
use crate::setting::{Pod, SOON};

const BYTES: usize = 12 << 20;

/// An agent with a folder as its store, with one artifact in it whose every chunk is damaged, and a pod that wants it.
struct Damaged {
    agent: Port,
    folder: tempfile::TempDir,
    manifest: Digest,
    visit: Visit,
    losses: Losses,
    pod: Pod,
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else if entry.components().any(|part| part.as_os_str() == "chunks") {
            found.push(entry);
        }
    }
}

impl Damaged {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (input, store) = (folder.path().join("input"), folder.path().join("store"));
        fs::create_dir(&input).unwrap();
        fs::write(input.join("noise"), noise(BYTES)).unwrap();
        let agent = Port::open(&StoreLocation::local(&store), &DirectAccess::default()).await;
        let manifest = pack(&agent, &input).await;
        let mut chunks = Vec::new();
        files(&store, &mut chunks);
        assert!(chunks.len() > 1, "{chunks:?}");
        for chunk in chunks {
            let mut bytes = fs::read(&chunk).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(chunk, bytes).unwrap();
        }
        let attempt = specification("cp $TOMBOLO_INPUTS/a/noise $TOMBOLO_OUTPUT/copy");
        let material = Material {
            folder: "inputs/a".to_owned(),
            manifest,
            optional: false,
            paths: Vec::new(),
        };
        let visit = agent.expect(&attempt, vec![material]);
        let losses = visit.losses();
        let mut pod = Pod::new();
        let token = agent.couriers.token(attempt.attempt);
        pod.start_courier_of((agent.port, &agent.trust), "east", token.expose_secret());
        pod.start_job();
        Self {
            agent,
            folder,
            manifest,
            visit,
            losses,
            pod,
        }
    }

    async fn next_loss(&self) -> Digest {
        tokio::time::timeout(SOON, self.losses.next())
            .await
            .expect("a loss is told")
    }

    async fn exit(&mut self) -> Exit {
        self.pod.ended().await;
        tokio::time::timeout(SOON, self.visit.exit(|| {}))
            .await
            .expect("an exit")
    }
}

async fn pack(agent: &Port, folder: &Path) -> Digest {
    let upload = UploadId::from(specification("").attempt);
    agent.store.begin_upload(PROJECT, &upload).await.unwrap();
    let packed = agent.store.pack(PROJECT, folder, PackLimits::default()).await;
    packed.unwrap().manifest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_waits_until_its_input_was_brought_again() {
    let mut damaged = Damaged::start().await;
    // As often as something of it is found damaged; the packing writes what was.
    let mut times = 0;
    let exit = loop {
        let losses = damaged.losses.clone();
        let lost = tokio::select! {
            exit = damaged.exit() => break exit,
            lost = losses.next() => lost,
        };
        assert_eq!(lost, damaged.manifest);
        times += 1;
        damaged.agent.store.distrust(PROJECT);
        let input = damaged.folder.path().join("input");
        assert_eq!(pack(&damaged.agent, &input).await, lost);
        losses.settle(lost, true);
    };
    assert!(times > 0, "nobody was told of the damage");
    assert_eq!(exit.ending, Ending::Exited { code: 0 });
    let [copy, input] = [
        damaged.pod.path("sandbox/output/copy"),
        damaged.folder.path().join("input/noise"),
    ];
    assert!(fs::read(copy).unwrap() == fs::read(input).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_input_cannot_be_brought_is_told_what_is_damaged() {
    let mut damaged = Damaged::start().await;
    assert_eq!(damaged.next_loss().await, damaged.manifest);
    damaged.losses.settle(damaged.manifest, false);
    let Ending::Fault { reason } = damaged.exit().await.ending else {
        panic!("it has no input");
    };
    assert!(reason.contains("inputs/a") && reason.contains("is damaged"), "{reason}");
}
