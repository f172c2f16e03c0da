mod accepted;
mod git;
mod guide;
mod hooks;
mod hostile;
mod property;
mod refused;
mod schema;
mod superset;
mod workflows;

use tombolo_core::build::BuildDefinition;

use super::*;

fn accept(file: &str, text: &str) -> BuildDefinition {
    parse(file, text.as_bytes()).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

fn refuse(file: &str, bytes: &[u8]) -> Faults {
    match parse(file, bytes) {
        Ok(_) => panic!("accepted {}", String::from_utf8_lossy(&bytes[..bytes.len().min(1000)])),
        Err(faults) => faults,
    }
}
