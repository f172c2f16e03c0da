//! Every route of the OpenAPI document, with every role, in one's own project and in another's.

use http::Method;
use serde_json::{Value, json};
use tombolo_api::{Code, Problem};

use crate::setting::{Master, User};

const OWN: &str = "own";
const NIL: &str = "00000000-0000-0000-0000-000000000000";

struct Route {
    method: Method,
    path: String,
    role: u8,
    reach: String,
}

fn rank(role: &str) -> u8 {
    ["viewer", "developer", "admin"]
        .iter()
        .position(|known| *known == role)
        .unwrap() as u8
}

/// All routes, with parameters that name nothing but the project.
fn routes(document: &Value) -> (Vec<Route>, Vec<String>) {
    let (mut routes, mut open) = (Vec::new(), Vec::new());
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let digest = "0".repeat(64);
            let path = template
                .replace("{project}", OWN)
                .replace("{number}", "999")
                .replace("{job}", "nobody")
                .replace("{digest}", &digest)
                .replace("{cluster}", "nowhere")
                .replace("{token}", NIL)
                .replace("{secret}", "nothing")
                .replace("{trigger}", "nothing");
            assert!(
                !path.contains('{'),
                "{template} has a parameter that this test does not know"
            );
            if operation["security"].is_null() {
                open.push(path);
                continue;
            }
            routes.push(Route {
                method: method.to_uppercase().parse().unwrap(),
                path,
                role: rank(operation["x-tombolo-role"].as_str().unwrap()),
                reach: operation["x-tombolo-reach"].as_str().unwrap().to_owned(),
            });
        }
    }
    (routes, open)
}

/// The problem's code, unless the call was let through to what the handler has to say.
fn refusal(status: u16, problem: Option<&Problem>) -> Option<Code> {
    match (status, problem) {
        (401 | 403, Some(problem)) => Some(problem.code),
        (404, Some(problem)) if problem.detail == format!("project `{OWN}` does not exist") => Some(Code::NotFound),
        _ => None,
    }
}

async fn call(user: &User, route: &Route) -> Option<Code> {
    // A body that no handler takes: whoever is let through is told so, and nothing changes.
    let body = matches!(route.method, Method::POST | Method::PUT).then(|| json!({"unknown": true}));
    let response = user.send(route.method.clone(), &route.path, body).await;
    let status = response.status().as_u16();
    let problem = serde_json::from_str::<Problem>(&response.text().await.unwrap()).ok();
    refusal(status, problem.as_ref())
}

#[tokio::test]
async fn every_route_with_every_role() {
    let master = Master::start().await;
    for project in [OWN, "other"] {
        let _: Value = master.user.post("/api/v1/projects", json!({"name": project})).await;
    }
    let document: Value = master.user.get("/api/v1/openapi.json").await;
    let (routes, open) = routes(&document);
    assert_eq!(open, ["/healthz", "/readyz"]);
    let known = routes
        .iter()
        .filter(|route| ["project", "everywhere", "somewhere"].contains(&route.reach.as_str()));
    assert!(known.count() == routes.len() && routes.len() > 25);
    let stranger = master.user.with_token(None);
    let guesser = master.user.with_token(Some(format!("tombolo_{}", "A".repeat(43))));
    for route in &routes {
        for nobody in [&stranger, &guesser] {
            assert_eq!(
                call(nobody, route).await,
                Some(Code::Unauthenticated),
                "{} {}",
                route.method,
                route.path
            );
        }
    }
    for role in ["viewer", "developer", "admin"] {
        for project in [None, Some(OWN), Some("other")] {
            let user = master.user_with(role, project).await;
            // Routes that would take away what the others need come last.
            let (last, first): (Vec<_>, Vec<_>) = routes
                .iter()
                .partition(|route| route.method == Method::DELETE && route.path == format!("/api/v1/projects/{OWN}"));
            for route in first
                .into_iter()
                .chain(last.into_iter().filter(|_| role != "admin" || project == Some("other")))
            {
                let expected = match (route.reach.as_str(), project) {
                    ("project", Some("other")) => Some(Code::NotFound),
                    ("everywhere", Some(_)) => Some(Code::Forbidden),
                    _ if rank(role) < route.role => Some(Code::Forbidden),
                    _ => None,
                };
                let found = call(&user, route).await;
                assert_eq!(
                    found, expected,
                    "{role} in {project:?}: {} {}",
                    route.method, route.path
                );
            }
        }
    }
    assert_eq!(master.user.delete(&format!("/api/v1/projects/{OWN}")).await, 204);
}

#[tokio::test]
async fn an_admin_of_one_project_manages_its_tokens_only() {
    let master = Master::start().await;
    for project in [OWN, "other"] {
        let _: Value = master.user.post("/api/v1/projects", json!({"name": project})).await;
    }
    let chief = master.user.clone();
    let admin = master.user_with("admin", Some(OWN)).await;
    let other = master.user_with("viewer", Some("other")).await;
    let other: Value = other.get("/api/v1/whoami").await;
    for (project, expected) in [(None, Code::Forbidden), (Some("other"), Code::NotFound)] {
        let request = json!({"name": "more", "role": "viewer", "project": project});
        let refused = admin.refused(Method::POST, "/api/v1/tokens", Some(request)).await;
        assert_eq!(refused.code, expected, "{project:?}");
    }
    let own: Value = admin
        .post(
            "/api/v1/tokens",
            json!({"name": "more", "role": "admin", "project": OWN}),
        )
        .await;
    let listed: Value = admin.get("/api/v1/tokens").await;
    let names: Vec<_> = listed["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| &token["project"])
        .collect();
    assert_eq!(names, [OWN, OWN]);
    let path = |token: &Value| format!("/api/v1/tokens/{}", token["token"]["id"].as_str().unwrap());
    assert_eq!(
        admin.refused(Method::DELETE, &path(&other), None).await.code,
        Code::NotFound
    );
    assert_eq!(admin.delete(&path(&own)).await, 204);
    let chief_token: Value = chief.get("/api/v1/whoami").await;
    let refused = chief.refused(Method::DELETE, &path(&chief_token), None).await;
    assert_eq!(refused.code, Code::Conflict, "the last admin token stays");
}
