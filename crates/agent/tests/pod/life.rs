//! What a pod does from its beginning to its end.

use std::fs;

use hyper_util::rt::TokioIo;
use tombolo_agent::supervisor::Ending;
use tombolo_artifact::{BorrowedChunk, ChunkSink, PackLimits};
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::courier_client::CourierClient;
use tombolo_proto::courier::v1::finish_request::Output;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::agent::{Agent, specification};
use crate::setting::{Pod, until};

struct Nowhere;

impl ChunkSink for Nowhere {
    fn chunk(&mut self, _: BorrowedChunk<'_>) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn inputs_come_the_command_runs_and_its_output_goes() {
    let script = "cat $TOMBOLO_INPUTS/a/text $INFRABOX_INPUTS/b/below/text; cat $TOMBOLO_JOB_JSON; echo; pwd
        env | grep -c -e OF_THE_IMAGE=yes -e OF_THE_JOB=yes -e TOMBOLO_ATTEMPT -e KUBERNETES -e COURIER
        cp -r $TOMBOLO_INPUTS $TOMBOLO_OUTPUT/
        echo '<testsuite><testcase/><testcase><failure/></testcase></testsuite>' > $TOMBOLO_UPLOAD/testresult/a.xml
        exit 7";
    let agent = Agent::start("east", &specification(script)).await;
    let input = tempfile::tempdir().unwrap();
    fs::write(input.path().join("text"), "from a\n").unwrap();
    agent.add_material("inputs/a", input.path());
    fs::remove_file(input.path().join("text")).unwrap();
    fs::create_dir(input.path().join("below")).unwrap();
    fs::write(input.path().join("below/text"), "from b\n").unwrap();
    // Several chunks.
    fs::write(input.path().join("large"), noise(20 << 20)).unwrap();
    agent.add_material("inputs/b", input.path());

    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(7), Some(0)));
    let pwd = pod.path("sandbox/context").canonicalize().unwrap();
    let log = ["from a", "from b", "{\"job\":{}}", pwd.to_str().unwrap(), "3"];
    assert_eq!(agent.lines(), log);
    assert_eq!(pod.stdout().lines().collect::<Vec<_>>(), log);

    let expected = tombolo_artifact::pack(&pod.path("sandbox/output"), PackLimits::default(), &mut Nowhere).unwrap();
    let known = agent.known();
    let exit = known.exit.as_ref().unwrap();
    assert_eq!((&exit.ending, exit.log_lines), (&Ending::Exited { code: 7 }, 5));
    assert_eq!(exit.started_at.unwrap().0, known.started_at.unwrap());
    let finish = known.finish.as_ref().unwrap();
    assert_eq!(
        finish.output,
        Some(Output::Manifest(expected.digest().as_bytes().to_vec()))
    );
    assert_eq!(known.manifest.as_ref().unwrap().digest(), expected.digest());
    let tests = finish.tests.as_ref().unwrap();
    assert_eq!((tests.tests, tests.failed, tests.unreadable.len()), (2, 1, 0));
    // The large file was there already.
    assert_eq!((known.calls["put_chunks"], known.sessions), (1, 1));
}

/// What leaves the container of the job has no secrets in it: neither the lines that the courier sends nor what `kubectl logs` shows.
#[tokio::test]
async fn secrets_are_masked_before_they_leave_the_pod() {
    let mut specification =
        specification("echo it is $TOKEN; printf hunt; sleep 0.2; echo er2 | tee $TOMBOLO_OUTPUT/file");
    specification.secrets = vec!["TOKEN".to_owned()];
    let agent = Agent::start("east", &specification).await;
    agent.add_secret("TOKEN", "hunter2");
    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(0), Some(0)));
    assert_eq!(agent.lines(), ["it is ***", "***"]);
    assert_eq!(pod.stdout().lines().collect::<Vec<_>>(), ["it is ***", "***"]);
    for place in ["system", "sandbox/job.json"] {
        assert_eq!(files_with(&pod.path(place), b"hunter2"), 0, "{place}");
    }
}

/// How many files at or below a path have the bytes in them.
fn files_with(path: &std::path::Path, needle: &[u8]) -> usize {
    if path.is_dir() && !path.is_symlink() {
        let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
        return entries.map(|entry| files_with(&entry.path(), needle)).sum();
    }
    // Sockets cannot be read.
    let bytes = fs::read(path).unwrap_or_default();
    usize::from(bytes.windows(needle.len()).any(|window| window == needle))
}

#[tokio::test]
async fn a_log_that_is_written_in_a_moment_comes_whole() {
    let agent = Agent::start("east", &specification("seq 100000; printf last")).await;
    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(0), Some(0)));
    let expected = (1..=100_000)
        .map(|number| number.to_string())
        .chain(["last".to_owned()]);
    assert!(agent.lines().into_iter().eq(expected));
    assert_eq!(
        agent.known().finish.as_ref().unwrap().output,
        Some(Output::Nothing(wire::Nothing {}))
    );
}

#[tokio::test]
async fn a_job_file_in_the_output_is_handed_over() {
    let agent = Agent::start(
        "east",
        &specification("echo version: 1 > $TOMBOLO_OUTPUT/infrabox.yaml"),
    )
    .await;
    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(0), Some(0)));
    let generated = agent.known().finish.as_ref().unwrap().generated.clone();
    let content = Some(wire::generated_file::Content::Text("version: 1\n".to_owned()));
    let name = "infrabox.yaml".to_owned();
    let expected = wire::GeneratedFile {
        name,
        content,
        workflows: Vec::new(),
    };
    assert_eq!(generated, Some(expected));
}

#[tokio::test]
async fn no_command_starts_before_it_may() {
    let agent = Agent::start("east", &specification("echo started")).await;
    agent.order(|orders| orders.begin = false);
    let mut pod = Pod::start(&agent);
    until("staged", || agent.known().staged > 0).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(agent.known().started_at, None);
    agent.order(|orders| orders.begin = true);
    assert_eq!(pod.ended().await, (Some(0), Some(0)));
    assert_eq!(agent.lines(), ["started"]);
}

#[tokio::test]
async fn the_pod_itself_cannot_speak_for_the_courier() {
    let agent = Agent::start("east", &specification("true")).await;
    agent.order(|orders| orders.begin = false);
    let pod = Pod::start(&agent);
    until("staged", || agent.known().staged > 0).await;
    let socket = pod.path("system/courier.sock");
    let channel = Endpoint::from_static("http://courier").connect_with_connector_lazy(tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    }));
    let mut client = CourierClient::new(channel);
    let refused = client.session(futures::stream::empty()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = client.prepare_upload(wire::PrepareUploadRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let refused = client.prepare_download(wire::PrepareDownloadRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    // What it shows itself does not count.
    let mut request = tonic::Request::new(wire::DescribeRequest {});
    request
        .metadata_mut()
        .insert("authorization", "Bearer other".parse().unwrap());
    client.describe(request).await.unwrap();
}

#[tokio::test]
async fn only_the_agent_of_the_cluster_is_believed_and_only_its_word_counts() {
    let agent = Agent::start("west", &specification("true")).await;
    let mut pod = Pod::start(&agent);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(agent.known().calls.is_empty());
    drop(pod);
    // An attempt that does not count any more.
    let agent = Agent::start("east", &specification("true")).await;
    pod = Pod::new();
    pod.start_courier_with(&agent, "east", "an old one");
    pod.start_job();
    assert_eq!(pod.ended().await, (Some(1), Some(1)));
}

pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = rand::random::<u64>() | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[tokio::test]
async fn a_pod_takes_and_leaves_no_more_than_its_job_says() {
    let script = "cd $TOMBOLO_INPUTS; find . -type f; head -c 2097153 /dev/zero > $TOMBOLO_OUTPUT/x";
    let mut limited = specification(script);
    limited.output_limit_bytes = Some(2 << 20);
    let agent = Agent::start("east", &limited).await;
    let input = tempfile::tempdir().unwrap();
    fs::create_dir(input.path().join("dist")).unwrap();
    fs::write(input.path().join("dist/a"), "a").unwrap();
    fs::write(input.path().join("b"), noise(6 << 20)).unwrap();
    agent.add_material("inputs/first", input.path());
    agent.known().description.materials[0].paths = vec!["dist/**".to_owned()];
    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(0), Some(0)));
    assert_eq!(agent.lines(), ["./first/dist/a"]);
    let finish = agent.known().finish.clone().unwrap();
    assert!(matches!(finish.output, Some(Output::Refused(_))), "{:?}", finish.output);
}
