//! Another certificate authority takes the place of the first one, while a job runs and outputs cross.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::Authority;
use tombolo_identity::credentials::Credentials;
use tombolo_identity::key::PrivateKey;
use tombolo_identity::member::Member;
use tombolo_identity::tls::{Distrust, Identity};
use tombolo_identity::transport::{Proxy, connect};
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::control_client::ControlClient;

use crate::world::{World, job};

/// `long` runs for as long as there is no file `go`. `after` takes what it leaves to the other cluster.
const FILE: &str = r#"
version: 1
jobs:
  - name: long
    type: docker-image
    image: b
    cluster: {selector: [cluster=east]}
    command: [sh, -c, "echo begun >> PLACE/diary; while ! test -e PLACE/go; do sleep 0.05; done; head -c 3000000 /dev/urandom > $TOMBOLO_OUTPUT/noise"]
  - name: after
    type: docker-image
    image: b
    cluster: {selector: [cluster=west]}
    depends_on: [long]
    command: [sh, -c, "test $(wc -c < $TOMBOLO_INPUTS/long/noise) = 3000000"]
"#;

/// An output of its own, every time another one, from one cluster to the other.
const CROSSING: &str = r#"
version: 1
jobs:
  - {name: a, type: docker-image, image: b, cluster: {selector: [cluster=SENDER]}, command: [sh, -c, "head -c 300000 /dev/urandom > $TOMBOLO_OUTPUT/noise"]}
  - {name: b, type: docker-image, image: b, cluster: {selector: [cluster=RECEIVER]}, depends_on: [a], command: [sh, -c, "test -s $TOMBOLO_INPUTS/a/noise"]}
"#;

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    Timestamp(u64::try_from(since.as_millis()).expect("it is a number"))
}

/// The master's authority as its files have it now.
fn authority(world: &World) -> Authority {
    let opened = Authority::open(&world.path("master/authority"));
    opened.expect("it can be read").expect("it is there")
}

fn config(world: &World) -> String {
    world.path("master.toml").display().to_string()
}

/// The states of the clusters' certificates, by name; none while the master is away.
fn states(world: &World) -> Option<(usize, Vec<(String, String)>)> {
    let printed = world.tombolo(&["ca", "status", "-o", "json"]);
    let status = (printed.code == 0).then(|| printed.json())?;
    let clusters = status["clusters"].as_array()?.iter().map(|cluster| {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        (text(&cluster["cluster"]), text(&cluster["state"]))
    });
    Some((status["roots"].as_array()?.len(), clusters.collect()))
}

/// Waits until both clusters have what the master gives out now, and it trusts so many roots.
#[track_caller]
fn all_current(world: &World, roots: usize) {
    world.wait_for("both clusters to have certificates of today", || {
        let (trusted, states) = states(world)?;
        (trusted == roots && states.len() == 2 && states.iter().all(|(_, state)| state == "current")).then_some(())
    });
}

#[track_caller]
fn crosses_both_ways(world: &World) {
    for (from, to) in [("east", "west"), ("west", "east")] {
        let build = world.run(&CROSSING.replace("SENDER", from).replace("RECEIVER", to));
        assert_eq!(build["state"], "finished", "{build:#}");
        let input = &job(&build, "b")["inputs"][0];
        assert_eq!(
            (&input["from"], &input["route"]),
            (&from.into(), &"peer".into()),
            "{build:#}"
        );
    }
}

/// How a cluster stands, as its name and state.
fn stands(cluster: &str, state: &str) -> (String, String) {
    (cluster.to_owned(), state.to_owned())
}

/// A certificate for the agent's own key, which nobody else has; signed by whichever authority.
fn member(world: &World, cluster: &str, authority: &Authority) -> Identity {
    let key = PrivateKey::load(&world.path(&format!("{cluster}/identity/key.pem"))).expect("its key");
    let name = Member::Cluster(ClusterName::new(cluster).expect("a name"));
    let request = key.request().expect("a request");
    let chain = authority.sign(&request, &name, now()).expect("it signs");
    // It believes whoever signs now: what is tried is whether it is believed.
    let trust = self::authority(world).trust();
    Identity::new(Credentials::new(key, chain, trust).expect("they fit")).expect("TLS")
}

/// Calls the master as the agent would. The reason if that is refused.
fn call(world: &World, identity: &Identity) -> Result<(), Option<Distrust>> {
    let text = fs::read_to_string(world.path("east/identity/master")).expect("it has joined");
    let addresses: Vec<_> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let tls = identity.client(&Member::Master).expect("TLS");
        let channel = connect(&addresses, tls, &Proxy::none()).await;
        let channel = channel.map_err(|error| Distrust::find(&error))?;
        let answer = ControlClient::new(channel).confirm(wire::ConfirmRequest {}).await;
        answer.map(drop).map_err(|status| Distrust::find(&status))
    })
}

#[test]
fn another_authority_takes_over_while_jobs_run_and_outputs_cross() {
    let world = World::start_direct();
    let before = authority(&world);
    let place = world.path("").display().to_string();
    let number = world.submit(&FILE.replace("PLACE", place.trim_end_matches('/')));
    world.wait_for_state(number, "long", "running");
    all_current(&world, 1);
    let nothing = world.tombolo(&["ca", "finish", "--config", &config(&world)]);
    assert!(nothing.code == 1 && nothing.error.contains("ca rotate"), "{nothing:?}");

    // The new one is made while a cluster is away. The master that still runs knows nothing of it.
    let west = world.dismiss("west");
    let rotated = world
        .tombolo(&["ca", "rotate", "--config", &config(&world)])
        .succeeded();
    assert!(rotated.output.contains(&authority(&world).pin()), "{rotated:?}");
    let early = world.tombolo(&["ca", "finish", "--config", &config(&world)]);
    assert!(
        early.code == 1 && early.error.contains("start the master again"),
        "{early:?}"
    );
    let twice = world.tombolo(&["ca", "rotate", "--config", &config(&world)]);
    assert!(twice.code == 1 && twice.error.contains("ca finish"), "{twice:?}");
    world.kill("master");
    world.wait_for("east to come along", || {
        let (roots, states) = states(&world)?;
        (roots == 2 && states == [stands("east", "current"), stands("west", "unseen")]).then_some(())
    });
    let refused = world.tombolo(&["ca", "finish", "--config", &config(&world)]);
    assert!(
        refused.code == 1 && refused.error.contains("cut off") && refused.error.contains(": west"),
        "{refused:?}"
    );
    assert!(!refused.error.contains("east"), "{refused:?}");

    // It comes back with what it had, and takes what there is now. So does one that is killed meanwhile.
    world.write("west.toml", &west);
    all_current(&world, 2);
    crosses_both_ways(&world);
    call(&world, &member(&world, "east", &before)).expect("the older one is believed for now");
    world.kill("east");
    world.kill("master");
    all_current(&world, 2);
    let shown = world.tombolo(&["ca", "status"]).succeeded();
    assert!(shown.output.contains("tombolo ca finish"), "{shown:?}");

    world
        .tombolo(&["ca", "finish", "--config", &config(&world)])
        .succeeded();
    world.kill("master");
    all_current(&world, 1);
    for cluster in ["east", "west"] {
        let trust = fs::read_to_string(world.path(&format!("{cluster}/identity/trust.pem"))).expect("it is there");
        let old = before.trust().pem();
        assert!(!trust.contains(old.trim()), "{cluster} still believes the older one");
    }
    crosses_both_ways(&world);

    // A certificate of the older one is refused, also for a key that the master knows.
    // Whether it hears why before the connection is closed is a matter of moments.
    let old = member(&world, "east", &before);
    let refusal = world.wait_for("the refusal with its reason", || {
        call(&world, &old).expect_err("the older authority is believed no more")
    });
    assert_eq!(refusal, Distrust::OfUs);
    call(&world, &member(&world, "east", &authority(&world))).expect("the same with one of today");

    // Nothing of this was noticed by what ran.
    fs::write(world.path("go"), "").expect("writable");
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    assert_eq!(job(&build, "long")["epoch"], 1, "{build:#}");
    assert_eq!(fs::read_to_string(world.path("diary")).expect("it ran"), "begun\n");
    assert_eq!(job(&build, "after")["inputs"][0]["route"], "peer", "{build:#}");
}

#[test]
fn a_cluster_that_was_away_over_all_of_it_is_told_how_to_join_again() {
    let world = World::start();
    let west = world.dismiss("west");
    world
        .tombolo(&["ca", "rotate", "--config", &config(&world)])
        .succeeded();
    world.kill("master");
    // As for a key that others have: whoever is not here is left behind.
    world
        .tombolo(&["ca", "finish", "--force", "--config", &config(&world)])
        .succeeded();
    world.kill("master");
    world.write("west.toml", &west);
    let log: PathBuf = world.path("logs/west.log");
    world.wait_for("west to say what to do", || {
        let log = fs::read_to_string(&log).ok()?;
        (log.contains("the authority was replaced while this cluster was away")
            && log.contains("tombolo cluster invite"))
        .then_some(())
    });
    let (_, states) = states(&world).expect("the master answers");
    assert!(states.contains(&stands("west", "unseen")), "{states:?}");

    let removed = ["cluster", "remove", "west", "--force"];
    world.tombolo(&removed).succeeded();
    let invited = world
        .tombolo(&["cluster", "invite", "west", "-o", "json"])
        .succeeded()
        .json();
    let invite = invited["invite"].as_str().expect("an invite");
    world.dismiss("west");
    // Started by hand: what `tombolo dev` starts it with has the first invite.
    world.write("joining.toml", &west);
    let mut agent = world.command(&["agent", "--config", &world.path("joining.toml").display().to_string()]);
    let agent = agent
        .env("TOMBOLO_AGENT_INVITE", invite)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut agent = agent.spawn().expect("the program runs");
    world.wait_for("west to be back", || {
        let (_, states) = self::states(&world)?;
        states.contains(&stands("west", "current")).then_some(())
    });
    agent.kill().expect("it lives");
    agent.wait().expect("it ends");
}
