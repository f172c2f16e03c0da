//! Repositories that the machine's own git makes, and a server that gives them out by HTTP: git's own program behind a few lines of HTTP.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A bare repository.
pub(crate) struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let repository = Self { folder };
        repository.git(&["init", "-q", "--bare", "-b", "main", "."], b"");
        repository
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs git, which is given `input`, and returns what it says.
    pub(crate) fn git(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut child = git(self.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("git is installed");
        child.stdin.take().expect("a pipe").write_all(input).expect("git reads");
        let output = child.wait_with_output().expect("git ends");
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("a text").trim().to_owned()
    }

    /// Commits these files on a branch, after what it has, and returns the id. A file's mode is that of a plain file, or as the path says:
    /// `120000 link`, `100755 program`.
    pub(crate) fn commit(&self, branch: &str, files: &[(&str, &str)]) -> String {
        let mut stream = format!("commit refs/heads/{branch}\ncommitter a <a@example.org> 1700000000 +0000\ndata 1\nx");
        if self.has(branch) {
            stream.push_str(&format!("from refs/heads/{branch}^0\n"));
        }
        for (path, content) in files {
            let (mode, path) = path.split_once(' ').unwrap_or(("100644", path));
            match mode {
                "160000" => stream.push_str(&format!("M {mode} {content} {path}\n")),
                _ => stream.push_str(&format!("M {mode} inline {path}\ndata {}\n{content}\n", content.len())),
            }
        }
        self.git(&["fast-import", "--quiet", "--force"], stream.as_bytes());
        self.git(&["rev-parse", &format!("refs/heads/{branch}")], b"")
    }

    fn has(&self, branch: &str) -> bool {
        let mut command = git(self.path());
        let found = command.args(["rev-parse", "-q", "--verify", &format!("refs/heads/{branch}")]);
        found.output().expect("git is installed").status.success()
    }
}

fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "a")
        .env("GIT_AUTHOR_EMAIL", "a@example.org")
        .env("GIT_COMMITTER_NAME", "a")
        .env("GIT_COMMITTER_EMAIL", "a@example.org")
        .env_remove("GIT_DIR");
    command
}

/// How a server treats whoever asks.
#[derive(Clone, Default)]
pub(crate) struct Manner {
    /// It speaks the older protocol only.
    pub(crate) old: bool,
    /// It wants to hear this, as `user:password` in base64.
    pub(crate) login: Option<String>,
    /// It answers the first question like this, whatever it is: everything after the status line is sent as it stands.
    pub(crate) says: Option<Vec<u8>>,
    /// It answers the question for a pack like this.
    pub(crate) pack: Option<Vec<u8>>,
    /// It takes connections, and says nothing.
    pub(crate) silent: bool,
}

/// A server of one repository, for as long as it is there.
pub(crate) struct Server {
    pub(crate) url: String,
    stopping: Arc<AtomicBool>,
    address: std::net::SocketAddr,
}

impl Server {
    pub(crate) fn start(repository: &Repository, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let stopping = Arc::new(AtomicBool::new(false));
        let (folder, ended) = (repository.path().to_owned(), Arc::clone(&stopping));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Acquire) {
                    break;
                }
                let (folder, manner, ended) = (folder.clone(), manner.clone(), Arc::clone(&ended));
                // Whoever has asked may be gone.
                thread::spawn(move || drop(serve(stream, &folder, &manner, &ended)));
            }
        });
        Self {
            url: format!("http://{address}/team/shop.git"),
            stopping,
            address,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // So that it looks.
        drop(TcpStream::connect(self.address));
    }
}

struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request { line, headers, body })
}

fn serve(mut stream: TcpStream, folder: &Path, manner: &Manner, ended: &AtomicBool) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    while manner.silent && !ended.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(20));
    }
    let authorization = request.headers.get("authorization").map(String::as_str);
    let expected = manner.login.as_ref().map(|login| format!("Basic {login}"));
    if expected.is_some() && authorization != expected.as_deref() {
        let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return stream.write_all(head.as_bytes());
    }
    let asks = request.line.starts_with("GET ");
    if let Some(says) = manner.says.as_ref().filter(|_| asks) {
        return stream.write_all(says);
    }
    if !request.line.contains("/team/shop.git/") {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let mut command = git(folder);
    command.args(["upload-pack", "--stateless-rpc"]);
    if !manner.old {
        let version = request.headers.get("git-protocol").cloned().unwrap_or_default();
        command.env("GIT_PROTOCOL", version);
    }
    if asks {
        command.arg("--advertise-refs");
    }
    let mut child = command
        .arg(".")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    child.stdin.take().expect("a pipe").write_all(&request.body)?;
    let mut output = child.wait_with_output()?.stdout;
    let kind = if asks { "advertisement" } else { "result" };
    if let Some(pack) = manner
        .pack
        .as_ref()
        .filter(|_| !asks && request.body.windows(5).any(|part| part == b"fetch"))
    {
        output.clone_from(pack);
    }
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-{kind}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    if asks {
        stream.write_all(b"001e# service=git-upload-pack\n0000")?;
    }
    stream.write_all(&output)
}
