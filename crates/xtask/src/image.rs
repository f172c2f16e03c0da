//! The image of Tombolo: the program, linked statically, and nothing else.

pub(crate) mod archive;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use xshell::Shell;

use crate::{cluster, demo, program};
use archive::{Configuration, Files, Image};

/// More would tell that something got in that does not belong there.
const MAXIMUM_BYTES: u64 = 60_000_000;
/// Nobody in particular, but not root: pods of the `restricted` kind ask for a number.
const USER: &str = "65532:65532";
/// The authorities that TLS to stores and registries believes, from the Debian package `ca-certificates`.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What the charts ask for.
const TAG: &str = concat!("tombolo.test/tombolo:", env!("CARGO_PKG_VERSION"));

#[derive(Args)]
pub(crate) struct Options {
    /// Makes the image known to the clusters of `cargo xtask cluster` as well.
    #[arg(long)]
    load: bool,
    /// Where the archive goes; `image/tombolo.tar` in cargo's target folder by default.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What the image is called.
    #[arg(long, value_name = "REFERENCE", default_value = TAG)]
    tag: String,
    /// The profile to build with.
    #[arg(long, hide = true, default_value = program::RELEASE)]
    profile: String,
}

impl Options {
    /// What tests need: the usual name and place.
    pub(crate) fn with(profile: &str, load: bool) -> Self {
        Self {
            load,
            output: None,
            tag: TAG.to_owned(),
            profile: profile.to_owned(),
        }
    }
}

pub(crate) fn run(shell: &Shell, options: &Options) -> anyhow::Result<()> {
    let target = demo::target_folder(shell)?;
    let program = program::without_libraries(shell, &options.profile)?;
    let output = options
        .output
        .clone()
        .unwrap_or_else(|| target.join("image/tombolo.tar"));
    let folder = output.parent().context("the output has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let image = image(&program)?;
    let write = || image.write(&[&options.tag], BufWriter::new(File::create(&output)?));
    let digest = write().with_context(|| format!("cannot write {}", output.display()))?;
    let bytes = fs::metadata(&output)?.len();
    ensure!(
        options.profile != program::RELEASE || bytes <= MAXIMUM_BYTES,
        "the image has {bytes} bytes, more than {MAXIMUM_BYTES}: something is in it that does not belong there"
    );
    println!("{} {digest}", options.tag);
    println!("{} ({:.1} MB)", output.display(), bytes as f64 / 1e6);
    if options.load {
        cluster::load_everywhere(shell, &output)?;
    }
    Ok(())
}

fn image(program: &Path) -> anyhow::Result<Image> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut files = Files::default();
    files.file("tombolo", 0o755, read(program)?);
    files.file(
        &AUTHORITIES[1..],
        0o644,
        read(Path::new(AUTHORITIES)).context("hint: install `ca-certificates`")?,
    );
    files.file("etc/passwd", 0o644, "tombolo:x:65532:65532:tombolo:/tmp:/nonexistent\n");
    files.file("etc/group", 0o644, "tombolo:x:65532:\n");
    files.folder("tmp", 0o1777);
    Ok(Image {
        files,
        configuration: Configuration {
            entrypoint: vec!["/tombolo".to_owned()],
            user: USER.to_owned(),
            ..Configuration::default()
        },
    })
}
