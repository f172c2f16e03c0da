//! Lists of jobs that run when the others are over.

use tombolo_core::build::hook::Hook;

use super::refused::check;
use super::*;

#[test]
fn hooks_are_jobs_of_lists_of_their_own() {
    let text = "
version: 1
jobs:
  - {type: docker-image, name: a, image: i}
on_error:
  - {type: docker-image, name: tell, image: i}
after:
  - {type: docker-image, name: clean, image: i, depends_on: [{job: a, on: ['*']}, tell], volumes: [shared]}
  - {type: docker-image, name: twice, image: i, matrix: {v: [1, 2]}}
";
    let jobs = accept("tombolo.yaml", text).jobs;
    let hooks: Vec<(&str, Option<Hook>)> = jobs.iter().map(|job| (job.name.as_str(), job.hook())).collect();
    let after = Some(Hook::After);
    assert_eq!(
        hooks,
        [
            ("a", None),
            ("tell", Some(Hook::OnError)),
            ("clean", after),
            ("twice/1", after),
            ("twice/2", after),
            ("twice", after),
        ]
    );
}

#[test]
fn hooks_stand_where_they_may_and_follow_what_is_before() {
    let job = |name: &str, more: &str| format!("{{type: docker-image, name: {name}, image: i{more}}}");
    for (file, text, expected) in [
        (
            "tombolo.yaml",
            format!(
                "version: 1\njobs: [{}]\nafter: [{}]",
                job("a", ", depends_on: [b]"),
                job("b", "")
            ),
            "2:61 jobs[0].depends_on[0]: `b` runs when this job is over: it is in `after`",
        ),
        (
            "tombolo.yaml",
            format!(
                "version: 1\njobs: [{}]\non_error: [{}]\nafter: [{}]",
                job("a", ""),
                job("b", ", depends_on: [c]"),
                job("c", "")
            ),
            "3:65 on_error[0].depends_on[0]: `c` runs when this job is over: it is in `after`",
        ),
        (
            "tombolo.yaml",
            format!("version: 1\njobs: [{}]\nafter: [{}]", job("a", ""), job("a", "")),
            "3:36 after[0].name: another job is named `a` already",
        ),
        (
            "infrabox.yaml",
            format!("version: 1\njobs: [{}]\nafter: []", job("a", "")),
            "3:1 after: InfraBox's job files have no field `after`",
        ),
    ] {
        check(file, &text, &[expected]);
    }
    let many: Vec<String> = (0..101).map(|at| job(&format!("h{at}"), "")).collect();
    let text = format!("version: 1\njobs: []\nafter: [{}]", many.join(", "));
    assert!(refuse("tombolo.yaml", text.as_bytes()).to_string().contains("100"));
}
