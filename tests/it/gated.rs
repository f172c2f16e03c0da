//! A build whose last job waits for a gate: what happens before it is opened happens to an output that is waited for.

use std::fs;

use crate::world::World;

/// `build` leaves something; `test` waits for `gate`, which waits for a file, and prints the sum of what `build` has left.
const FILE: &str = r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    cluster: BUILD
    command: [sh, -c, "COMMAND"]
  - name: gate
    type: docker-image
    image: b
    cluster: {selector: [GCP]}
    command: [sh, -c, "while ! test -e GATE; do sleep 0.05; done"]
  - name: test
    type: docker-image
    image: b
    depends_on: [build, gate]
    cluster: TEST
    command: [sh, -c, "sha256sum < $TOMBOLO_INPUTS/build/OUTPUT"]
"#;

/// What `build` does, where it runs, and where `test` does.
pub(crate) struct Gated<'a> {
    /// Leaves one file, and prints its sum.
    pub(crate) command: &'a str,
    /// The file's name.
    pub(crate) output: &'a str,
    pub(crate) build: &'a str,
    pub(crate) test: &'a str,
}

impl Gated<'_> {
    /// Submits the file, and waits until `build` is over and `gate` runs.
    pub(crate) fn begin(&self, world: &World) -> u64 {
        let gate = world.path("gate").display().to_string();
        let file = FILE.replace("BUILD", self.build).replace("TEST", self.test);
        let file = file
            .replace("COMMAND", self.command)
            .replace("/OUTPUT", &format!("/{}", self.output));
        let number = world.submit(&file.replace("GATE", &gate));
        world.wait_for_state(number, "build", "finished");
        world.wait_for_state(number, "gate", "running");
        number
    }
}

/// Lets `gate` end.
pub(crate) fn open(world: &World) {
    fs::write(world.path("gate"), "").expect("writable");
}

/// Has the next build wait again.
pub(crate) fn close(world: &World) {
    fs::remove_file(world.path("gate")).expect("writable");
}

/// The sum that a job printed.
pub(crate) fn sum(world: &World, number: u64, job: &str) -> String {
    let mut lines = world.log(number, job);
    lines.retain(|line| line.len() == 67);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}
