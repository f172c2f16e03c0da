//! A real Postgres server in a process of its own. Other crates' tests include this file too: it knows nothing of ours.

#![allow(dead_code, reason = "not every test that includes this file needs all of it")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on says why")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The folder of the server's programs, as `cargo xtask test` gives it.
const VARIABLE: &str = "TOMBOLO_POSTGRES";
/// Where distributions have them.
const INSTALLED: &str = "/usr/lib/postgresql";
/// The oldest version that the store works with.
const OLDEST: u32 = 14;
/// How long a server may take to start: two cores may be busy compiling.
const STARTED_WITHIN: Duration = Duration::from_secs(90);
/// The password of the user `postgres`, asked for over TCP.
pub(crate) const PASSWORD: &str = "not-a-secret";

/// Runs the server for as long as its input is open: it ends with the test, however that ends. The first argument is the folder,
/// removed at the end unless the input said `keep`.
const GUARD: &str = r#"folder=$1; shift; "$@" </dev/null & server=$!
order=$(cat); kill -QUIT $server 2>/dev/null; wait $server; [ "$order" = keep ] || rm -rf "$folder""#;

/// A server, and its folder: both end with this, or with the process.
pub(crate) struct Server {
    programs: PathBuf,
    folder: PathBuf,
    /// User and group that the server runs as, if not those of the test.
    user: Option<(u32, u32)>,
    port: u16,
    settings: Vec<String>,
    guard: Mutex<Option<Child>>,
}

impl Server {
    /// Starts one with its default settings, but for those given as `name=value`.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_with(settings, &[])
    }

    /// Starts one with files in its folder, which settings name as `FOLDER/name`.
    pub(crate) fn start_with(settings: &[&str], files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let user = other_user(&folder);
        let text = |setting: &&str| setting.replace("FOLDER", &folder.display().to_string());
        let server = Self {
            programs: programs(),
            user,
            port: free_port(),
            settings: settings.iter().map(text).collect(),
            guard: Mutex::default(),
            folder,
        };
        for (name, content) in files.iter().chain(&[("password", PASSWORD)]) {
            server.write(name, content);
        }
        if let Some((user, group)) = user {
            chown(&server.folder, Some(user), Some(group)).unwrap();
        }
        let mut initdb = server.program("initdb");
        initdb.args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
        initdb.arg(format!("--pwfile={}", server.path("password").display()));
        initdb.arg("-D").arg(server.path("data"));
        succeed(&mut initdb);
        server.start_again();
        server
    }

    /// Starts a server that was killed.
    pub(crate) fn start_again(&self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let mut command = self.command("sh");
        command.args(["-c", GUARD, "sh"]).arg(&self.folder);
        command
            .arg(self.programs.join("postgres"))
            .arg("-D")
            .arg(self.path("data"));
        command.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-k"]);
        command.arg(&self.folder);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut guard = command.spawn().unwrap();
        let began = Instant::now();
        while !self.answers() {
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(guard.try_wait().unwrap().is_none(), "the server ended: {}", log());
            assert!(
                began.elapsed() < STARTED_WITHIN,
                "the server does not answer: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        *self.guard.lock().unwrap() = Some(guard);
    }

    /// Kills all of its processes at once, as if the machine had lost its power but not its disk.
    pub(crate) fn kill(&self) {
        let main = fs::read_to_string(self.path("data/postmaster.pid")).unwrap();
        let main = main.lines().next().unwrap().trim().to_owned();
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap();
        let mut kill = Command::new("kill");
        kill.arg("-KILL").arg(&main).args(children.split_whitespace());
        // A child may have ended meanwhile.
        let _ = kill.stderr(Stdio::null()).status().unwrap();
        self.end(b"keep");
    }

    fn end(&self, order: &[u8]) {
        if let Some(mut guard) = self.guard.lock().unwrap().take() {
            let _ = guard.stdin.take().unwrap().write_all(order);
            let _ = guard.wait();
        }
    }

    /// Has statements carried out; returns what they print, without headings.
    pub(crate) fn sql(&self, database: &str, statements: &str) -> String {
        let mut psql = self.program("psql");
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "-v",
            "ON_ERROR_STOP=1",
        ]);
        psql.args([
            "-U",
            "postgres",
            "-d",
            database,
            "-c",
            statements,
            "-p",
            &self.port.to_string(),
            "-h",
        ]);
        succeed(psql.arg(&self.folder)).trim().to_owned()
    }

    /// Where a database is, over the Unix socket: without a password.
    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@/{database}?host={}&port={}",
            self.folder.display(),
            self.port
        )
    }

    /// Where a database is, over TCP, without the password.
    pub(crate) fn tcp_url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost:{}/{database}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn answers(&self) -> bool {
        let mut asking = self.program("pg_isready");
        asking
            .args(["--quiet", "-p", &self.port.to_string(), "-h"])
            .arg(&self.folder);
        asking.status().unwrap().success()
    }

    /// A file that the server alone may read.
    fn write(&self, name: &str, content: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((user, group)) = self.user {
            chown(&path, Some(user), Some(group)).unwrap();
        }
    }

    fn program(&self, name: &str) -> Command {
        self.command(self.programs.join(name))
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env_remove("PGOPTIONS");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(b"");
    }
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The server refuses to run as root: the user `postgres`, if there is one, else `nobody`.
fn other_user(folder: &Path) -> Option<(u32, u32)> {
    if fs::metadata(folder).unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let fields: Vec<&str> = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields[0] == name)?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    Some(
        find("postgres")
            .or_else(|| find("nobody"))
            .expect("there is a user `nobody`"),
    )
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os(VARIABLE) {
        let folder = PathBuf::from(folder);
        assert!(
            folder.join("initdb").exists(),
            "{VARIABLE} names {}, where no `initdb` is",
            folder.display()
        );
        return folder;
    }
    let versions = fs::read_dir(INSTALLED).into_iter().flatten().filter_map(Result::ok);
    let versions = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let newest = versions.filter(|version| *version >= OLDEST).max();
    let newest = newest.unwrap_or_else(|| {
        panic!(
            "there is no Postgres server of version {OLDEST} or newer in {INSTALLED}; set {VARIABLE} to the folder of its programs, or \
             run `cargo xtask test`, which installs it"
        )
    });
    Path::new(INSTALLED).join(newest.to_string()).join("bin")
}
