//! What a job gets and leaves behind.

use serde_json::json;

use crate::cluster::wait_for;
use crate::world::World;

#[test]
fn a_pod_and_its_secret_are_there_while_it_runs_and_gone_afterwards() {
    let world = World::get();
    for cluster in [&world.east, &world.west] {
        let _whole = cluster.whole();
        let shell = "echo out of the pod; while ! test -e /tmp/go; do sleep 0.2; done; id -u; exit 3";
        let build = world.run(cluster.name, shell, &json!({}));
        build.says("it", "out of the pod");
        let (pod, namespace) = cluster.pod_of(&build.id("it"));
        let there = cluster.belongings(&build.id("it"));
        assert_eq!(there, [format!("pod/{pod}"), format!("secret/{pod}")]);
        let go = [
            "exec",
            "--namespace",
            &namespace,
            &pod,
            "--container",
            "job",
            "--",
            "touch",
            "/tmp/go",
        ];
        cluster.kubectl(&go).succeeded();
        let job = build.ends("failure", &["exit code 3"]);
        assert_eq!(job["exit_code"], 3);
        assert!(
            build.log("it").iter().any(|line| line == "1000"),
            "{:?}",
            build.log("it")
        );
    }
}

/// In the job's container, as its user, in its folder, and with its exit code.
#[test]
fn commands_beside_a_job_that_runs() {
    let world = World::get();
    for cluster in [&world.east, &world.west] {
        let _whole = cluster.whole();
        let build = world.run(
            cluster.name,
            "echo ready; while ! test -e go; do sleep 0.2; done",
            &json!({}),
        );
        build.says("it", "ready");
        let printed = build.tombolo(
            "exec",
            &["it", "--", "sh", "-c", "pwd; id -u; echo $TOMBOLO_JOB_NAME; exit 7"],
        );
        assert_eq!(printed.code, 7, "{printed:?}");
        assert_eq!(
            printed.output.lines().collect::<Vec<_>>(),
            ["/tombolo/context", "1000", "it"]
        );
        build.tombolo("exec", &["it", "--", "touch", "go"]).succeeded();
        build.ends("finished", &[]);
        let late = build.tombolo("exec", &["it", "--", "true"]);
        assert_ne!(late.code, 0, "the job is over: {late:?}");
    }
}

#[test]
fn ten_thousand_lines_of_a_job_that_ends_at_once_are_all_there() {
    let world = World::get();
    let _whole = world.west.whole();
    let build = world.run("west", "seq 10000", &json!({}));
    build.ends("finished", &[]);
    let log = build.log("it");
    let lines: Vec<_> = log.iter().filter(|line| !line.starts_with("tombolo: ")).collect();
    assert_eq!(lines.len(), 10_000);
    assert!(
        lines
            .iter()
            .enumerate()
            .all(|(index, line)| **line == (index + 1).to_string())
    );
}

/// What a job has left is there however it ended.
#[test]
fn outputs_are_kept_on_failure_timeout_and_cancel() {
    let world = World::get();
    let _whole = world.east.whole();
    let wrote = "echo kept > $TOMBOLO_OUTPUT/file; echo ready; ";
    let failed = world.run("east", &format!("{wrote} exit 7"), &json!({}));
    let late = world.run("east", &format!("{wrote} exec sleep 100"), &json!({"timeout": 3}));
    let cancelled = world.run("east", &format!("{wrote} exec sleep 100"), &json!({}));
    cancelled.says("it", "ready");
    cancelled.tombolo("cancel", &[]).succeeded();
    failed.ends("failure", &["exit code 7"]);
    late.ends("failure", &["timed out after 3s"]);
    cancelled.ends("killed", &["cancelled"]);
    for build in [failed, late, cancelled] {
        let folder = build.output("it");
        let kept = std::fs::read_to_string(folder.path().join("output/file")).unwrap();
        assert_eq!(kept, "kept\n");
    }
}

#[test]
fn a_job_that_does_not_heed_its_end_is_killed() {
    let world = World::get();
    let _whole = world.west.whole();
    let deaf = "trap 'echo heard and ignored' TERM; echo ready; while true; do sleep 1; done";
    let build = world.run("west", deaf, &json!({}));
    build.says("it", "ready");
    build.tombolo("cancel", &[]).succeeded();
    build.ends("killed", &["cancelled"]);
    assert!(build.log("it").iter().any(|line| line == "heard and ignored"));
}

#[test]
fn what_is_cancelled_before_it_runs_never_does() {
    let world = World::get();
    let _whole = world.east.whole();
    let huge = json!({"resources": {"limits": {"cpu": 500, "memory": 256}}});
    let build = world.run("east", "echo ran", &huge);
    build.says("it", "Insufficient cpu");
    build.tombolo("cancel", &[]).succeeded();
    build.ends("killed", &["cancelled"]);
    assert!(!build.log("it").iter().any(|line| line == "ran"));
}

/// The metrics of a tiny cluster: more jobs than it has room for wait, and all of them run.
#[test]
fn more_jobs_than_fit_at_once() {
    let world = World::get();
    let _whole = world.west.whole();
    let jobs: Vec<_> = (0..12)
        .map(|number| crate::user::job(&format!("n{number}"), "west", "exit 0", &json!({})))
        .collect();
    let build = world.submit("main", &jobs);
    let ended = build.finish();
    assert_eq!(ended["state"], "finished", "{ended:#}");
    for number in 0..12 {
        build.leaves_nothing(&format!("n{number}"));
    }
    let listed = wait_for("the list of clusters", || {
        let list = world.tombolo(&["cluster", "show", "west", "-o", "json"]);
        (list.code == 0).then(|| list.json())
    });
    assert_eq!(listed["labels"]["node.nodes"], "1", "{listed:#}");
    assert_eq!(listed["labels"]["node.os"], "linux", "{listed:#}");
}

/// The value is in the command's environment and nowhere else that somebody may look at: not in Kubernetes, and not in a log.
#[test]
fn a_secret_comes_to_a_pod_and_is_masked() {
    let world = World::get();
    let value = "correct-horse/battery=staple";
    let file = world.folder.path().join("secret");
    std::fs::write(&file, value).expect("the folder is writable");
    let file = file.display().to_string();
    let set = ["secret", "set", "E2E", "--from-file", &file, "--project", "main"];
    world.tombolo(&set).succeeded();
    for cluster in [&world.east, &world.west] {
        let _whole = cluster.whole();
        let shell = "echo \"it is $PASSWORD\"; printf %s \"$PASSWORD\" | base64; printf %s \"$PASSWORD\" | wc -c; \
                     until test -e go; do sleep 0.2; done";
        let environment = json!({"environment": {"PASSWORD": {"$secret": "E2E"}}});
        let build = world.run(cluster.name, shell, &environment);
        build.says("it", "it is ***");
        let (pod, namespace) = cluster.pod_of(&build.id("it"));
        for what in [
            &["get", "pod,secret,configmap", "-o", "yaml"][..],
            &["logs", &pod, "--all-containers"],
        ] {
            // The kubelet says a little later than the pod itself that its containers run.
            let shown = wait_for("Kubernetes to show it", || {
                let shown = cluster.kubectl(&[what, &["--namespace", &namespace]].concat());
                (shown.code == 0).then_some(shown.output)
            });
            assert!(!shown.contains(value), "{what:?} shows it");
        }
        wait_for("the job to be let go", || {
            (build.tombolo("exec", &["it", "--", "touch", "go"]).code == 0).then_some(())
        });
        build.ends("finished", &[]);
        let log = build.log("it");
        let printed: Vec<_> = log.iter().filter(|line| !line.starts_with("tombolo: ")).collect();
        assert_eq!(printed, ["it is ***", "***", "28"], "{log:?}");
    }
    world
        .tombolo(&["secret", "delete", "E2E", "--project", "main"])
        .succeeded();
}
