//! Jobs that share a volume, and that no cluster can run together.

use super::{check, refuse};
use crate::Files;

fn file(jobs: &[(&str, &str, &str)]) -> String {
    let job = |(name, volumes, selector): &(&str, &str, &str)| {
        format!(
            "- {{type: docker-image, name: {name}, image: i, volumes: [{volumes}], cluster: {{selector: [{selector}]}}}}\n"
        )
    };
    format!("version: 1\njobs:\n{}", jobs.iter().map(job).collect::<String>())
}

#[test]
fn jobs_that_share_a_volume_and_exclude_each_other_are_a_fault_of_the_later_one() {
    let said = |needs: &str| format!("no cluster can meet {needs}");
    let of_others = "and what jobs need that share the volume of the build with this one";
    for (jobs, expected) in [
        (
            vec![
                ("vol", "shared", "region=us"),
                ("a", "shared", "GCP"),
                ("b", "shared", "region=eu"),
            ],
            vec![said(&format!("`region=eu` {of_others}: `vol` needs `region=us`"))],
        ),
        (
            vec![
                ("vol", "shared", "region=us"),
                ("b", "workspace", "region=eu"),
                ("c", "shared", "region=us"),
            ],
            vec![],
        ),
        (
            vec![
                ("a", "shared", "\"x in (1, 2)\""),
                ("b", "shared", "x!=1"),
                ("c", "shared", "x!=2"),
            ],
            vec![said(&format!(
                "`x!=2` {of_others}: `a` needs `x in (1, 2)`, `b` needs `x!=1`"
            ))],
        ),
        (
            vec![
                ("a", "shared", "\"gpu>3\", GCP"),
                ("b", "shared", "\"gpu<4\", \"!GCP\""),
            ],
            vec![
                said(&format!("`!GCP` {of_others}: `a` needs `GCP`")),
                said(&format!("`gpu<4` {of_others}: `a` needs `gpu>3`")),
            ],
        ),
    ] {
        let text = file(&jobs);
        let found = match crate::parse("tombolo.yaml", text.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.faults.into_iter().map(|fault| fault.message).collect(),
        };
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn the_fault_says_where_both_selectors_are() {
    let text = file(&[("vol", "shared", "region=us"), ("conflict", "shared", "region=eu")]);
    let faults = refuse("tombolo.yaml", text.as_bytes()).faults;
    let [fault] = faults.as_slice() else {
        panic!("{faults:?}")
    };
    assert_eq!((fault.path.as_str(), fault.line), ("jobs[1].cluster.selector", 4));
    let hint = fault.hint.as_deref().unwrap();
    assert!(
        hint.ends_with("(that of `vol` is jobs[0].cluster.selector on line 3)"),
        "{hint}"
    );
}

/// All faults come at once, by their lines.
#[test]
fn it_is_one_fault_among_others() {
    let text = format!(
        "{}- {{type: docker-image, name: late, image: i, bad: 1}}\n",
        file(&[("vol", "shared", "region=us"), ("vol", "shared", "region=eu")])
    );
    let faults = refuse("tombolo.yaml", text.as_bytes()).faults;
    let lines: Vec<u32> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [4, 4, 5], "{faults:?}");
}

#[test]
fn one_that_contradicts_itself_is_said_once() {
    check(
        "tombolo.yaml",
        &file(&[
            ("vol", "shared", "region=us"),
            ("own", "shared", "region=us, region=eu"),
        ]),
        &["4:84 jobs[1].cluster.selector: no cluster can meet `region=us`, `region=eu` at the same time"],
    );
}

struct Included(String);

impl Files for Included {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.clone().into_bytes())
    }
}

#[test]
fn a_job_of_a_workflow_shares_the_volume_of_the_build() {
    let text = format!(
        "{}- {{type: workflow, name: flow, infrabox_file: inner.yaml}}\n",
        file(&[("vol", "shared", "region=us")])
    );
    let mut files = Included(file(&[("deep", "shared", "region=eu")]));
    let faults = crate::parse_with("tombolo.yaml", text.as_bytes(), &mut files)
        .unwrap_err()
        .faults;
    let [fault] = faults.as_slice() else {
        panic!("{faults:?}")
    };
    assert_eq!((fault.file.as_deref(), fault.line), (Some("inner.yaml"), 3));
    let hint = fault.hint.as_deref().unwrap();
    assert!(
        hint.ends_with("(that of `vol` is tombolo.yaml, jobs[0].cluster.selector on line 3)"),
        "{hint}"
    );
}

/// Many requirements of one label that together exclude each other take no longer than reading them.
#[test]
fn it_is_found_quickly_however_many_there_are() {
    let jobs: Vec<(String, String)> = (0..8_000)
        .map(|number| (format!("j{number}"), format!("k!=v{number}")))
        .collect();
    let mut jobs: Vec<(&str, &str, &str)> = jobs
        .iter()
        .map(|(name, selector)| (name.as_str(), "shared", selector.as_str()))
        .collect();
    jobs.push(("last", "shared", "k=v77"));
    let faults = refuse("tombolo.yaml", file(&jobs).as_bytes()).faults;
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].message.ends_with("`j77` needs `k!=v77`"),
        "{}",
        faults[0].message
    );
}
