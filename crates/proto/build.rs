//! Compiles the wire definitions, without a protoc on the machine.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files = [
        "tombolo/agent/v1/agent.proto",
        "tombolo/agent/v1/job.proto",
        "tombolo/courier/v1/courier.proto",
        "tombolo/exec/v1/exec.proto",
        "tombolo/transfer/v1/transfer.proto",
    ];
    for file in files {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }
    let descriptors = protox::compile(files, [&root])?;
    tonic_prost_build::configure()
        .bytes(".tombolo.transfer.v1")
        .bytes(".tombolo.courier.v1.ChunkUpload")
        .bytes(".tombolo.courier.v1.ManifestUpload")
        .bytes(".tombolo.exec.v1.Input")
        .bytes(".tombolo.exec.v1.Output")
        // They carry secrets, or may.
        .skip_debug([
            ".tombolo.agent.v1.FindSecretsResponse",
            ".tombolo.courier.v1.Description",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
