//! What people are told while a pod waits.

use super::*;

#[test]
fn what_a_pod_waits_for_is_told_with_how_long() {
    let unschedulable = json!({ "phase": "Pending", "conditions": [{ "message": "0/1 nodes are available: 1 Insufficient cpu.",
        "reason": "Unschedulable", "status": "False", "type": "PodScheduled" }] });
    let mut placeless = pod(unschedulable);
    placeless.spec.as_mut().unwrap().node_name = None;
    let placeless = PodView::new(&placeless, None, NOW).unwrap();
    let silent = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" },
        { "type": "ContainersReady", "status": "True" }], "containerStatuses": [container("job", running())] });
    for (view, words) in [
        (
            placeless,
            "waits for a node: 0/1 nodes are available: 1 Insufficient cpu; given up after 10m".to_owned(),
        ),
        (
            view(pending(waiting("ErrImagePull", NOT_FOUND))),
            format!("cannot pull an image: {NOT_FOUND}; given up after 20s"),
        ),
        (
            view(pending(waiting("ErrImagePull", NO_HOST))),
            format!("cannot pull an image: {NO_HOST}; given up after 2m"),
        ),
        (
            view(pending(waiting("ImagePullBackOff", "Back-off"))),
            "cannot pull an image: the node does not say why; given up after 2m".to_owned(),
        ),
        (
            view(pending(waiting("ContainerCreating", ""))),
            "waits for its container `job` (ContainerCreating); given up after 30m".to_owned(),
        ),
        (
            view(silent),
            "the node `east` does not answer; given up after 5m".to_owned(),
        ),
        (view(status("Running", running(), running())), String::new()),
    ] {
        let verdict = judge(&view, NOW, &DEADLINES);
        assert_eq!(verdict.words(), words, "{verdict:?}");
    }
}

#[test]
fn a_node_that_does_not_answer_is_no_end_yet() {
    let lost = json!({
        "phase": "Running",
        "conditions": [
            { "status": "True", "type": "Initialized" },
            { "status": "False", "type": "Ready" },
            { "status": "True", "type": "ContainersReady" },
            { "status": "True", "type": "PodScheduled" },
        ],
        "containerStatuses": [container("courier", running()), container("job", running())],
    });
    assert!(
        matches!(judge(&view(lost.clone()), NOW, &DEADLINES), Verdict::Unreachable { words }
            if words == "the node `east` does not answer; given up after 5m")
    );
    // Kubernetes has the pod removed after a while, which a node that is gone never confirms.
    let mut condemned = pod(lost.clone());
    condemned.metadata.deletion_timestamp = condemned.metadata.creation_timestamp.clone();
    let condemned = PodView::new(&condemned, None, NOW).unwrap();
    assert!(matches!(
        judge(&condemned, NOW, &DEADLINES),
        Verdict::Unreachable { .. }
    ));
    assert_eq!(judge_deleted(&view(lost)).kind, Kind::NodeLost);
}
