//! Pods that clone.

use std::time::Duration;

use tombolo_agent::clone::{Order, WORD};
use tombolo_agent::supervisor::Looked;
use tombolo_core::build::repository::Repository as Wanted;
use tombolo_proto::courier::v1 as wire;

use crate::agent::{Agent, specification};
use crate::git::{Manner, Repository, Server};
use crate::setting::Pod;

#[tokio::test]
async fn a_clone_is_handed_over_with_its_job_file_and_a_failure_with_its_reason() {
    let flow = r#"{"version": 1, "jobs": [{"type": "workflow", "name": "w", "infrabox_file": "part.json"}]}"#;
    let repository = Repository::new();
    repository.commit("main", &[("ci/infrabox.json", flow), ("ci/part.json", "{}")]);
    let server = Server::start(&repository, Manner::default());
    for commit in ["main", "gone"] {
        let order = Order {
            repository: Wanted {
                url: server.url.clone(),
                commit: commit.to_owned(),
                branch: None,
                file: None,
                username: None,
            },
            limit_bytes: 1 << 20,
            silence: Duration::from_secs(10),
        };
        let order = serde_json::to_string(&order).unwrap();
        let mut specification = specification("");
        let program = env!("CARGO_BIN_EXE_supervise-for-tests");
        specification.command = [program, WORD, &order].map(str::to_owned).into();
        let file = Some("ci/infrabox.json".to_owned());
        specification.generated = Looked::InClone { file };
        let agent = Agent::start("east", &specification).await;
        let mut pod = Pod::start(&agent);
        let ended = pod.ended().await;
        let finish = agent.known().finish.clone().unwrap();
        let generated = finish.generated.unwrap();
        match commit {
            "main" => {
                assert_eq!(ended, (Some(0), Some(0)));
                let text = wire::generated_file::Content::Text(flow.to_owned());
                assert_eq!(
                    (generated.name.as_str(), generated.content),
                    ("ci/infrabox.json", Some(text))
                );
                let paths: Vec<&str> = generated.workflows.iter().map(|file| file.path.as_str()).collect();
                assert_eq!(paths, ["ci/part.json"]);
                assert!(matches!(finish.output, Some(wire::finish_request::Output::Manifest(_))));
            }
            _ => {
                assert_eq!(ended.0, Some(1));
                let Some(wire::generated_file::Content::Obstacle(reason)) = generated.content else {
                    panic!("{generated:?}")
                };
                assert!(reason.contains("no branch and no tag `gone`"), "{reason}");
                assert!(matches!(finish.output, Some(wire::finish_request::Output::Nothing(_))));
            }
        }
    }
}
