//! Where things are. Every builder returns an absolute path, with what users chose percent-encoded.

use std::fmt::Write;

use tombolo_core::digest::Digest;
use tombolo_core::id::TokenId;
use tombolo_core::name::{ClusterName, JobName, ProjectName, SecretName, TriggerName};

/// What all paths of this version begin with.
pub const PREFIX: &str = "/api/v1";
/// Whether the process lives. No token needed.
pub const HEALTH: &str = "/healthz";
/// Whether it can do its work. No token needed.
pub const READY: &str = "/readyz";

/// The server's version.
pub fn version() -> String {
    format!("{PREFIX}/version")
}

/// The caller's own token.
pub fn whoami() -> String {
    format!("{PREFIX}/whoami")
}

/// The certificate authority.
pub fn authority() -> String {
    format!("{PREFIX}/authority")
}

/// The description of the API.
pub fn openapi() -> String {
    format!("{PREFIX}/openapi.json")
}

/// All projects.
pub fn projects() -> String {
    format!("{PREFIX}/projects")
}

/// One project.
pub fn project(project: &ProjectName) -> String {
    format!("{}/{project}", projects())
}

/// What a project may have of the clusters.
pub fn project_share(project: &ProjectName) -> String {
    format!("{}/share", self::project(project))
}

/// What retention would remove of a project.
pub fn retention_plan(project: &ProjectName) -> String {
    format!("{}/retention/plan", self::project(project))
}

/// The caches of a project. Query, to clear only some: `job`, `branch`.
pub fn caches(project: &ProjectName) -> String {
    format!("{}/caches", self::project(project))
}

/// The secrets of a project.
pub fn secrets(project: &ProjectName) -> String {
    format!("{}/secrets", self::project(project))
}

/// One secret of a project.
pub fn secret(project: &ProjectName, name: &SecretName) -> String {
    format!("{}/{name}", secrets(project))
}

/// The triggers of a project.
pub fn triggers(project: &ProjectName) -> String {
    format!("{}/triggers", self::project(project))
}

/// One trigger of a project.
pub fn trigger(project: &ProjectName, name: &TriggerName) -> String {
    format!("{}/{name}", triggers(project))
}

/// The builds of a project.
pub fn builds(project: &ProjectName) -> String {
    format!("{}/builds", self::project(project))
}

/// Where the jobs of a build would go.
pub fn plan(project: &ProjectName) -> String {
    format!("{}/plan", self::project(project))
}

/// One build.
pub fn build(project: &ProjectName, number: u64) -> String {
    format!("{}/{number}", builds(project))
}

/// How the inputs of a build's jobs come.
pub fn build_transfers(project: &ProjectName, number: u64) -> String {
    format!("{}/transfers", build(project, number))
}

/// Where a build is cancelled.
pub fn build_cancel(project: &ProjectName, number: u64) -> String {
    format!("{}/cancel", build(project, number))
}

/// Where all jobs of a project are cancelled that wait.
pub fn queue_cancel(project: &ProjectName) -> String {
    format!("{}/queue/cancel", self::project(project))
}

/// Where a build is run again.
pub fn build_rerun(project: &ProjectName, number: u64) -> String {
    format!("{}/rerun", build(project, number))
}

/// The events of a build.
pub fn build_events(project: &ProjectName, number: u64) -> String {
    format!("{}/events", build(project, number))
}

/// One job. The `/` in a job's name is written `%2F`.
pub fn job(project: &ProjectName, number: u64, job: &JobName) -> String {
    format!("{}/jobs/{}", build(project, number), encode(job.as_str()))
}

/// Where a job is cancelled.
pub fn job_cancel(project: &ProjectName, number: u64, job: &JobName) -> String {
    format!("{}/cancel", self::job(project, number, job))
}

/// Why a job is where it is.
pub fn job_explain(project: &ProjectName, number: u64, job: &JobName) -> String {
    format!("{}/explain", self::job(project, number, job))
}

/// The indexes of an array.
pub fn job_indexes(project: &ProjectName, number: u64, job: &JobName) -> String {
    format!("{}/indexes", self::job(project, number, job))
}

/// Where other commands are run beside a job's own: a WebSocket (see [`crate::exec`]).
pub fn job_exec(project: &ProjectName, number: u64, job: &JobName) -> String {
    format!("{}/exec", self::job(project, number, job))
}

/// A job's log. Query: `from`, `follow`, `epoch`.
pub fn job_log(project: &ProjectName, number: u64, job: &JobName) -> String {
    format!("{}/log", self::job(project, number, job))
}

/// What a job left behind. Query: `path`, `offset`, `limit`.
pub fn job_output(project: &ProjectName, number: u64, job: &JobName) -> String {
    format!("{}/output", self::job(project, number, job))
}

/// The same as a tar archive. Query: `path`, of a folder.
pub fn job_output_archive(project: &ProjectName, number: u64, job: &JobName) -> String {
    format!("{}/archive", job_output(project, number, job))
}

/// One file of it.
pub fn job_output_file(project: &ProjectName, number: u64, job: &JobName, path: &[u8]) -> String {
    format!("{}/file?path={}", job_output(project, number, job), encode_bytes(path))
}

/// The SHA-256 sums of its files.
pub fn job_output_sums(project: &ProjectName, number: u64, job: &JobName) -> String {
    format!("{}/sums", job_output(project, number, job))
}

/// Which chunks of a source are missing.
pub fn source_missing(project: &ProjectName) -> String {
    format!("{}/source/missing", self::project(project))
}

/// One chunk of a source.
pub fn source_chunk(project: &ProjectName, digest: &Digest) -> String {
    format!("{}/source/chunks/{digest}", self::project(project))
}

/// The manifest of a source.
pub fn source_manifest(project: &ProjectName, digest: &Digest) -> String {
    format!("{}/source/manifests/{digest}", self::project(project))
}

/// All clusters.
pub fn clusters() -> String {
    format!("{PREFIX}/clusters")
}

/// One cluster.
pub fn cluster(cluster: &ClusterName) -> String {
    format!("{}/{cluster}", clusters())
}

/// The labels of a cluster.
pub fn cluster_labels(name: &ClusterName) -> String {
    format!("{}/labels", cluster(name))
}

/// All invites.
pub fn invites() -> String {
    format!("{PREFIX}/invites")
}

/// The invites of one cluster.
pub fn invites_of(cluster: &ClusterName) -> String {
    format!("{}/{cluster}", invites())
}

/// All tokens.
pub fn tokens() -> String {
    format!("{PREFIX}/tokens")
}

/// One token.
pub fn token(token: TokenId) -> String {
    format!("{}/{token}", tokens())
}

/// Backups of the master.
pub fn backup() -> String {
    format!("{PREFIX}/backup")
}

/// A text as one segment of a path or one value of a query.
pub fn encode(text: &str) -> String {
    encode_bytes(text.as_bytes())
}

/// Any bytes as one segment of a path or one value of a query.
pub fn encode_bytes(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(*byte)),
            _ => write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_chose_is_encoded() {
        let project = ProjectName::new("p").expect("a valid name");
        let name = JobName::new("a/b_c").expect("a valid name");
        assert_eq!(job(&project, 7, &name), "/api/v1/projects/p/builds/7/jobs/a%2Fb_c");
        assert_eq!(
            job_output_file(&project, 7, &name, b"x y/\xff&=?"),
            "/api/v1/projects/p/builds/7/jobs/a%2Fb_c/output/file?path=x%20y%2F%FF%26%3D%3F"
        );
    }
}
