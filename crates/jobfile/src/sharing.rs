//! Jobs of one build that share its volume run on one cluster: what they require must not exclude each other.

use std::collections::{BTreeMap, HashSet};

use tombolo_core::build::JobSpec;
use tombolo_core::label::Requirement;
use tombolo_core::name::JobName;
use tombolo_core::volume::VolumeKind;

use crate::expand::File;
use crate::fault::{Complaint, Position};
use crate::schema::Place;

/// How many requirements of others a fault names.
const MAX_NAMED: usize = 3;

/// What the jobs require that share the volume, by the key of the label: each requirement once, of the first job that has it.
#[derive(Default)]
pub(crate) struct Sharing {
    asked: BTreeMap<String, Vec<Asked>>,
    known: HashSet<Requirement>,
}

struct Asked {
    requirement: Requirement,
    job: JobName,
    site: Site,
}

/// Where a selector is.
#[derive(Clone)]
pub(crate) struct Site {
    /// The file as it is called in messages.
    pub(crate) file: String,
    /// The path of the selector in it.
    pub(crate) path: String,
    pub(crate) at: Position,
}

impl Sharing {
    /// Takes in a job, which has its name in the build by now.
    pub(crate) fn add(&mut self, file: File<'_>, spec: &JobSpec, place: &Place) {
        // One that no cluster can meet has been recorded.
        let is_sound = || spec.selector.contradiction().is_none();
        let Some(at) = place.selector else { return };
        if !spec.volumes.contains(VolumeKind::Shared) || !is_sound() {
            return;
        }
        for requirement in spec.selector.requirements.iter() {
            if self.known.insert(requirement.clone()) {
                let site = Site {
                    file: file.name.to_owned(),
                    path: format!("{}.cluster.selector", place.path()),
                    at,
                };
                let of_key = self.asked.entry(requirement.key.clone()).or_default();
                of_key.push(Asked {
                    requirement: requirement.clone(),
                    job: spec.name.clone(),
                    site,
                });
            }
        }
    }

    /// The jobs that no cluster can run where those before them run: the first for each label.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (Site, Complaint)> {
        self.asked.values().filter_map(|asked| fault(asked))
    }
}

/// In time that grows little faster than the number of requirements, which may be hostile.
fn fault(asked: &[Asked]) -> Option<(Site, Complaint)> {
    let hold = |count: usize| {
        let group: Vec<&Requirement> = asked[..count].iter().map(|asked| &asked.requirement).collect();
        Requirement::can_hold_together(&group)
    };
    if hold(asked.len()) {
        return None;
    }
    // With more requirements it only becomes harder to meet them.
    let (mut possible, mut impossible) = (0, asked.len());
    while possible + 1 < impossible {
        let middle = possible + (impossible - possible) / 2;
        match hold(middle) {
            true => possible = middle,
            false => impossible = middle,
        }
    }
    let (last, before) = asked[..impossible].split_last()?;
    let excludes = |other: &&Asked| !Requirement::can_hold_together(&[&other.requirement, &last.requirement]);
    let others: Vec<&Asked> = match before.iter().find(excludes) {
        Some(other) => vec![other],
        None => before.iter().take(MAX_NAMED).collect(),
    };
    let needs = others
        .iter()
        .map(|other| format!("`{}` needs `{}`", other.job, other.requirement));
    let needs = needs.collect::<Vec<_>>().join(", ");
    let message = format!(
        "no cluster can meet `{}` and what jobs need that share the volume of the build with this one: {needs}",
        last.requirement
    );
    let mut hint = "jobs that share a volume run on one cluster: take one of these requirements out, or leave `volumes: [shared]` out of one of the jobs".to_owned();
    if let [other] = others.as_slice() {
        let file = match other.site.file == last.site.file {
            true => String::new(),
            false => format!("{}, ", other.site.file),
        };
        hint.push_str(&format!(
            " (that of `{}` is {file}{} on line {})",
            other.job, other.site.path, other.site.at.line
        ));
    }
    Some((last.site.clone(), Complaint::new(message).hint(hint)))
}
