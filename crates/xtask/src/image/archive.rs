//! Container images as archives: an OCI layout that is also what `docker load` reads. The same image gives the same bytes.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};
use tar::{EntryType, Header};

/// The files of an image's root, by path. Folders on the way to them are made as needed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files(BTreeMap<String, Entry>);

#[derive(Debug, Clone)]
enum Entry {
    Folder { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Link { target: String },
}

impl Files {
    /// Adds a folder; `path` has no slash at either end.
    pub(crate) fn folder(&mut self, path: &str, mode: u32) {
        self.insert(path, Entry::Folder { mode });
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        let content = content.into();
        self.insert(path, Entry::File { mode, content });
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        let target = target.to_owned();
        self.insert(path, Entry::Link { target });
    }

    fn insert(&mut self, path: &str, entry: Entry) {
        for (end, _) in path.match_indices('/') {
            let parent = path[..end].to_owned();
            self.0.entry(parent).or_insert(Entry::Folder { mode: 0o755 });
        }
        self.0.insert(path.to_owned(), entry);
    }

    fn layer(&self) -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, entry) in &self.0 {
            match entry {
                Entry::Folder { mode } => {
                    append(&mut archive, &format!("{path}/"), EntryType::Directory, *mode, &[])?;
                }
                Entry::File { mode, content } => append(&mut archive, path, EntryType::Regular, *mode, content)?,
                Entry::Link { target } => {
                    let mut header = header(EntryType::Symlink, 0o777, 0);
                    archive.append_link(&mut header, path, target)?;
                }
            }
        }
        archive.into_inner()
    }
}

/// What a container of the image runs unless told otherwise.
#[derive(Debug, Clone, Default)]
pub(crate) struct Configuration {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<String>,
    pub(crate) working_folder: String,
    /// As `user:group`, by number; root when empty.
    pub(crate) user: String,
}

/// An image of one layer, for this machine's architecture.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) files: Files,
    pub(crate) configuration: Configuration,
}

impl Image {
    /// Writes the archive, in which the image has all the tags (`registry/name:tag`). Gives the digest of its manifest.
    pub(crate) fn write(&self, tags: &[&str], output: impl Write) -> io::Result<String> {
        let layer = self.files.layer()?;
        let layer_digest = digest(&layer);
        let configuration = self.configuration(&layer_digest).to_string().into_bytes();
        let configuration_digest = digest(&configuration);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &configuration_digest, configuration.len()),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer_digest, layer.len())],
        })
        .to_string()
        .into_bytes();
        let manifest_digest = digest(&manifest);
        let named: Vec<Value> = tags
            .iter()
            .map(|tag| {
                let mut named = descriptor(
                    "application/vnd.oci.image.manifest.v1+json",
                    &manifest_digest,
                    manifest.len(),
                );
                named["annotations"] =
                    json!({"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag});
                named
            })
            .collect();
        let index = json!({"schemaVersion": 2, "manifests": named}).to_string();
        let docker = json!([{
            "Config": blob(&configuration_digest), "RepoTags": tags, "Layers": [blob(&layer_digest)],
        }])
        .to_string();

        let mut archive = tar::Builder::new(output);
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
        let entries: [(&str, &[u8]); 6] = [
            ("oci-layout", layout),
            ("index.json", index.as_bytes()),
            ("manifest.json", docker.as_bytes()),
            (&blob(&manifest_digest), &manifest),
            (&blob(&configuration_digest), &configuration),
            (&blob(&layer_digest), &layer),
        ];
        for (path, content) in entries {
            append(&mut archive, path, EntryType::Regular, 0o644, content)?;
        }
        archive.into_inner()?.flush()?;
        Ok(format!("sha256:{manifest_digest}"))
    }

    fn configuration(&self, layer_digest: &str) -> Value {
        let Configuration {
            entrypoint,
            command,
            environment,
            working_folder,
            user,
        } = &self.configuration;
        let mut config = json!({});
        for (name, words) in [("Entrypoint", entrypoint), ("Cmd", command), ("Env", environment)] {
            if !words.is_empty() {
                config[name] = json!(words);
            }
        }
        for (name, word) in [("WorkingDir", working_folder), ("User", user)] {
            if !word.is_empty() {
                config[name] = json!(word);
            }
        }
        json!({
            "architecture": architecture(),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        })
    }
}

/// This machine's architecture, as images call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn descriptor(media_type: &str, digest: &str, bytes: usize) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes})
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

fn digest(content: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    path: &str,
    kind: EntryType,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = header(kind, mode, content.len());
    archive.append_data(&mut header, path, content)
}

fn header(kind: EntryType, mode: u32, bytes: usize) -> Header {
    // All the rest (owner, time) is zero: no two machines may differ in it.
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use serde_json::{Value, json};

    use super::{Configuration, Files, Image, architecture, digest};

    fn image() -> Image {
        let mut files = Files::default();
        files.folder("tmp", 0o1777);
        files.file("etc/deep/file", 0o640, "content");
        files.link("bin/sh", "busybox");
        Image {
            files,
            configuration: Configuration {
                entrypoint: vec!["/tombolo".to_owned()],
                user: "65532:65532".to_owned(),
                ..Configuration::default()
            },
        }
    }

    fn entries(archive: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!((entry.header().mtime().unwrap(), entry.header().uid().unwrap()), (0, 0));
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            if let Some(target) = entry.link_name().unwrap() {
                content = target.display().to_string().into_bytes();
            }
            found.insert(path, (entry.header().mode().unwrap(), content));
        }
        found
    }

    #[test]
    fn the_same_image_gives_the_same_bytes() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let digest = image().write(&["a.test/a:1"], &mut one).unwrap();
        assert_eq!(image().write(&["a.test/a:1"], &mut other).unwrap(), digest);
        assert_eq!(one, other);

        let mut changed = image();
        changed.files.file("etc/deep/file", 0o640, "else");
        assert_ne!(changed.write(&["a.test/a:1"], &mut other).unwrap(), digest);
    }

    #[test]
    fn every_descriptor_leads_to_its_content() {
        let mut archive = Vec::new();
        let manifest_digest = image().write(&["a.test/a:1", "b.test/b:2"], &mut archive).unwrap();
        let entries = entries(&archive);
        let text = |path: &str| -> Value { serde_json::from_slice(&entries[path].1).unwrap() };
        let follow = |descriptor: &Value| -> Vec<u8> {
            let name = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let content = entries[&format!("blobs/sha256/{name}")].1.clone();
            assert_eq!(digest(&content), name);
            assert_eq!(json!(content.len()), descriptor["size"]);
            content
        };

        let index = text("index.json");
        for (position, tag) in ["a.test/a:1", "b.test/b:2"].into_iter().enumerate() {
            let named = &index["manifests"][position];
            assert_eq!(named["digest"], json!(manifest_digest));
            assert_eq!(named["annotations"]["io.containerd.image.name"], tag);
        }
        let manifest: Value = serde_json::from_slice(&follow(&index["manifests"][0])).unwrap();
        let configuration: Value = serde_json::from_slice(&follow(&manifest["config"])).unwrap();
        assert_eq!(
            configuration["config"],
            json!({"Entrypoint": ["/tombolo"], "User": "65532:65532"})
        );
        assert_eq!(configuration["architecture"], architecture());
        let layer = follow(&manifest["layers"][0]);
        assert_eq!(
            configuration["rootfs"]["diff_ids"][0],
            json!(format!("sha256:{}", digest(&layer)))
        );
        assert_eq!(
            text("manifest.json")[0]["Layers"][0],
            json!(format!("blobs/sha256/{}", digest(&layer)))
        );
    }

    #[test]
    fn the_layer_holds_folders_before_what_is_in_them() {
        let layer = image().files.layer().unwrap();
        let entries = entries(&layer);
        let facts: Vec<_> = entries
            .iter()
            .map(|(path, (mode, content))| format!("{path} {mode:o} {}", String::from_utf8_lossy(content)))
            .collect();
        assert_eq!(
            facts,
            [
                "bin/ 755 ",
                "bin/sh 777 busybox",
                "etc/ 755 ",
                "etc/deep/ 755 ",
                "etc/deep/file 640 content",
                "tmp/ 1777 "
            ]
        );
    }
}
