//! Jobs that ask for more than their project, or their build, may have at once.

use serde_json::json;

use crate::world::{World, job};

const FILE: &str = r"
version: 1
jobs:
  - {name: first, type: docker-image, image: b, command: ['true'], resources: {limits: {cpu: 0.5, memory: 256}}}
  - {name: huge, type: docker-image, image: b, command: ['true'], resources: {limits: {cpu: 1, memory: 256}}, count: 2, timeouts: {queue: 5s}}
  - {name: small, type: docker-image, image: b, command: ['true'], resources: {limits: {cpu: 0.5, memory: 256}}, count: 3}
";

#[test]
fn a_job_that_passes_a_limit_by_itself_fits_nowhere_and_holds_nobody_up() {
    let world = World::start();
    let project = world.tombolo(&["project", "list", "-o", "name"]).succeeded().output;
    let project = project.trim();
    let file = world.write("limits.yaml", FILE).display().to_string();
    for (option, of, whose) in [
        ("--max-cpu", "project", format!("its project `{project}`")),
        ("--build-max-cpu", "build", "its build".to_owned()),
    ] {
        world.tombolo(&["project", "set", project, option, "0.5"]).succeeded();
        let advice = format!(
            "ask for at most 0.5 cpu, or have an administrator raise the limit: `tombolo project set {project} {option} 1`"
        );
        let words = format!("it asks for 1 cpu, and {whose} may have 0.5 at once");
        let plan = world.tombolo(&["plan", &file]);
        assert_eq!(plan.code, 3, "{plan:?}");
        assert!(
            plan.output.contains("(nowhere)") && plan.output.contains(&advice),
            "{plan:?}"
        );
        let plan = world.tombolo(&["plan", &file, "-o", "json"]).json();
        let miss = json!({
            "kind": "over_limit", "message": words, "resource": "cpu", "limit": 500, "limit_of": of, "request": 1000,
        });
        assert_eq!(plan["jobs"][1]["clusters"][0]["misses"], json!([miss]), "{plan:#}");
        assert_eq!(plan["jobs"][1]["clusters"][0]["fits"], false, "{plan:#}");

        let build = world.run(FILE);
        for (name, state) in [("first", "finished"), ("huge", "error"), ("small", "finished")] {
            assert_eq!(job(&build, name)["state"], state, "{build:#}");
        }
        let number = build["number"].to_string();
        let huge = world
            .tombolo(&["jobs", &number, "huge", "-o", "json"])
            .succeeded()
            .output;
        assert!(huge.contains(&words) && huge.contains(&advice), "{huge}");
        assert!(!huge.contains("give it more time"), "{huge}");
        world.tombolo(&["project", "set", project, option, "none"]).succeeded();
    }
    world.tombolo(&["plan", &file]).succeeded();
}
