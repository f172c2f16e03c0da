//! Checking a job file, with the workflows that it names in its folder, without a master.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use tombolo_jobfile::Faults;
use tombolo_jobfile::report::{self, Report};

use crate::failure::{ExitCode, Failure};
use crate::render::{self, Format};

/// One byte more than any job file may have: what is read of a file that is too long.
const READ_AT_MOST: u64 = tombolo_jobfile::MAX_FILE_BYTES as u64 + 1;

#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// The job file: `infrabox.json`, `infrabox.yaml` or `tombolo.yaml`.
    #[arg(required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Prints a JSON Schema of job files, for editors, and checks nothing.
    #[arg(long, conflicts_with_all = ["file", "source"])]
    schema: bool,
    /// The folder that will be the build's source, which workflows are taken from; by default the present one if the job file lies in
    /// it, else the job file's own.
    #[arg(long, short, value_name = "FOLDER")]
    source: Option<PathBuf>,
}

/// Reads a job file, or its beginning if it is too long to be one.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", file.display()));
    let mut bytes = Vec::new();
    fs::File::open(file)
        .map_err(fail)?
        .take(READ_AT_MOST)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    Ok(bytes)
}

/// The path of a job file from the top of the source `folder`, with `/` between its parts; none if it does not lie in it.
pub(crate) fn path_within(folder: &Path, file: &Path) -> Option<String> {
    let (folder, file) = (fs::canonicalize(folder).ok()?, fs::canonicalize(file).ok()?);
    let parts = file.strip_prefix(folder).ok()?.components();
    let parts: Option<Vec<&str>> = parts
        .map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect();
    Some(parts?.join("/"))
}

/// The name of a file without its folders.
pub(crate) fn base_name(file: &Path) -> String {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_default()
}

/// The files in the folder that will be the build's source.
struct LocalFiles(PathBuf);

impl tombolo_jobfile::Files for LocalFiles {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let file = self.0.join(path);
        match fs::symlink_metadata(&file) {
            Ok(metadata) if metadata.is_symlink() => {
                return Err("it is a symbolic link, which is not followed here".to_owned());
            }
            Ok(metadata) if metadata.is_dir() => return Err("it is a folder".to_owned()),
            _ => {}
        }
        let mut bytes = Vec::new();
        let read = fs::File::open(&file).and_then(|file| file.take(READ_AT_MOST).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("the source has no such file".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Says everything that is wrong with a job file.
pub(crate) fn run(command: &Validate, format: Format) -> Result<(), Failure> {
    format.refuse(&[Format::Name], "validate")?;
    let Some(file) = command.file.as_deref().filter(|_| !command.schema) else {
        return render::line(tombolo_jobfile::SCHEMA.trim_end());
    };
    let bytes = read(file)?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let own = parent.unwrap_or(Path::new(".")).to_owned();
    let present = PathBuf::from(".");
    let folder = match &command.source {
        Some(folder) => folder.clone(),
        None if path_within(&present, file).is_some() => present,
        None => own,
    };
    // As the master will call it; one outside of its source stands for itself.
    let name = path_within(&folder, file).unwrap_or_else(|| base_name(file));
    let result = tombolo_jobfile::parse_with(&name, &bytes, &mut LocalFiles(folder));
    let name = file.display().to_string();
    let result = result.map_err(|faults| Faults {
        file: name.clone(),
        ..faults
    });
    if matches!(format, Format::Json | Format::Yaml) {
        render::print_value(format, &Report::new(&name, &result))?;
        return result.map(drop).map_err(|_| Failure::silent(ExitCode::Usage));
    }
    match result {
        Ok(definition) => {
            let jobs = render::count(definition.jobs.len() as u64, "job");
            render::line(&format!("{name} is valid: {jobs}."))
        }
        Err(faults) => {
            render::line(&report::plain(&faults))?;
            Err(Failure::silent(ExitCode::Usage))
        }
    }
}
