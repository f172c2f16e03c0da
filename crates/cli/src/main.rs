//! The `tombolo` program: sets what is process-wide and calls the library.

use std::process::ExitCode;

/// Gives memory back soon: the system's own allocator keeps what chunks took, once for each thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "planted")]
    if let Err(message) = plant() {
        anstream::eprintln!("{message}");
        // As for any wrong usage.
        return ExitCode::from(2);
    }
    tombolo_cli::main()
}

/// Makes the mistake that the environment names: for tests that search for mistakes.
#[cfg(feature = "planted")]
fn plant() -> Result<(), String> {
    use tombolo_core::planted::{Bug, plant_everywhere};

    if let Ok(name) = std::env::var("TOMBOLO_PLANTED") {
        let bug = Bug::named(&name).ok_or_else(|| {
            let known = Bug::ALL.map(|bug| format!("{bug:?}")).join(", ");
            format!("error: TOMBOLO_PLANTED: there is no mistake `{name}`\nhint: one of {known}")
        })?;
        plant_everywhere(bug);
    }
    Ok(())
}
