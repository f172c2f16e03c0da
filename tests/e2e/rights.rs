//! An agent that may not do what it should: who looks is told which rule is missing.

use serde_json::json;

use crate::cluster::{NAMESPACE, Printed};
use crate::install::BARE;
use crate::user::job;
use crate::world::World;

fn doctor(world: &World, cluster: &str) -> Printed {
    let place = ["exec", "--namespace", NAMESPACE, "deployment/tombolo-agent", "--"];
    let doctor = [
        "/tombolo",
        "agent",
        "doctor",
        "--config",
        "/etc/tombolo/agent/agent.toml",
    ];
    world.cluster(cluster).kubectl(&[&place[..], &doctor[..]].concat())
}

#[test]
fn a_missing_right_is_named_by_the_job_and_by_doctor() {
    let world = World::get();
    let _alone = world.east.alone();
    let whole = doctor(world, "east").succeeded();
    println!("{}", whole.output);
    for words in ["configuration", "master", "store", "create pods", "create secrets"] {
        assert!(whole.output.contains(words), "no `{words}` in\n{}", whole.output);
    }
    let namespace = format!("{NAMESPACE}-{BARE}");
    let role = world
        .east
        .kubectl(&["get", "role", "tombolo-agent", "--namespace", &namespace, "-o", "json"]);
    let role = role.succeeded().json();
    let mut less = role.clone();
    let rules = less["rules"].as_array_mut().unwrap();
    rules.retain(|rule| rule["resources"] != json!(["secrets"]));
    assert_eq!(rules.len() + 1, role["rules"].as_array().unwrap().len());
    less["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    world.east.apply(&less);

    let build = world.submit(BARE, &[job("it", "east", "true", &json!({}))]);
    let rule = "{apiGroups: [\"\"], resources: [\"secrets\"], verbs: [\"create\"]}";
    build.ends("error", &["no right to create secrets", &namespace, rule]);
    let ill = doctor(world, "east");
    println!("{}", ill.output);
    assert_ne!(ill.code, 0, "{ill:?}");
    let lines: Vec<_> = ill.output.lines().filter(|line| line.contains(rule)).collect();
    assert!(lines.len() == 1 && lines[0].contains(&namespace), "{}", ill.output);

    let mut again = role;
    again["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    world.east.apply(&again);
    world
        .submit(BARE, &[job("it", "east", "true", &json!({}))])
        .ends("finished", &[]);
    doctor(world, "east").succeeded();
}

/// The agent's rights end at its namespaces, and reach no secret.
#[test]
fn the_agents_account_may_do_what_its_jobs_need_and_no_more() {
    let world = World::get();
    let _whole = world.east.whole();
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:tombolo-agent");
    for (question, expected) in [
        (["create", "pods", NAMESPACE], "yes"),
        (["delete", "pods", NAMESPACE], "yes"),
        (["create", "secrets", NAMESPACE], "yes"),
        (["get", "secrets", NAMESPACE], "no"),
        (["list", "secrets", NAMESPACE], "no"),
        (["update", "pods", NAMESPACE], "no"),
        (["create", "persistentvolumeclaims", NAMESPACE], "yes"),
        (["delete", "persistentvolumeclaims", NAMESPACE], "yes"),
        (["update", "persistentvolumeclaims", NAMESPACE], "no"),
        (["delete", "persistentvolumeclaims", "default"], "no"),
        (["create", "deployments", NAMESPACE], "no"),
        (["create", "pods", "default"], "no"),
        (["list", "pods", "kube-system"], "no"),
    ] {
        let [verb, resource, namespace] = question;
        let printed = world
            .east
            .kubectl(&["auth", "can-i", verb, resource, "--namespace", namespace, &account]);
        assert_eq!(printed.output.trim(), expected, "{question:?}");
    }
}
