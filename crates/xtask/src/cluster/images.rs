//! The images of tests, all made of Debian's static busybox.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::Context;
use xshell::{Shell, cmd};

use super::place::Cluster;
use crate::image::archive::{Configuration, Image};

/// What every pod's sandbox runs.
pub(super) const PAUSE: &str = "tombolo.test/pause:1";
/// The images that are in the registry too; on the node they are `tombolo.test/NAME`.
pub(super) const PUBLISHED: [&str; 2] = ["busybox:1", "greeter:1"];
const BUSYBOX: &str = "/bin/busybox";

/// The archive with the sandbox's image.
pub(super) fn pause(cluster: &Cluster) -> PathBuf {
    cluster.path("images/pause.tar")
}

/// Packs the images into the cluster's folder; gives the archives with those of tests.
pub(super) fn pack(shell: &Shell, cluster: &Cluster) -> anyhow::Result<Vec<PathBuf>> {
    let (busybox, path) = (busybox(shell)?, |name: &str| {
        cluster.path(&format!("images/{name}.tar"))
    });
    let pause = Image {
        files: busybox.clone(),
        configuration: Configuration {
            entrypoint: words(&["/bin/sleep", "2147483647"]),
            ..Configuration::default()
        },
    };
    let plain = Image {
        files: busybox.clone(),
        configuration: Configuration {
            environment: words(&["PATH=/bin"]),
            ..Configuration::default()
        },
    };
    let greeter = Image {
        files: busybox,
        configuration: Configuration {
            entrypoint: words(&["/bin/echo", "hello from the entrypoint of greeter:"]),
            command: words(&["no", "arguments"]),
            environment: words(&["PATH=/bin", "GREETER=from the image"]),
            working_folder: "/tmp".to_owned(),
            user: String::new(),
        },
    };
    let archives = [
        (pause, "pause", vec![PAUSE]),
        (
            plain,
            "busybox",
            vec!["tombolo.test/busybox:1", "docker.io/library/busybox:1"],
        ),
        (greeter, "greeter", vec!["tombolo.test/greeter:1"]),
    ];
    for (image, name, tags) in &archives {
        let path = path(name);
        let write = || image.write(tags, File::create(&path)?);
        write().with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(vec![path("busybox"), path("greeter")])
}

/// A root folder with busybox under the names of all its commands.
fn busybox(shell: &Shell) -> anyhow::Result<crate::image::archive::Files> {
    let program = fs::read(BUSYBOX).with_context(|| format!("cannot read {BUSYBOX}"))?;
    let mode = fs::metadata(BUSYBOX)?.permissions().mode();
    anyhow::ensure!(mode & 0o111 != 0, "{BUSYBOX} is no program");
    let names = cmd!(shell, "{BUSYBOX} --list").quiet().read()?;
    let mut files = crate::image::archive::Files::default();
    files.folder("root", 0o700);
    files.folder("tmp", 0o1777);
    files.file(
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    );
    files.file("etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n");
    files.file("bin/busybox", 0o755, program);
    for name in names.lines().filter(|name| *name != "busybox") {
        files.link(&format!("bin/{name}"), "busybox");
    }
    files.link("usr/bin", "../bin");
    Ok(files)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
