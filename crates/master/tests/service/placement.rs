//! Plans, explanations and shares, as users ask for them.

use http::Method;
use serde_json::{Value, json};
use tombolo_api::{Code, Plan, PlanOutcome, Project};

use crate::agent::Agent;
use crate::setting::Master;

const FILE: &str = r#"{"version": 1, "jobs": [
    {"type": "docker-image", "name": "here", "image": "i", "cluster": {"selector": ["AWS"]}},
    {"type": "docker-image", "name": "after", "image": "i", "depends_on": ["here"]},
    {"type": "docker-image", "name": "gpu", "image": "i", "priority": 5, "cluster": {"selector": ["AWS", "gpu>0"]}}
]}"#;

fn body() -> Value {
    json!({"job_file": {"name": "tombolo.json", "text": FILE}})
}

#[tokio::test]
async fn a_plan_says_where_each_job_would_go_and_submits_nothing() {
    let master = Master::start().await;
    let _: Value = master.user.post("/api/v1/projects", json!({"name": "shop"})).await;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let _session = east.connect(Vec::new()).await;
    let plan: Plan = master.user.post("/api/v1/projects/shop/plan", body()).await;
    let outcomes: Vec<_> = plan.jobs.iter().map(|job| (job.name.as_str(), job.outcome)).collect();
    let expected = [
        ("here", PlanOutcome::Placed),
        ("after", PlanOutcome::Placed),
        ("gpu", PlanOutcome::Nowhere),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(plan.jobs[0].cluster.as_ref().map(|name| name.as_str()), Some("east"));
    let nowhere = &plan.jobs[2];
    assert!(
        nowhere
            .advice
            .as_deref()
            .unwrap_or_default()
            .contains("leave `gpu>0` out"),
        "{nowhere:?}"
    );
    assert_eq!(nowhere.clusters[0].misses[0].kind, "label");
    let builds: Value = master.user.get("/api/v1/projects/shop/builds").await;
    assert_eq!(builds["builds"], json!([]));

    let _: Value = master.user.post("/api/v1/projects/shop/builds", body()).await;
    let explained: Value = master.user.get("/api/v1/projects/shop/builds/1/jobs/gpu/explain").await;
    assert_eq!(explained["advice"], json!(nowhere.advice));
    assert_eq!(explained["summary"], json!(nowhere.reason));
    let broken = json!({"job_file": {"name": "tombolo.json", "text": "{}"}});
    let refused = master
        .user
        .refused(Method::POST, "/api/v1/projects/shop/plan", Some(broken))
        .await;
    assert_eq!(refused.code, Code::InvalidJobFile);
}

#[tokio::test]
async fn what_a_project_requires_of_clusters_is_told_apart_from_what_a_job_does() {
    let master = Master::start().await;
    let _: Value = master.user.post("/api/v1/projects", json!({"name": "shop"})).await;
    let east = Agent::join(&master, "east", &["AWS", "region=us"]).await;
    let _session = east.connect(Vec::new()).await;
    let share = json!({"weight": 1, "clusters": ["region=eu"]});
    let set = master
        .user
        .send(Method::PUT, "/api/v1/projects/shop/share", Some(share))
        .await;
    assert!(set.status().is_success());
    let plan: Plan = master.user.post("/api/v1/projects/shop/plan", body()).await;
    let kinds = |job: usize| {
        let misses = plan.jobs[job].clusters[0].misses.iter();
        misses.map(|miss| miss.kind.as_str()).collect::<Vec<_>>()
    };
    assert_eq!((kinds(0), kinds(2)), (vec!["residency"], vec!["label", "residency"]));
    let here = &plan.jobs[0];
    let miss = "project `shop` may run only where `region=eu` holds (it is `us`)";
    assert_eq!(here.clusters[0].misses[0].message, miss);
    assert_eq!(
        here.reason,
        format!("no cluster can run it; the nearest is `east`: {miss}")
    );
    let remedy = "have an administrator widen where its project may run, for builds that are submitted then: `tombolo project set shop --clusters ...`";
    assert_eq!(here.clusters[0].remedy.as_deref(), Some(remedy));
    assert_eq!(here.advice, Some(format!("to have it fit on cluster `east`: {remedy}")));
}

#[tokio::test]
async fn only_who_manages_the_installation_says_what_a_project_may_have() {
    let master = Master::start().await;
    let made: Project = master.user.post("/api/v1/projects", json!({"name": "shop"})).await;
    assert_eq!((made.share.weight, made.share.limits.jobs), (1, None));
    let share = json!({"weight": 3, "limits": {"jobs": 1}});
    let path = "/api/v1/projects/shop/share";
    let admin = master.user_with("admin", Some("shop")).await;
    let refused = admin.refused(Method::PUT, path, Some(share.clone())).await;
    assert_eq!(refused.code, Code::Forbidden);
    let changed = master.user.send(Method::PUT, path, Some(share)).await;
    assert!(changed.status().is_success());
    for (body, word) in [
        (json!({"weight": 0}), "`weight` is 0"),
        (json!({"weight": 1001}), "`weight` is 1001"),
        (json!({"weight": 1, "limits": {"jobs": 0}}), "`limits.jobs` is 0"),
        (
            json!({"weight": 1, "clusters": vec!["gpu"; 20_000]}),
            "20000 requirements are more than 64",
        ),
        (
            json!({"weight": 1, "build_limits": {"cpu_milli": 0}}),
            "`build_limits.cpu_milli` is 0",
        ),
    ] {
        let refused = master.user.refused(Method::PUT, path, Some(body)).await;
        assert_eq!(refused.code, Code::InvalidRequest);
        assert!(refused.detail.contains(word), "{refused:?}");
    }
    let absent = "/api/v1/projects/nobody/share";
    let refused = master
        .user
        .refused(Method::PUT, absent, Some(json!({"weight": 1})))
        .await;
    assert_eq!(refused.code, Code::NotFound);

    let master = master.restart().await;
    let kept: Project = master.user.get("/api/v1/projects/shop").await;
    assert_eq!((kept.share.weight, kept.share.limits.jobs), (3, Some(1)));
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let _session = east.connect(Vec::new()).await;
    let two = r#"{"version": 1, "jobs": [
        {"type": "docker-image", "name": "a", "image": "i"}, {"type": "docker-image", "name": "b", "image": "i"}
    ]}"#;
    let body = json!({"job_file": {"name": "tombolo.json", "text": two}});
    let _: Value = master.user.post("/api/v1/projects/shop/builds", body).await;
    let explained: Value = master.user.get("/api/v1/projects/shop/builds/1/jobs/b/explain").await;
    assert_eq!(
        explained["summary"],
        "its project `shop` may have 1 job at once, and has it"
    );
}
