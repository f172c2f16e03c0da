//! Puts the jobs of workflows in their places.
//!
//! The jobs of a workflow are named `workflow/job`; those without parents follow the workflow's own, and the workflow itself becomes a
//! job that runs nothing and comes after those that no other follows.

use std::collections::HashSet;

use tombolo_core::build::graph::{MAX_DEPENDENCIES, MAX_JOBS};
use tombolo_core::build::hook::Hook;
use tombolo_core::build::{BuildDefinition, Dependency, JobKind, JobSpec, StateSet};
use tombolo_core::name::JobName;

use crate::fault::{Complaint, Fault, Faults, Position};
use crate::schema::{Jobs, Place};
use crate::sharing::{Sharing, Site as Selecting};

/// How deep workflows may lie in each other.
const MAX_DEPTH: usize = 16;
/// The most files that are read for one build, each as often as it is named.
const MAX_FILES: usize = 1000;
/// The most bytes that are read of them.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The files that a job file may refer to.
pub trait Files {
    /// The content of a file, by its path from the top of the source, with `/` between the parts and without `.` and `..`; of one that is
    /// larger than [`MAX_FILE_BYTES`](crate::MAX_FILE_BYTES), at least one byte more than that. An error says why it cannot be read.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String>;
}

/// There are no files beside the job file.
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, String> {
        Err("the build has no source to take it from".to_owned())
    }
}

/// A job file.
#[derive(Clone, Copy)]
pub(crate) struct File<'a> {
    /// As it is called in messages. It says how the file is written.
    pub(crate) name: &'a str,
    /// From the top of the source.
    pub(crate) path: &'a str,
    pub(crate) bytes: &'a [u8],
}

/// Where the jobs of a file come to.
struct Site {
    /// The workflow that they are of; none for the build's own file.
    outer: Option<JobName>,
    /// What those without parents follow.
    inherited: Vec<Dependency>,
    /// The list of hooks that the workflow is in, if it is in one.
    hook: Option<Hook>,
    /// The paths of the files that led here, and of the file itself.
    trail: Vec<String>,
}

/// Reads a job file and all that it refers to.
pub(crate) fn expand(limit: usize, file: File<'_>, files: &mut dyn Files) -> Result<BuildDefinition, Faults> {
    let mut expander = Expander {
        limit,
        files,
        root: file.name.to_owned(),
        specs: Vec::new(),
        dependencies: 0,
        read_files: 0,
        read_bytes: 0,
        full: false,
        faults: Vec::new(),
        omitted: 0,
        sharing: Sharing::default(),
    };
    let site = Site {
        outer: None,
        inherited: Vec::new(),
        hook: None,
        trail: vec![file.path.to_owned()],
    };
    expander.take_file(file, &site);
    expander.check_sharing();
    if expander.faults.is_empty() {
        return Ok(BuildDefinition { jobs: expander.specs });
    }
    Err(Faults {
        file: crate::fault::excerpt(file.name, 4096),
        faults: expander.faults,
        omitted: expander.omitted,
    })
}

struct Expander<'f> {
    limit: usize,
    files: &'f mut dyn Files,
    /// The name of the build's own file.
    root: String,
    specs: Vec<JobSpec>,
    dependencies: usize,
    read_files: usize,
    read_bytes: usize,
    /// A limit of the build was passed, which was said.
    full: bool,
    faults: Vec<Fault>,
    omitted: usize,
    sharing: Sharing,
}

impl Expander<'_> {
    /// Takes the jobs of a file, and says which of them no other follows.
    fn take_file(&mut self, file: File<'_>, site: &Site) -> Vec<JobName> {
        let (jobs, faults) = match crate::read_jobs(self.limit, file) {
            Ok(read) => read,
            Err(faults) => {
                self.take_faults(file, faults);
                return Vec::new();
            }
        };
        let sound = faults.faults.is_empty();
        self.take_faults(file, faults);
        let Jobs { specs, places, .. } = jobs;
        let followed: HashSet<JobName> = specs
            .iter()
            .flat_map(|spec| spec.dependencies.iter().map(|dependency| dependency.job.clone()))
            .collect();
        let mut leaves = Vec::new();
        for (spec, place) in specs.into_iter().zip(&places) {
            if self.full {
                break;
            }
            let is_leaf = !followed.contains(&spec.name);
            let name = self.take_job(file, site, spec, place, sound);
            leaves.extend(name.filter(|_| is_leaf));
        }
        leaves
    }

    /// Takes one job, with all that is in it, and gives its name.
    fn take_job(
        &mut self,
        file: File<'_>,
        site: &Site,
        mut spec: JobSpec,
        place: &Place,
        sound: bool,
    ) -> Option<JobName> {
        if let Some(outer) = &site.outer {
            let within = |name: &JobName| name.within(outer);
            let name = within(&spec.name);
            let parents: Result<Vec<JobName>, _> = spec.dependencies.iter().map(|parent| within(&parent.job)).collect();
            let Some((name, parents)) = name.ok().zip(parents.ok()) else {
                let message = format!("the name becomes too long behind `{outer}/`");
                let hint = format!("a name is {}", JobName::RULE);
                let complaint = Complaint::new(message).hint(hint);
                self.fault(file, &format!("{}.name", place.path()), place.name, complaint);
                return None;
            };
            if let Some(hook) = spec.hook() {
                let message = format!("the file of a workflow has no `{}`", hook.as_str());
                let complaint = Complaint::new(message).hint("only the job file of the build has that");
                self.fault(file, &place.path(), place.name, complaint);
                return None;
            }
            spec.set_hook(site.hook);
            spec.name = name;
            for (dependency, parent) in spec.dependencies.iter_mut().zip(parents) {
                dependency.job = parent;
            }
            // They are among the parents, whose names fit.
            if let Some(extensions) = &mut spec.extensions {
                let _ = extensions.rename_jobs(within);
            }
        }
        if spec.dependencies.is_empty() {
            spec.dependencies.clone_from(&site.inherited);
        }
        if spec.kind == JobKind::Workflow {
            let leaves = self.take_workflow(file, site, &spec, place);
            if !leaves.is_empty() {
                let follow = |job| Dependency { job, on: StateSet::ALL };
                spec.dependencies = leaves.into_iter().map(follow).collect();
            }
        }
        self.sharing.add(file, &spec, place);
        let name = spec.name.clone();
        self.dependencies += spec.dependencies.len();
        if self.specs.len() >= MAX_JOBS || self.dependencies > MAX_DEPENDENCIES {
            let message = format!(
                "with its workflows, the build has more than {MAX_JOBS} jobs, or more than {MAX_DEPENDENCIES} dependencies"
            );
            self.fault(file, &place.path(), place.name, Complaint::new(message));
            self.full = true;
            return None;
        }
        if sound && self.faults.is_empty() {
            self.specs.push(spec);
        }
        Some(name)
    }

    /// Takes the jobs of a workflow, and says which of them no other follows.
    fn take_workflow(&mut self, file: File<'_>, site: &Site, spec: &JobSpec, place: &Place) -> Vec<JobName> {
        // One that is missing or faulty has been recorded.
        let Some((path, at)) = &place.include else {
            return Vec::new();
        };
        match self.include(site, path) {
            Ok(bytes) => {
                let mut trail = site.trail.clone();
                trail.push(path.clone());
                let inner = Site {
                    outer: Some(spec.name.clone()),
                    inherited: spec.dependencies.clone(),
                    hook: spec.hook(),
                    trail,
                };
                let file = File {
                    name: path,
                    path,
                    bytes: &bytes,
                };
                self.take_file(file, &inner)
            }
            Err(complaint) => {
                self.fault(file, &format!("{}.infrabox_file", place.path()), *at, complaint);
                Vec::new()
            }
        }
    }

    /// The content of a workflow's file.
    fn include(&mut self, site: &Site, path: &str) -> Result<Vec<u8>, Complaint> {
        if let Some(first) = site.trail.iter().position(|earlier| earlier == path) {
            let mut circle = site.trail[first..].to_vec();
            circle.push(path.to_owned());
            let message = format!("the workflow includes itself: {}", circle.join(" -> "));
            return Err(Complaint::new(message).hint("take one of these workflows out"));
        }
        if site.trail.len() > MAX_DEPTH {
            let message = format!("workflows lie more than {MAX_DEPTH} deep in each other");
            return Err(Complaint::new(message));
        }
        self.read_files += 1;
        if self.read_files > MAX_FILES {
            return Err(Complaint::new(format!(
                "the build has more than {MAX_FILES} workflows, each counted as often as it is named"
            )));
        }
        let bytes = self.files.read(path).map_err(|reason| {
            let message = format!("`{path}` cannot be read: {reason}");
            Complaint::new(message).hint("the path begins at the folder of the job file that names it; give the source along with it: `tombolo push`, or `--source FOLDER`")
        })?;
        self.read_bytes = self.read_bytes.saturating_add(bytes.len());
        if self.read_bytes > MAX_BYTES {
            let mebibytes = MAX_BYTES / (1024 * 1024);
            return Err(Complaint::new(format!(
                "the files of the build's workflows have more than {mebibytes} MiB, each counted as often as it is named"
            )));
        }
        Ok(bytes)
    }

    /// Says which jobs cannot share the volume with others, each in its place among the faults of its file.
    fn check_sharing(&mut self) {
        for (Selecting { file, path, at }, complaint) in std::mem::take(&mut self.sharing).faults() {
            if self.faults.len() >= Faults::MAX {
                self.omitted += 1;
                continue;
            }
            let mut fault = complaint.at(&path, at);
            fault.file = (file != self.root).then(|| crate::fault::excerpt(&file, 4096));
            let comes_before =
                |other: &Fault| other.file == fault.file && (other.line, other.column) <= (fault.line, fault.column);
            let before = self.faults.iter().rposition(comes_before);
            let first = self.faults.iter().position(|other| other.file == fault.file);
            let index = before.map(|before| before + 1).or(first);
            self.faults.insert(index.unwrap_or(self.faults.len()), fault);
        }
    }

    fn take_faults(&mut self, file: File<'_>, faults: Faults) {
        self.omitted += faults.omitted;
        for fault in faults.faults {
            self.push(file, fault);
        }
    }

    fn fault(&mut self, file: File<'_>, path: &str, at: Position, complaint: Complaint) {
        let fault = complaint.at(path, at);
        self.push(file, fault);
    }

    fn push(&mut self, file: File<'_>, mut fault: Fault) {
        if self.faults.len() >= Faults::MAX {
            self.omitted += 1;
            return;
        }
        fault.file = (file.name != self.root).then(|| crate::fault::excerpt(file.name, 4096));
        self.faults.push(fault);
    }
}
