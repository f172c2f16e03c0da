//! A command that prints for ever, and nobody who reads it.

use std::io::Read;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use super::{exec, running, stop};

/// How much master and agent may grow: some windows, what allocators do, and pages of a program with debug information that were
/// not needed before (21 MB measured). What the command prints meanwhile is hundreds of MB.
const ALLOWED: u64 = 48 * 1024 * 1024;

#[test]
fn a_reader_that_stalls_stalls_the_command_and_fills_nothing() {
    let world = running();
    // What a first session needs is there.
    exec(&world, &[], &["true"]).succeeded();
    let before = ["master", "east"].map(|part| world.peak_resident_bytes(part));
    let mut child = world
        .command(&["exec", "1", "long", "--", "seq", "1", "10000000000"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut output = child.stdout.take().expect("it is piped");
    let mut first = [0; 6];
    output.read_exact(&mut first).expect("it prints");
    assert_eq!(&first, b"1\n2\n3\n");
    // Nobody reads. It prints a hundred MB a second, if it may.
    sleep(Duration::from_secs(5));
    for (part, before) in ["master", "east"].into_iter().zip(before) {
        let grown = world.peak_resident_bytes(part).saturating_sub(before);
        assert!(grown < ALLOWED, "{part} has grown by {grown} bytes");
    }
    // Others are not held up.
    assert_eq!(exec(&world, &[], &["echo", "fine"]).succeeded().output, "fine\n");
    // And it goes on where it stood, without a gap.
    let mut rest = vec![0; 50_000_000];
    output.read_exact(&mut rest).expect("it goes on");
    let text = String::from_utf8(rest).expect("numbers");
    let whole = &text[..text.rfind('\n').expect("lines")];
    for (line, expected) in whole.lines().zip(4_u64..) {
        assert_eq!(line.parse(), Ok(expected));
    }
    for (part, before) in ["master", "east"].into_iter().zip(before) {
        let grown = world.peak_resident_bytes(part).saturating_sub(before);
        assert!(grown < ALLOWED, "{part} has grown by {grown} bytes");
    }
    // Whoever prints to nobody ends, and so does the command.
    drop(output);
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(1));
    stop(&world);
}
