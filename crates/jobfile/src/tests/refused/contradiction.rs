//! Selectors that no cluster can ever meet.

use super::{check, refuse};

#[test]
fn requirements_that_exclude_each_other_are_a_fault_where_they_stand() {
    for (selector, said) in [
        ("[GCP, \"!GCP\"]", "no cluster can meet `GCP`, `!GCP` at the same time"),
        ("[a=1, b, a=2]", "no cluster can meet `a=1`, `a=2` at the same time"),
        (
            "[gpu>3, gpu<4]",
            "no cluster can meet `gpu>3`, `gpu<4` at the same time",
        ),
    ] {
        let text = format!(
            "version: 1\njobs:\n- type: docker-image\n  name: a\n  image: i\n  cluster:\n    selector: {selector}\n"
        );
        check(
            "infrabox.yaml",
            &text,
            &[&format!("7:15 jobs[0].cluster.selector: {said}")],
        );
    }
}

#[test]
fn a_matrix_is_refused_that_makes_such_a_selector_with_one_of_its_values() {
    let text = "version: 1\njobs:\n- {name: a, type: docker-image, image: i, matrix: {os: [linux, darwin]}, cluster: {selector: [os=linux, \"os=${{ matrix.os }}\"]}}\n";
    let faults = refuse("tombolo.yaml", text.as_bytes()).faults;
    let [fault] = faults.as_slice() else {
        panic!("{faults:?}")
    };
    assert_eq!(fault.path, "jobs[0].cluster");
    assert_eq!(
        fault.message,
        "no cluster can meet `os=linux`, `os=darwin` at the same time"
    );
}
