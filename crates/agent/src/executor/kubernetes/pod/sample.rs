//! One assignment, and settings, for tests.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tombolo_core::attempt::{Assignment, BuildContext, InputReference, OutputReference, Revision};
use tombolo_core::build::JobSpec;
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, BuildId, Epoch, JobId, ProjectId};
use tombolo_core::label::{Labels, Selector};
use tombolo_core::name::{ClusterName, JobName, ProjectName};
use tombolo_core::resources::Resources;

use super::{Error, Facts, render as render_pod};
use crate::executor::kubernetes::settings::{JobSettings, Section, Settings};

pub(crate) fn cluster() -> ClusterName {
    ClusterName::new("east").unwrap()
}

pub(crate) fn settings() -> Settings {
    let section: Section = serde_json::from_value(serde_json::json!({
        "image": "registry.example.org/tombolo:1",
        "courier_address": "tombolo-agent.tombolo:7444",
    }))
    .unwrap();
    section.check(Some("jobs".to_owned())).unwrap()
}

pub(crate) fn job() -> JobSettings {
    JobSettings {
        resources: Resources {
            cpu_milli: 1500,
            memory_bytes: 512 << 20,
        },
        ..JobSettings::default()
    }
}

pub(crate) fn assignment() -> Assignment {
    Assignment {
        attempt: AttemptId {
            job: JobId::from_u128(0x1234),
            epoch: Epoch(2),
        },
        build: BuildContext {
            project: ProjectId::from_u128(1),
            project_name: ProjectName::new("shop").unwrap(),
            build: BuildId::from_u128(0x77),
            number: 12,
            restarts: 0,
            public_url: "https://master".to_owned(),
            revision: Revision::default(),
            outcome: None,
        },
        job: JobSpec {
            name: JobName::new("web/test").unwrap(),
            image: "node:22".to_owned(),
            command: Some(vec!["npm".to_owned(), "test".to_owned()]),
            environment: [("PASSWORD".to_owned(), "secret".to_owned())].into(),
            secrets: Default::default(),
            timeout: Duration::from_secs(3600),
            resources: job().resources,
            dependencies: Vec::new(),
            selector: Selector::default(),
            prefer: None,
            priority: 0,
            volumes: tombolo_core::volume::VolumeSet::default(),
            cache: false,
            pod: None,
            kind: Default::default(),
            source: true,
            needs: Default::default(),
            passes_on: Default::default(),
            confined_to: Default::default(),
            repository: None,
            extensions: None,
        },
        source: None,
        inputs: Vec::new(),
        parents: Vec::new(),
        labels: Labels::default(),
        volumes_together: Default::default(),
        waiting_per_hour: Default::default(),
        cache: None,
    }
}

pub(crate) fn render(settings: &Settings) -> Result<Pod, Error> {
    render_with(settings, &job(), &[])
}

/// With inputs of these sizes.
pub(crate) fn render_with(settings: &Settings, job: &JobSettings, inputs: &[u64]) -> Result<Pod, Error> {
    let (mut assignment, cluster) = (assignment(), cluster());
    assignment.inputs.extend(inputs.iter().map(|bytes| InputReference {
        index: None,
        job: JobId::from_u128(1),
        name: JobName::new("a").unwrap(),
        output: OutputReference {
            manifest: Digest::new([0; 32]),
            bytes: *bytes,
            files: 1,
        },
        sources: Vec::new(),
        grant: Vec::new(),
    }));
    let facts = Facts {
        cluster: &cluster,
        assignment: &assignment,
        job,
        image: None,
        trust: "PEM",
    };
    render_pod(settings, &facts)
}
