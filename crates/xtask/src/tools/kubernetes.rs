//! Kubernetes, built from Debian's own source package.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use xshell::{Shell, cmd};

use super::cache;

const VERSION: &str = "1.20.2";
const PROGRAMS: [&str; 5] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
];

/// Debian's package of a Go library that reaches into the insides of the compiler's maps. The one that Kubernetes 1.20 brings
/// does not know those of today's compilers, and now and then a request dies of it.
pub(crate) const REFLECTION: &str = "/usr/share/gocode/src/github.com/modern-go/reflect2";

/// The folder of `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`, `kube-proxy` and `kubelet`; compiled
/// when they are not there yet: 3 GB of disk for the while, and five minutes on two cores. Before that, `prepare` has to
/// install Go, `dpkg-dev` and [`REFLECTION`].
pub(crate) fn kubernetes(shell: &Shell, prepare: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let folder = cache::thing("kubernetes", VERSION)?;
    cache::once(&folder, "kubelet", |folder| {
        prepare()?;
        build(shell, folder)
    })?;
    Ok(folder)
}

fn build(shell: &Shell, folder: &Path) -> anyhow::Result<()> {
    eprintln!("building Kubernetes {VERSION} from Debian's source package (five minutes, once)");
    let work = folder.join("work");
    let shell = shell.clone();
    shell.create_dir(&work)?;
    let source = unpack_source(&shell, &work)?;

    // The tree is older than today's rules for modules: it is built as it was then, inside a GOPATH.
    let gopath = work.join("gopath");
    let tree = gopath.join("src/k8s.io/kubernetes");
    shell.create_dir(gopath.join("src/k8s.io"))?;
    fs::rename(&source, &tree).with_context(|| format!("cannot move {}", source.display()))?;
    shell.change_dir(&tree);
    shell.set_var("GOPATH", &gopath);
    shell.set_var("GOCACHE", work.join("gocache"));
    shell.set_var("GO111MODULE", "off");
    shell.set_var("CGO_ENABLED", "0");
    shell.set_var("GOFLAGS", "");
    let vendored = tree.join("vendor/github.com/modern-go/reflect2");
    shell.remove_path(&vendored)?;
    cmd!(shell, "cp -r {REFLECTION} {vendored}").quiet().run()?;
    generate_openapi(&shell, &work)?;

    let flags = linker_flags();
    let commands = PROGRAMS.map(|program| format!("./cmd/{program}"));
    cmd!(shell, "go build -ldflags {flags} -o {folder}/ {commands...}").run()?;
    shell.remove_path(&work)?;
    Ok(())
}

/// Downloads and unpacks the source package. The machine's list of sources names binary packages only, so another list is
/// used for this alone.
fn unpack_source(shell: &Shell, work: &Path) -> anyhow::Result<PathBuf> {
    let format = "$(REPO_URI)";
    let codename = codename(shell)?;
    let codename_filter = format!("Codename: {codename}");
    let indexes = cmd!(
        shell,
        "apt-get indextargets --format {format} {codename_filter} 'MetaKey: main/binary-amd64/Packages'"
    )
    .quiet()
    .read()?;
    let Some(mirror) = indexes.lines().next() else {
        bail!(
            "`apt-get indextargets` knows no packages of `{codename} main`\nhint: run `apt-get update`, and see /etc/apt/sources.list"
        );
    };
    let lists = work.join("lists");
    shell.create_dir(lists.join("partial"))?;
    let sources = work.join("sources.list");
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    shell.write_file(
        &sources,
        format!("deb-src [signed-by={key}] {mirror} {codename} main\n"),
    )?;
    let options = [
        format!("-oDir::Etc::SourceList={}", sources.display()),
        "-oDir::Etc::SourceParts=/dev/null".to_owned(),
        format!("-oDir::State::Lists={}", lists.display()),
        "-oAPT::Sandbox::User=root".to_owned(),
    ];
    let options = &options;
    let _inside = shell.push_dir(work);
    cmd!(shell, "apt-get {options...} update -qq").quiet().run()?;
    cmd!(shell, "apt-get {options...} source --download-only -qq kubernetes")
        .quiet()
        .run()?;
    let archive = find(work, "kubernetes_", ".orig.tar.gz")?;
    cmd!(shell, "tar xzf {archive}").quiet().run()?;
    find(work, "kubernetes-1.20", "")
}

fn codename(shell: &Shell) -> anyhow::Result<String> {
    let release = shell.read_file("/etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(codename.context("/etc/os-release names no codename")?.to_owned())
}

/// The API server compiles with definitions that the source package leaves to its build.
fn generate_openapi(shell: &Shell, work: &Path) -> anyhow::Result<()> {
    let generator = work.join("openapi-gen");
    cmd!(
        shell,
        "go build -o {generator} ./vendor/k8s.io/kube-openapi/cmd/openapi-gen"
    )
    .quiet()
    .run()?;
    let marked = cmd!(
        shell,
        "grep -rl --include=*.go -e +k8s:openapi-gen= staging/src/k8s.io pkg cmd"
    )
    .quiet()
    .read()?;
    let mut packages: Vec<String> = marked.lines().filter_map(import_path).collect();
    packages.sort();
    packages.dedup();
    let packages = packages.join(",");
    let output = work.join("gopath/src");
    let violations = work.join("violations");
    // It ends with an error when it finds breaches of style, and has written all the same; the compiler judges.
    cmd!(
        shell,
        "{generator} --logtostderr -O zz_generated.openapi -h hack/boilerplate/boilerplate.generatego.txt -i {packages}
         -p k8s.io/kubernetes/pkg/generated/openapi -r {violations} --output-base {output}"
    )
    .quiet()
    .ignore_stderr()
    .ignore_status()
    .run()?;
    Ok(())
}

/// The Go package of a file of the tree.
fn import_path(file: &str) -> Option<String> {
    let (folder, _) = file.rsplit_once('/')?;
    Some(match folder.strip_prefix("staging/src/") {
        Some(staged) => staged.to_owned(),
        None => format!("k8s.io/kubernetes/{folder}"),
    })
}

/// Without a version in it, the API server tells one that Helm cannot read.
fn linker_flags() -> String {
    let fields = [
        ("gitVersion", format!("v{VERSION}")),
        ("gitMajor", "1".to_owned()),
        ("gitMinor", "20".to_owned()),
        ("gitTreeState", "clean".to_owned()),
    ];
    let mut flags = "-s -w".to_owned();
    for package in ["client-go/pkg/version", "component-base/version"] {
        for (field, value) in &fields {
            flags.push_str(&format!(
                " -X k8s.io/kubernetes/vendor/k8s.io/{package}.{field}={value}"
            ));
        }
    }
    flags
}

fn find(folder: &Path, start: &str, end: &str) -> anyhow::Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(start) && name.ends_with(end) {
            return Ok(path);
        }
    }
    bail!("there is no {start}*{end} in {}", folder.display())
}

#[cfg(test)]
mod tests {
    use super::{import_path, linker_flags};

    #[test]
    fn files_of_the_tree_have_their_import_paths() {
        for (file, path) in [
            ("staging/src/k8s.io/api/core/v1/types.go", "k8s.io/api/core/v1"),
            ("pkg/kubelet/apis/doc.go", "k8s.io/kubernetes/pkg/kubelet/apis"),
            ("cmd/doc.go", "k8s.io/kubernetes/cmd"),
        ] {
            assert_eq!(import_path(file).as_deref(), Some(path), "{file}");
        }
    }

    #[test]
    fn programs_tell_their_version() {
        assert!(linker_flags().contains("vendor/k8s.io/component-base/version.gitVersion=v1.20.2"));
    }
}
