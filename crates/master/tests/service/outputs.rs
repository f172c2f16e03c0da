//! Outputs that users read through the master, and sources that clusters read from it.

mod parts;

use std::path::Path;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tombolo_api::{Code, EntryKind, MissingChunks, OutputListing};
use tombolo_artifact::{BorrowedChunk, Chunk, ChunkSink, Manifest, PackLimits, StoredChunk, pack};
use tombolo_core::attempt::OutputReference;
use tombolo_core::build::TerminalState;
use tombolo_identity::transport::{Connections, Proxy};
use tombolo_transfer::peer::{ChunkService, Links, serve_offered};
use tombolo_transfer::pull::ListedChunk;
use tombolo_transfer::store::{Owner, Patience};
use tombolo_transfer::{ChunkStore, StoreLocation};
use tonic::service::Routes;

use crate::agent::{Agent, Session, ended};
use crate::builds::{BUILDS, CHAIN, submit, wait_for};
use crate::setting::{DEADLINE, Master, User, problem};

fn tree(folder: &Path) {
    std::fs::create_dir_all(folder.join("deep/er")).unwrap();
    std::fs::write(folder.join("report.txt"), b"all is well\n").unwrap();
    let noise: Vec<u8> = (0..9_000_000_u32)
        .map(|number| number.wrapping_mul(2_654_435_761))
        .map(|mixed| ((mixed ^ mixed >> 15).wrapping_mul(2_246_822_519) >> 13) as u8)
        .collect();
    std::fs::write(folder.join("deep/er/noise"), noise).unwrap();
    std::os::unix::fs::symlink("report.txt", folder.join("link")).unwrap();
}

/// A job on `east` that has left a tree behind, which its agent serves.
struct Served {
    folder: TempDir,
    output: OutputReference,
    serving: JoinSet<()>,
}

impl Served {
    async fn new(master: &Master) -> Self {
        let folder = tempfile::tempdir().unwrap();
        tree(&folder.path().join("tree"));
        let east = Agent::join(master, "east", &["AWS"]).await;
        let mut session = east.connect(Vec::new()).await;
        submit(&master.user, CHAIN).await;
        let assignment = session.assignment().await;
        session.run(assignment.attempt).await;
        let owner = Owner {
            trust_domain: "tombolo.internal".to_owned(),
            member: "east".to_owned(),
        };
        let location = StoreLocation::local(folder.path().join("store"));
        let chunks = ChunkStore::open(&location, &owner, Patience::default()).await.unwrap();
        let project = assignment.build.project;
        let tree = folder.path().join("tree");
        let packing = chunks.pack(project, &tree, PackLimits::default());
        let output = session.alive_during(packing).await.unwrap();
        session
            .report(assignment.attempt, ended(TerminalState::Finished, 0, Some(output)))
            .await;
        // The child is given to the same cluster, and the parent forgotten.
        session.order_pair().await;
        wait_for(&master.user, 1, |build| build.jobs[0].output.is_some()).await;
        let service = ChunkService::new(chunks, east.identity.clone());
        let mut serving = JoinSet::new();
        serving.spawn(serve(east, session, service));
        Self {
            folder,
            output,
            serving,
        }
    }
}

async fn serve(agent: Agent, mut session: Session, service: ChunkService) {
    let mut tunnels = JoinSet::new();
    loop {
        let tunnel = session.tunnel_offer().await;
        let (channel, identity, service) = (agent.channel.clone(), agent.identity.clone(), service.clone());
        tunnels.spawn(async move {
            let (connections, stop) = (Connections::default(), CancellationToken::new());
            let services = Routes::new(service.server());
            Box::pin(serve_offered(channel, tunnel, &identity, services, &connections, stop)).await
        });
    }
}

async fn download(user: &User, path: &str) -> Vec<u8> {
    let response = user.send(Method::GET, path, None).await;
    assert_eq!(response.status(), 200, "{path}");
    assert!(
        response.headers()["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with("attachment")
    );
    response.bytes().await.unwrap().to_vec()
}

#[derive(Default)]
struct Chunks(Vec<Chunk>);

impl ChunkSink for Chunks {
    fn chunk(&mut self, chunk: BorrowedChunk<'_>) -> std::io::Result<()> {
        self.0.push(chunk.to_chunk());
        Ok(())
    }
}

fn packed(folder: &Path) -> (Manifest, Vec<Chunk>) {
    let mut chunks = Chunks::default();
    let manifest = pack(folder, PackLimits::default(), &mut chunks).unwrap();
    (manifest, chunks.0)
}

#[tokio::test]
async fn users_read_what_a_job_left_behind() {
    let master = Master::start().await;
    let mut served = Served::new(&master).await;
    let output = format!("{BUILDS}/1/jobs/make/output");
    let user = &master.user;
    let listing: OutputListing = user.get(&output).await;
    assert_eq!(
        (listing.digest, listing.files, listing.total_entries),
        (served.output.manifest, 2, 5)
    );
    let paths: Vec<_> = listing
        .entries
        .iter()
        .map(|entry| (entry.path.as_str(), entry.kind))
        .collect();
    assert!(paths.contains(&("deep/er/noise", EntryKind::File)) && paths.contains(&("link", EntryKind::Symlink)));
    let page: OutputListing = user.get(&format!("{output}?offset=1&limit=2")).await;
    assert_eq!((page.entries.len(), page.next_offset), (2, Some(3)));
    assert_eq!(page.entries, listing.entries[1..3]);

    let noise = std::fs::read(served.folder.path().join("tree/deep/er/noise")).unwrap();
    assert!(download(user, &format!("{output}/file?path=deep%2Fer%2Fnoise")).await == noise);
    assert_eq!(
        download(user, &format!("{output}/file?path=report.txt")).await,
        b"all is well\n"
    );
    parts::what_is_not_there_is_explained(user, &output).await;
    parts::parts_of_it(user, &output, &served, &noise).await;

    let unpacked = tempfile::tempdir().unwrap();
    let archive = download(user, &format!("{output}/archive")).await;
    tar::Archive::new(&archive[..]).unpack(unpacked.path()).unwrap();
    assert_eq!(packed(unpacked.path()).0.digest(), served.output.manifest);

    let none = user
        .refused(Method::GET, &format!("{BUILDS}/1/jobs/test/output"), None)
        .await;
    assert_eq!(none.code, Code::NoOutput);
    served.serving.shutdown().await;
    let away = user.refused(Method::GET, &output, None).await;
    assert_eq!(away.code, Code::OutputUnavailable, "{away}");
}

#[tokio::test]
async fn one_file_of_an_output_needs_its_own_chunks_only() {
    let master = Master::start().await;
    let served = Served::new(&master).await;
    let (manifest, _) = packed(&served.folder.path().join("tree"));
    let needed = manifest.range(b"report.txt").unwrap();
    assert!(needed.chunk_count < manifest.chunk_count() as usize);
    for (index, chunk) in manifest.chunks().enumerate() {
        let is_needed = (needed.first_chunk..needed.first_chunk + needed.chunk_count).contains(&index);
        for file in walk(&served.folder.path().join("store")) {
            if !is_needed && file.to_string_lossy().contains(&chunk.digest.to_string()) {
                std::fs::remove_file(file).unwrap();
            }
        }
    }
    let output = format!("{BUILDS}/1/jobs/make/output");
    let read = download(&master.user, &format!("{output}/file?path=report.txt")).await;
    assert_eq!(read, b"all is well\n");
    let whole = master
        .user
        .refused(Method::GET, &format!("{output}/archive"), None)
        .await;
    assert_eq!(whole.code, Code::OutputUnavailable, "the others are gone: {whole}");
}

#[tokio::test]
async fn a_damaged_output_is_never_shown_as_whole() {
    let master = Master::start().await;
    let served = Served::new(&master).await;
    let mut flipped = 0;
    for file in walk(&served.folder.path().join("store")) {
        let text = file.to_string_lossy().into_owned();
        let mut bytes = std::fs::read(&file).unwrap();
        if text.contains("/chunks/") && bytes.len() > 1_000_000 {
            bytes[500_000] ^= 1;
            std::fs::write(&file, bytes).unwrap();
            flipped += 1;
        }
    }
    assert!(flipped > 0);
    for way in ["archive", "sums"] {
        let path = format!("{BUILDS}/1/jobs/make/output/{way}");
        let response = master.user.send(Method::GET, &path, None).await;
        // It is found before anything is sent, or the connection breaks off.
        if response.status() == 200 {
            assert!(response.bytes().await.is_err(), "{way} looks whole");
        } else {
            let problem = response.text().await.unwrap();
            assert!(problem.contains("output_unavailable"), "{way}: {problem}");
            assert!(problem.contains("damaged"), "{way}: {problem}");
        }
    }
}

/// Whoever asks for the rest of it needs to know how far it has come.
#[tokio::test]
async fn what_is_before_the_damage_arrives() {
    let master = Master::start().await;
    let served = Served::new(&master).await;
    let (manifest, _) = packed(&served.folder.path().join("tree"));
    let last = manifest.chunks().last().unwrap().digest.to_string();
    for file in walk(&served.folder.path().join("store")) {
        if file.to_string_lossy().contains(&last) {
            let mut bytes = std::fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(file, bytes).unwrap();
        }
    }
    let path = format!("{BUILDS}/1/jobs/make/output/archive");
    let mut response = master.user.send(Method::GET, &path, None).await;
    assert_eq!(
        (response.status(), response.version()),
        (http::StatusCode::OK, http::Version::HTTP_2)
    );
    let whole: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let mut length = 0;
    while let Ok(Some(piece)) = response.chunk().await {
        length += piece.len();
    }
    assert!(0 < length && length < whole, "{length} of {whole} bytes have come");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] })
        .collect()
}

#[tokio::test]
async fn what_an_interrupted_deletion_left_goes_at_the_next_start() {
    let master = Master::start().await;
    let projects = master.folder().join("data/sources/projects");
    let gone = projects.join("00000000-0000-0000-0000-0000000000aa/chunks/00");
    std::fs::create_dir_all(&gone).unwrap();
    std::fs::write(gone.join("left"), "left").unwrap();
    let folder = tempfile::tempdir().unwrap();
    tree(folder.path());
    let (_, chunks) = packed(folder.path());
    let path = format!(
        "/api/v1/projects/default/source/chunks/{}",
        chunks[0].reference().digest
    );
    let body = StoredChunk::encode(&chunks[0]).to_bytes().to_vec();
    let put = master.user.request(Method::PUT, &path).body(body);
    assert_eq!(put.send().await.unwrap().status(), 204);
    let master = master.restart().await;
    let left = || {
        walk(&projects)
            .into_iter()
            .filter(|path| path.ends_with("left"))
            .count()
    };
    tokio::time::timeout(DEADLINE, async {
        while left() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let kept = walk(&projects).into_iter();
    let chunks = kept.filter(|path| path.components().any(|part| part.as_os_str() == "chunks"));
    assert_eq!(chunks.count(), 1, "the other project keeps its chunk");
    drop(master);
}

async fn a_link_that_leads_out_is_refused(user: &User, folder: &Path) {
    std::os::unix::fs::symlink("../../secret", folder.join("deep/out")).unwrap();
    let (leading_out, _) = packed(folder);
    let path = format!("/api/v1/projects/default/source/manifests/{}", leading_out.digest());
    let put = user.request(Method::PUT, &path).body(leading_out.encoded().to_vec());
    let sent = put.send().await;
    let refused = problem(sent.unwrap()).await;
    assert_eq!(refused.code, Code::InvalidContent);
    for part in ["`deep/out`", "`../../secret`"] {
        assert!(refused.detail.contains(part), "{refused}");
    }
    assert!(refused.hint.contains(".tomboloignore"), "{refused:?}");
}

#[tokio::test]
async fn a_source_is_uploaded_and_read_by_the_cluster_that_needs_it() {
    let master = Master::start().await;
    let folder = tempfile::tempdir().unwrap();
    tree(folder.path());
    let (manifest, chunks) = packed(folder.path());
    let source = "/api/v1/projects/default/source";
    let user = &master.user;
    let listed: Vec<Value> = manifest
        .chunks()
        .map(|chunk| json!({"digest": chunk.digest.to_string(), "bytes": chunk.length}))
        .collect();
    let ask = async || -> MissingChunks { user.post(&format!("{source}/missing"), json!({"chunks": listed})).await };
    assert_eq!(ask().await.missing.len(), chunks.len());
    let put = |path: String, body: Vec<u8>| user.request(Method::PUT, &path).body(body).send();
    let manifest_path = format!("{source}/manifests/{}", manifest.digest());
    let early = problem(put(manifest_path.clone(), manifest.encoded().to_vec()).await.unwrap()).await;
    assert_eq!(early.code, Code::MissingContent, "{early}");
    let text = "{version: 1, jobs: [{name: a, type: docker-image, image: i}]}";
    let request = json!({"job_file": {"name": "tombolo.yaml", "text": text}, "source": manifest.digest().to_string()});
    let early = user.refused(Method::POST, BUILDS, Some(request.clone())).await;
    assert_eq!(early.code, Code::MissingContent, "{early}");
    for chunk in &chunks {
        let path = format!("{source}/chunks/{}", chunk.reference().digest);
        let mut stored = StoredChunk::encode(chunk).to_bytes().to_vec();
        assert_eq!(put(path.clone(), stored.clone()).await.unwrap().status(), 204);
        let last = stored.len() - 1;
        stored[last] ^= 1;
        let damaged = problem(put(path, stored).await.unwrap()).await;
        assert_eq!(damaged.code, Code::InvalidContent);
    }
    assert_eq!(ask().await.missing, []);
    let mut wrong = manifest.encoded().to_vec();
    wrong[0] ^= 1;
    assert_eq!(
        problem(put(manifest_path.clone(), wrong).await.unwrap()).await.code,
        Code::InvalidContent
    );
    assert_eq!(
        put(manifest_path, manifest.encoded().to_vec()).await.unwrap().status(),
        204
    );

    a_link_that_leads_out_is_refused(user, folder.path()).await;

    let _: Value = user.post(BUILDS, request).await;
    let (east, west) = (
        Agent::join(&master, "east", &[]).await,
        Agent::join(&master, "west", &[]).await,
    );
    let mut session = east.connect(Vec::new()).await;
    let reference = session.assignment().await.source.unwrap();
    assert_eq!(reference.manifest, manifest.digest());
    let read = |agent: &Agent| {
        let links = Links::new(agent.identity.clone(), agent.channel.clone(), Proxy::none());
        links.master(reference.grant.clone()).chunks
    };
    let own = read(&east);
    assert_eq!(own.manifest().await.unwrap(), manifest.encoded());
    let first = ListedChunk {
        index: 0,
        reference: manifest.chunks().next().unwrap(),
    };
    let chunk = own.chunk(first).await.unwrap();
    assert_eq!(
        StoredChunk::verify(chunk, first.reference).unwrap().1.bytes(),
        chunks[0].bytes()
    );
    assert!(read(&west).manifest().await.is_err(), "the right is east's alone");
}
