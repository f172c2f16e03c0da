//! Workflows, expanded in their places.

use std::collections::BTreeMap;

use tombolo_core::build::{JobKind, graph};

use super::*;

/// Files by their paths.
struct Folder(BTreeMap<String, String>);

impl Files for Folder {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let text = self.0.get(path).ok_or_else(|| "there is no such file".to_owned())?;
        Ok(text.clone().into_bytes())
    }
}

fn folder(files: &[(&str, &str)]) -> Folder {
    Folder(
        files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect(),
    )
}

/// A file of jobs that run `i`, each with its parents, and of workflows, each with its file and parents.
fn file(jobs: &[(&str, &str, &[&str])]) -> String {
    let job = |(name, path, parents): &(&str, &str, &[&str])| {
        let kind = match *path {
            "" => "type: docker-image, image: i".to_owned(),
            path => format!("type: workflow, infrabox_file: {path}"),
        };
        let depends_on = match parents.is_empty() {
            true => String::new(),
            false => format!(", depends_on: [{}]", parents.join(", ")),
        };
        format!("- {{name: {name}, {kind}{depends_on}}}\n")
    };
    match jobs {
        [] => "version: 1\njobs: []\n".to_owned(),
        jobs => format!("version: 1\njobs:\n{}", jobs.iter().map(job).collect::<String>()),
    }
}

/// The jobs as `name<parent,parent`, with `*` before parents that are followed in every state, and `=` behind the names of workflows.
fn shown(definition: &BuildDefinition) -> Vec<String> {
    let show = |job: &tombolo_core::build::JobSpec| {
        let parents: Vec<String> = job
            .dependencies
            .iter()
            .map(|parent| {
                let any = parent.on == tombolo_core::build::StateSet::ALL;
                format!("{}{}", if any { "*" } else { "" }, parent.job)
            })
            .collect();
        let mark = if job.kind == JobKind::Workflow { "=" } else { "" };
        format!("{}{mark}<{}", job.name, parents.join(","))
    };
    definition.jobs.iter().map(show).collect()
}

fn expanded(root: &str, files: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let parsed = parse_with("infrabox.yaml", root.as_bytes(), &mut folder(files));
    if let Ok(definition) = &parsed {
        graph::check(&definition.jobs).expect("what is expanded is a sound graph");
    }
    parsed
        .map(|definition| shown(&definition))
        .map_err(|faults| faults.to_string())
}

#[test]
fn jobs_of_a_workflow_come_into_its_place() {
    let root = file(&[
        ("a", "", &[]),
        ("flow", "sub/flow.yaml", &["a"]),
        ("last", "", &["flow"]),
    ]);
    let flow = file(&[
        ("x", "", &[]),
        ("y", "", &["x"]),
        ("z", "", &["x"]),
        ("inner", "more/inner.yaml", &["y"]),
    ]);
    let inner = file(&[("p", "", &[]), ("q", "", &[])]);
    let files = [
        ("sub/flow.yaml", flow.as_str()),
        ("sub/more/inner.yaml", inner.as_str()),
    ];
    assert_eq!(
        expanded(&root, &files).unwrap(),
        [
            "a<",
            "flow/x<a",
            "flow/y<flow/x",
            "flow/z<flow/x",
            "flow/inner/p<flow/y",
            "flow/inner/q<flow/y",
            "flow/inner=<*flow/inner/p,*flow/inner/q",
            "flow=<*flow/z,*flow/inner",
            "last<flow",
        ]
    );
}

#[test]
fn a_file_may_be_used_twice_and_may_be_empty() {
    let root = file(&[
        ("a", "f.yaml", &[]),
        ("b", "./f.yaml", &["a"]),
        ("c", "none.yaml", &["b"]),
    ]);
    let files = [("f.yaml", &*file(&[("x", "", &[])])), ("none.yaml", &*file(&[]))];
    assert_eq!(
        expanded(&root, &files).unwrap(),
        ["a/x<", "a=<*a/x", "b/x<a", "b=<*b/x", "c=<b"]
    );
}

#[test]
fn files_of_workflows_begin_at_the_folder_of_the_file_that_names_them() {
    let root = file(&[("a", "../shared/f.yaml", &[])]);
    let mut files = folder(&[("shared/f.yaml", &file(&[("x", "", &[])]))]);
    let definition = parse_with("ci/tombolo.yaml", root.as_bytes(), &mut files).unwrap();
    assert_eq!(shown(&definition), ["a/x<", "a=<*a/x"]);
    let faults = parse_with("tombolo.yaml", root.as_bytes(), &mut files).unwrap_err();
    assert!(
        faults
            .to_string()
            .contains("`../shared/f.yaml` leads out of the source"),
        "{faults}"
    );
}

#[test]
fn all_faults_of_all_files_come_at_once() {
    let root = "version: 1\njobs:\n- {name: a, type: workflow, infrabox_file: f.yaml}\n- {name: b, type: workflow, infrabox_file: gone.yaml}\n- {name: c, type: docker-image}\n";
    let flow = "version: 1\njobs:\n- {name: x, type: docker-image, image: i, depends_on: [y]}\n- {name: w, type: workflow, infrabox_file: bad.json}\n";
    let said = expanded(root, &[("f.yaml", flow), ("bad.json", "{")]).unwrap_err();
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("    hint:")).collect();
    assert_eq!(
        lines,
        [
            "infrabox.yaml:5:3: jobs[2].image: the field is missing",
            "f.yaml:3:56: jobs[0].depends_on[0]: no job is named `y`",
            "bad.json:1:2: expected a field's name in double quotes, found the end of the file",
            "infrabox.yaml:4:44: jobs[1].infrabox_file: `gone.yaml` cannot be read: there is no such file",
        ]
    );
}

#[test]
fn a_workflow_that_includes_itself_is_named_with_the_way() {
    let root = file(&[("a", "f.yaml", &[])]);
    let (f, g) = (
        file(&[("b", "sub/g.yaml", &[])]),
        file(&[("c", "../f.yaml", &[]), ("d", "../infrabox.yaml", &[])]),
    );
    let said = expanded(&root, &[("f.yaml", &f), ("sub/g.yaml", &g)]).unwrap_err();
    assert!(
        said.contains(
            "sub/g.yaml:3:44: jobs[0].infrabox_file: the workflow includes itself: f.yaml -> sub/g.yaml -> f.yaml"
        ),
        "{said}"
    );
    assert!(
        said.contains("includes itself: infrabox.yaml -> f.yaml -> sub/g.yaml -> infrabox.yaml"),
        "{said}"
    );
}

/// The first file names the second twice, that the third twice, and so on: 2^15 jobs of 15 small files.
#[test]
fn files_that_multiply_are_refused_soon() {
    let names: Vec<String> = (0..15).map(|level| format!("f{level}.yaml")).collect();
    let mut files: Vec<(String, String)> = names
        .windows(2)
        .map(|pair| (pair[0].clone(), file(&[("a", &pair[1], &[]), ("b", &pair[1], &["a"])])))
        .collect();
    files.push((names[14].clone(), file(&[("x", "", &[])])));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    let said = expanded(&file(&[("a", "f0.yaml", &[])]), &files).unwrap_err();
    assert!(said.contains("the build has more than 1000 workflows"), "{said}");
}

#[test]
fn workflows_lie_only_so_deep_in_each_other() {
    let names: Vec<String> = (0..20).map(|level| format!("f{level}.yaml")).collect();
    let files: Vec<(String, String)> = names
        .windows(2)
        .map(|pair| (pair[0].clone(), file(&[("a", &pair[1], &[])])))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    let said = expanded(&file(&[("a", "f0.yaml", &[])]), &files).unwrap_err();
    assert!(
        said.contains("f15.yaml:3:44: jobs[0].infrabox_file: workflows lie more than 16 deep"),
        "{said}"
    );
}

/// Roots follow all that the workflow follows: a thousand of each are a million.
#[test]
fn dependencies_that_multiply_are_refused() {
    let many: Vec<String> = (0..1001).map(|number| format!("j{number}")).collect();
    let jobs: Vec<(&str, &str, &[&str])> = many.iter().map(|name| (name.as_str(), "", &[][..])).collect();
    let parents: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut root = jobs.clone();
    root.push(("flow", "f.yaml", &parents));
    let said = expanded(&file(&root), &[("f.yaml", &file(&jobs))]).unwrap_err();
    assert!(said.contains("more than 1000000 dependencies"), "{said}");
}

#[test]
fn names_that_become_too_long_are_refused_where_they_are_written() {
    let long = "x".repeat(130);
    let said = expanded(
        &file(&[(&long, "f.yaml", &[])]),
        &[("f.yaml", &file(&[(&long, "", &[])]))],
    )
    .unwrap_err();
    assert!(
        said.starts_with("f.yaml:3:10: jobs[0].name: the name becomes too long behind"),
        "{said}"
    );
}

#[test]
fn without_a_source_there_are_no_workflows() {
    let said = parse("tombolo.yaml", file(&[("a", "f.yaml", &[])]).as_bytes()).unwrap_err();
    assert!(
        said.to_string()
            .contains("`f.yaml` cannot be read: the build has no source"),
        "{said}"
    );
}
