//! Files that are made to cost time or memory. The test runner's own limit is far above what these take; what is checked
//! is that they end, and how.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::*;

/// Far more than any file takes, also in a debug build on a busy machine: it tells a hang from a slow run.
const HANG: Duration = Duration::from_secs(120);

/// The limits within a file hold also where that of the whole file is raised.
const NO_LIMIT: usize = usize::MAX;

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    assert!(start.elapsed() < HANG, "{what} took {:?}", start.elapsed());
    result
}

/// `unit` again and again, up to the largest file.
fn fill(before: &str, unit: &str, after: &str) -> String {
    let count = (MAX_FILE_BYTES - before.len() - after.len()) / unit.len();
    [before, &unit.repeat(count), after].concat()
}

#[test]
fn the_largest_files_end() {
    for (file, before, unit, after) in [
        ("a.json", "", "[", ""),
        ("a.json", "", "{\"a\":", ""),
        ("a.json", "[", "1,", "1]"),
        ("a.json", "{\"a\":[", "[],", "[]]}"),
        ("a.json", "{\"jobs\":[", "{},", "{}]}"),
        ("a.json", "\"", "\\n", "\""),
        ("a.json", "\"", "ü", "\""),
        ("a.json", "", " ", ""),
        ("a.json", "", "9", ""),
        ("a.json", "{", "\"a\":1,", "\"a\":1}"),
        ("a.yaml", "", "[", ""),
        ("a.yaml", "", "{a: ", ""),
        ("a.yaml", "[", "a,", "a]"),
        ("a.yaml", "[", "[],", "a]"),
        ("a.yaml", "{", "a: b,", "}"),
        ("a.yaml", "", "- ", ""),
        ("a.yaml", "", "? ", ""),
        ("a.yaml", "", "a: ", ""),
        ("a.yaml", "", "- a\n", ""),
        ("a.yaml", "", "a: b\n", ""),
        ("a.yaml", "jobs:\n", "- {}\n", ""),
        ("a.yaml", "", "#\n", ""),
        ("a.yaml", "", "#", ""),
        ("a.yaml", "", "\n", ""),
        ("a.yaml", "", "a", ""),
        ("a.yaml", "", "a ", ""),
        ("a.yaml", "", "a\n", ""),
        ("a.yaml", "\"", "\\n", "\""),
        ("a.yaml", "'", "''", "'"),
        ("a.yaml", "|\n", " a\n", ""),
        ("a.yaml", ">\n", " a\n\n", ""),
        ("a.yaml", "|\n", "\n", ""),
        ("a.yaml", "", "---\n", ""),
        ("a.yaml", "", "%A\n", ""),
        ("a.yaml", "", "&a ", ""),
        ("a.yaml", "", "!a ", ""),
        ("a.yaml", "", "*a ", ""),
        ("a.yaml", "", "- &a b\n", ""),
    ] {
        let text = fill(before, unit, after);
        let faults = timed(unit, || refuse(file, text.as_bytes()));
        assert!(faults.faults.len() <= Faults::MAX, "{unit}");
        let size: usize = faults
            .faults
            .iter()
            .map(|fault| fault.message.len() + fault.path.len())
            .sum();
        assert!(size < 1024 * 1024, "the faults of {unit} have {size} bytes");
    }
    let too_large = vec![b' '; MAX_FILE_BYTES + 1];
    let faults = refuse("a.json", &too_large);
    assert_eq!(faults.faults[0].message, "the file is larger than 1 MiB");
    assert_eq!(faults.faults[0].hint.as_deref(), Some("split it into several builds"));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let unknown = |value: &str| format!("{{\"version\": 1, \"jobs\": [],\n\"x\": {value}}}");
    let too_deep = "lists and objects lie more than 64 deep in each other";
    for file in ["a.json", "a.yaml"] {
        for (depth, expected) in [
            (63, "unknown field `x`"),
            (64, too_deep),
            (200, too_deep),
            (1000, too_deep),
            (100_000, too_deep),
        ] {
            let faults = refuse(file, unknown(&nested(depth)).as_bytes());
            let message = &faults.faults.last().expect("there is a fault").message;
            assert_eq!(message, expected, "{depth} deep in {file}");
        }
    }
    let mut block = String::from("version: 1\njobs: []\n");
    for depth in 0..1000 {
        writeln!(block, "{}x:", " ".repeat(depth)).expect("a string takes everything");
    }
    assert_eq!(
        refuse("a.yaml", block.as_bytes())
            .faults
            .last()
            .map(|fault| fault.message.as_str()),
        Some(too_deep)
    );
}

#[test]
fn bombs_of_aliases_do_not_explode() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{below}]").expect("a string takes everything");
    }
    writeln!(bomb, "version: 1\njobs: *a29").expect("a string takes everything");
    let faults = timed("a bomb", || refuse("a.yaml", bomb.as_bytes()));
    let fault = faults.faults.last().expect("there is a fault");
    assert_eq!((fault.line, fault.path.as_str()), (32, "jobs"));
    assert!(fault.message.contains("an alias"), "{fault:?}");
    // A merge key is an alias too.
    let merge = b"version: 1\njobs:\n- &base {type: docker-image, name: a, image: i}\n- <<: *base\n  name: b\n";
    assert!(refuse("a.yaml", merge).to_string().contains("unknown field `<<`"));
}

#[test]
fn as_many_jobs_as_allowed_are_read_and_one_more_is_refused() {
    let json = |count: usize| {
        let mut text = String::from("{\"version\":1,\"jobs\":[");
        for number in 0..count {
            let comma = if number > 0 { "," } else { "" };
            let parent = number.saturating_sub(1);
            let depends_on = if number > 0 {
                format!(",\"depends_on\":[\"{parent}\"]")
            } else {
                String::new()
            };
            write!(
                text,
                "{comma}{{\"type\":\"docker-image\",\"name\":\"{number}\",\"image\":\"i\"{depends_on}}}"
            )
            .expect("a string takes everything");
        }
        text + "]}"
    };
    let yaml = |count: usize| {
        let mut text = String::from("version: 1\njobs:\n");
        for number in 0..count {
            let depends_on = if number > 0 {
                format!(", depends_on: [\"{}\"]", number - 1)
            } else {
                String::new()
            };
            writeln!(
                text,
                "- {{type: docker-image, name: \"{number}\", image: i{depends_on}}}"
            )
            .expect("a string takes everything");
        }
        text
    };
    let most = tombolo_core::build::graph::MAX_JOBS;
    for (file, text) in [("a.json", json(most)), ("a.yaml", yaml(most))] {
        let read = timed(file, || parse_within(NO_LIMIT, file, text.as_bytes(), &mut NoFiles));
        assert_eq!(read.expect("as many as allowed").jobs.len(), most);
    }
    for (file, text) in [("a.json", json(most + 1)), ("a.yaml", yaml(most + 1))] {
        let faults =
            timed(file, || parse_within(NO_LIMIT, file, text.as_bytes(), &mut NoFiles)).expect_err("one too many");
        let messages: Vec<_> = faults
            .faults
            .iter()
            .map(|fault| (fault.path.as_str(), fault.message.as_str()))
            .collect();
        assert_eq!(messages, [("jobs", "more than 100000 items")]);
    }
}

#[test]
fn as_many_faults_as_jobs_are_counted_and_not_kept() {
    let job = "{\"type\":\"docker-image\",\"name\":\"a\",\"image\":\"i\",\"depends_on\":[\"b\"]}";
    let text = format!("{{\"version\":1,\"jobs\":[{}]}}", vec![job; 100_000].join(","));
    let faults = timed("many faults", || {
        parse_within(NO_LIMIT, "a.json", text.as_bytes(), &mut NoFiles)
    })
    .expect_err("all are wrong");
    assert_eq!(faults.faults.len(), Faults::MAX);
    assert_eq!(faults.omitted, 99_999 + 100_000 - Faults::MAX);
    assert!(faults.to_string().ends_with("a.json: and 199499 more faults"));
}

/// A validator that follows every path takes 2^30 steps here.
#[test]
fn diamonds_of_thirty_layers_take_no_time() {
    let mut text = String::from("version: 1\njobs:\n- {type: docker-image, name: bottom-0, image: i}\n");
    for layer in 1..=30 {
        for (name, parents) in [
            (format!("left-{layer}"), format!("bottom-{}", layer - 1)),
            (format!("right-{layer}"), format!("bottom-{}", layer - 1)),
            (format!("bottom-{layer}"), format!("left-{layer}, right-{layer}")),
        ] {
            writeln!(
                text,
                "- {{type: docker-image, name: {name}, image: i, depends_on: [{parents}]}}"
            )
            .expect("a string takes everything");
        }
    }
    assert_eq!(timed("diamonds", || accept("infrabox.yaml", &text)).jobs.len(), 91);
}

#[test]
fn long_texts_and_many_fields_are_refused() {
    let command = |length: usize| {
        format!(
            "{{\"version\":1,\"jobs\":[{{\"type\":\"docker-image\",\"name\":\"a\",\"image\":\"i\",\"command\":[\"{}\"]}}]}}",
            "x".repeat(length)
        )
    };
    accept("a.json", &command(128 * 1024 - 1));
    assert!(
        refuse("a.json", command(128 * 1024).as_bytes())
            .to_string()
            .contains("a text of more than 131071 bytes")
    );

    let fields: Vec<_> = (0..20_000).map(|number| format!("\"x{number}\": 1")).collect();
    let faults = refuse("a.json", format!("{{{}}}", fields.join(",")).as_bytes());
    assert_eq!(faults.omitted, 10_001 - Faults::MAX);
}

/// What a matrix copies is counted before it is copied.
#[test]
fn copies_of_large_jobs_are_refused_before_they_are_made() {
    let many: Vec<_> = (0..255).map(|number| number.to_string()).collect();
    let parents: Vec<_> = (0..20_000).map(|number| format!("parent-{number}")).collect();
    let paths: Vec<_> = (0..90).map(|number| format!("{}{number}", "x".repeat(900))).collect();
    for what in [
        format!("\"depends_on\": {parents:?}"),
        format!("\"depends_on\": [\"a\"], \"inputs\": {{\"a\": {{\"paths\": {paths:?}}}}}"),
    ] {
        let file = format!(
            "{{\"version\": 1, \"jobs\": [{{\"type\": \"docker-image\", \"name\": \"b\", \"image\": \"i\", {what}, \"matrix\": {{\"n\": {many:?}}}}}]}}"
        );
        let faults = timed("a matrix", || refuse("tombolo.json", file.as_bytes()));
        assert!(faults.to_string().contains("MiB of text"), "{faults}");
    }
}

/// Alternatives within alternatives are read by recursion, in threads whose stacks are small.
#[test]
fn patterns_are_bounded() {
    for pattern in [
        "{".repeat(60_000) + &"}".repeat(60_000),
        "{a,".repeat(300) + &"}".repeat(300),
    ] {
        let file = format!(
            "{{\"version\": 1, \"jobs\": [{{\"type\": \"docker-image\", \"name\": \"b\", \"image\": \"i\", \"depends_on\": [\"a\"], \
             \"inputs\": {{\"a\": {{\"paths\": [\"{pattern}\"]}}}}}}]}}"
        );
        let faults = timed("a pattern", || refuse("tombolo.json", file.as_bytes()));
        assert!(faults.to_string().contains("is not a pattern"), "{faults}");
    }
}
