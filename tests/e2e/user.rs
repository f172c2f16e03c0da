//! Builds as a user sees them.

use serde_json::{Value, json};

use crate::cluster::{Printed, wait_for, wait_or_show};
use crate::world::World;

/// One submitted build of one job file.
pub(crate) struct Build<'world> {
    world: &'world World,
    project: String,
    pub(crate) number: String,
}

/// What jobs run in; nodes have it.
pub(crate) const IMAGE: &str = "docker.io/library/busybox:1";

/// A job that runs a line of shell on a cluster, as JSON; `more` is laid over it.
pub(crate) fn job(name: &str, cluster: &str, shell: &str, more: &Value) -> Value {
    let mut job = json!({
        "type": "docker-image", "name": name, "image": IMAGE, "command": ["sh", "-c", shell],
        "cluster": {"selector": [format!("cluster={cluster}")]}, "timeout": 300,
        "resources": {"limits": {"cpu": 0.31, "memory": 256}},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        job[key] = value.clone();
    }
    job
}

impl World {
    /// Submits jobs as one build.
    #[track_caller]
    pub(crate) fn submit(&self, project: &str, jobs: &[Value]) -> Build<'_> {
        self.submit_with(project, jobs, &[])
    }

    /// The same with more arguments.
    #[track_caller]
    pub(crate) fn submit_with(&self, project: &str, jobs: &[Value], arguments: &[&str]) -> Build<'_> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("tombolo.json");
        std::fs::write(&path, json!({"version": 1, "jobs": jobs}).to_string()).expect("the folder is writable");
        let path = path.display().to_string();
        let mut line = vec!["run", &path, "-o", "name", "--project", project];
        line.extend(arguments);
        let printed = self.tombolo(&line).succeeded();
        Build {
            world: self,
            project: project.to_owned(),
            number: printed.output.trim().to_owned(),
        }
    }

    /// Submits one job that runs a line of shell.
    #[track_caller]
    pub(crate) fn run(&self, cluster: &str, shell: &str, more: &Value) -> Build<'_> {
        self.submit("main", &[job("it", cluster, shell, more)])
    }
}

impl Build<'_> {
    /// A command about this build.
    pub(crate) fn tombolo(&self, command: &str, arguments: &[&str]) -> Printed {
        let mut line: Vec<_> = command.split(' ').collect();
        line.extend(["--project", &self.project, &self.number]);
        line.extend(arguments);
        self.world.tombolo(&line)
    }

    /// How it is.
    #[track_caller]
    pub(crate) fn now(&self) -> Value {
        self.tombolo("jobs", &["-o", "json"]).succeeded().json()
    }

    /// One job as it is.
    #[track_caller]
    pub(crate) fn job(&self, name: &str) -> Value {
        let build = self.now();
        let jobs = build["jobs"].as_array().expect("a list of jobs");
        let job = jobs.iter().find(|job| job["name"] == name);
        job.unwrap_or_else(|| panic!("no job {name} in {build}")).clone()
    }

    /// The id of a job.
    #[track_caller]
    pub(crate) fn id(&self, name: &str) -> String {
        self.job(name)["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until the build is over, and returns it.
    #[track_caller]
    pub(crate) fn finish(&self) -> Value {
        wait_for(&format!("the build {} to end", self.number), || {
            Some(self.now()).filter(|build| build["state"] != "running")
        })
    }

    /// Waits until the build is over and nothing is left of its job `it`, and returns that job.
    #[track_caller]
    pub(crate) fn end(&self) -> Value {
        self.finish();
        let job = self.job("it");
        self.leaves_nothing("it");
        job
    }

    /// Waits until the build has ended like this, with nothing left of its job `it`; its message has all these words.
    #[track_caller]
    pub(crate) fn ends(&self, state: &str, words: &[&str]) -> Value {
        let job = self.end();
        let message = job["message"].as_str().unwrap_or_default();
        println!("{state}: {message}");
        assert_eq!(job["state"], state, "{job:#}\n{}", self.log("it").join("\n"));
        for word in words {
            assert!(message.contains(word), "no `{word}` in: {message}");
        }
        job
    }

    /// Waits until the job's cluster has nothing of it any more.
    #[track_caller]
    pub(crate) fn leaves_nothing(&self, name: &str) {
        let job = self.job(name);
        let id = job["id"].as_str().expect("an id");
        for cluster in [&self.world.east, &self.world.west] {
            wait_for(&format!("nothing to be left of {id} in {}", cluster.name), || {
                cluster.belongings(id).is_empty().then_some(())
            });
        }
    }

    /// The log of a job so far, or to its end if it is over.
    #[track_caller]
    pub(crate) fn log(&self, name: &str) -> Vec<String> {
        let printed = self.tombolo("logs", &[name]).succeeded();
        printed.output.lines().map(str::to_owned).collect()
    }

    /// Waits until the log has a line with these words, and returns it.
    #[track_caller]
    pub(crate) fn says(&self, name: &str, words: &str) -> String {
        let found = || self.log(name).into_iter().find(|line| line.contains(words));
        wait_or_show(&format!("`{words}` in the log of `{name}`"), found, || {
            self.state_of(name)
        })
    }

    /// All that is known of a job, for people who look for a fault.
    fn state_of(&self, name: &str) -> String {
        let id = self.id(name);
        let selector = format!("tombolo.dev/job={id}");
        let mut state = format!("{:#}\nlog:\n{}", self.job(name), self.log(name).join("\n"));
        for cluster in [&self.world.east, &self.world.west] {
            for of in ["describe pods", "get events"] {
                let mut line: Vec<_> = of.split(' ').collect();
                line.push("--all-namespaces");
                if of == "describe pods" {
                    line.extend(["--selector", &selector]);
                }
                state += &format!("\n{}: kubectl {of}:\n{}", cluster.name, cluster.kubectl(&line).output);
            }
        }
        state
    }

    /// The output of a job, downloaded.
    #[track_caller]
    pub(crate) fn output(&self, name: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let to = folder.path().join("output").display().to_string();
        self.tombolo("outputs get", &[name, "--to", &to]).succeeded();
        folder
    }
}
