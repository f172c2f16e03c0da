//! Volumes that jobs share, as claims.

use serde_json::{Value, json};

use crate::cluster::{Cluster, wait_for};
use crate::user::job;
use crate::world::World;

/// The claims of volumes of a project.
#[track_caller]
fn claims(cluster: &Cluster, project: &str) -> Vec<String> {
    let label = format!("tombolo.dev/volume,tombolo.dev/project={project}");
    let listed = cluster.kubectl(&["get", "pvc", "--all-namespaces", "-l", &label, "-o", "name"]);
    listed.succeeded().output.lines().map(str::to_owned).collect()
}

/// Anywhere.
fn placed_freely(name: &str, shell: &str, more: &Value) -> Value {
    let mut job = job(name, "any", shell, more);
    job.as_object_mut().expect("an object").remove("cluster");
    job
}

#[test]
fn jobs_of_a_build_share_a_volume_and_those_of_a_project_a_workspace() {
    let world = World::get();
    let (_east, _west) = (world.east.whole(), world.west.whole());
    let project = "volumes";
    world.tombolo(&["project", "create", project]).succeeded();
    let build = world.submit(
        project,
        &[
            job(
                "first",
                "west",
                "mkdir /tombolo/shared/deep; echo $(id -u) > /tombolo/shared/deep/file; while ! test -e /tombolo/shared/go; do sleep 0.2; done",
                &json!({"volumes": ["shared"]}),
            ),
            placed_freely(
                "beside",
                "until test -s /infrabox/shared/deep/file; do sleep 0.2; done; touch /infrabox/shared/go",
                &json!({"volumes": ["shared"]}),
            ),
            placed_freely(
                "it",
                "cat /tombolo/shared/deep/file; cp /tombolo/shared/deep/file $TOMBOLO_WORKSPACE/kept",
                &json!({"volumes": ["shared", "workspace"], "depends_on": ["first", "beside"]}),
            ),
        ],
    );
    let there = wait_for("the claim of the build", || {
        Some(claims(&world.west, project)).filter(|claims| !claims.is_empty())
    });
    assert!(there.len() == 1 && there[0].contains("/tombolo-shared-"), "{there:?}");
    build.ends("finished", &[]);
    for name in ["first", "beside", "it"] {
        let job = build.job(name);
        assert_eq!(job["cluster"], "west", "{job:#}");
    }
    assert!(build.log("it").iter().any(|line| line == "1000"));
    wait_for("the claim of the build to go", || {
        let left = claims(&world.west, project);
        (left.len() == 1 && left[0].contains("/tombolo-workspace-")).then_some(())
    });

    let later = world.submit(
        project,
        &[placed_freely(
            "it",
            "cat /tombolo/workspace/kept; exit 5",
            &json!({"volumes": ["workspace"]}),
        )],
    );
    let job = later.ends("failure", &["exit code 5"]);
    assert_eq!(job["cluster"], "west", "where the workspace is");
    assert!(
        later.log("it").iter().any(|line| line == "1000"),
        "the build before left it"
    );
    assert_eq!(claims(&world.east, project), [] as [String; 0]);

    world.tombolo(&["project", "delete", project, "--yes"]).succeeded();
    wait_for("the claim of the project to go", || {
        claims(&world.west, project).is_empty().then_some(())
    });
}

/// An agent that dies while a build goes on still removes the build's volume.
#[test]
fn a_volume_goes_with_its_build_also_when_the_agent_died() {
    let world = World::get();
    let _alone = world.east.alone();
    let build = world.run(
        "east",
        "echo began; sleep 20; echo over > /tombolo/shared/end",
        &json!({"volumes": ["shared"]}),
    );
    build.says("it", "began");
    let agent = ["--namespace", crate::cluster::NAMESPACE, "deploy/tombolo-agent"];
    world
        .east
        .kubectl(&[&["scale", "--replicas", "0"], &agent[..]].concat())
        .succeeded();
    build.tombolo("cancel", &[]).succeeded();
    world
        .east
        .kubectl(&[&["scale", "--replicas", "1"], &agent[..]].concat())
        .succeeded();
    build.ends("killed", &[]);
    let number = format!(
        "tombolo.dev/volume=shared-{}",
        build.now()["id"].as_str().expect("an id")
    );
    wait_for("the claim to go", || {
        let listed = world
            .east
            .kubectl(&["get", "pvc", "--all-namespaces", "-l", &number, "-o", "name"]);
        listed.succeeded().output.trim().is_empty().then_some(())
    });
}
