//! The `tombolo` program: sets what is process-wide and calls the library.

use std::process::ExitCode;

/// Gives memory back soon: the system's own allocator keeps what chunks took, once for each thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tombolo_cli::main()
}
