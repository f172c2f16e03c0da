//! Job files that attempts leave: by either of the services that hand one over.

use tombolo_core::attempt::{GeneratedFile, WorkflowFile};

use super::{Error, required, text};
use crate::{agent::v1 as agent, courier::v1 as courier};

/// The longest path of a file, in bytes, as job files have it.
const MAX_PATH_BYTES: usize = 4096;

type Content = Option<Result<String, String>>;

/// Both services have the same messages.
macro_rules! converted {
    ($service:ident) => {
        impl From<GeneratedFile> for $service::GeneratedFile {
            fn from(file: GeneratedFile) -> Self {
                use $service::{generated_file, workflow_file};
                let workflow = |file: WorkflowFile| $service::WorkflowFile {
                    path: file.path,
                    content: Some(match file.text {
                        Ok(text) => workflow_file::Content::Text(text),
                        Err(reason) => workflow_file::Content::Obstacle(reason),
                    }),
                };
                Self {
                    name: file.name,
                    content: Some(match file.text {
                        Ok(text) => generated_file::Content::Text(text),
                        Err(reason) => generated_file::Content::Obstacle(reason),
                    }),
                    workflows: file.workflows.into_iter().map(workflow).collect(),
                }
            }
        }

        impl TryFrom<$service::GeneratedFile> for GeneratedFile {
            type Error = Error;

            fn try_from(file: $service::GeneratedFile) -> Result<Self, Error> {
                use $service::{generated_file, workflow_file};
                let content = file.content.map(|content| match content {
                    generated_file::Content::Text(text) => Ok(text),
                    generated_file::Content::Obstacle(reason) => Err(reason),
                });
                let workflow = |file: $service::WorkflowFile| {
                    let content = file.content.map(|content| match content {
                        workflow_file::Content::Text(text) => Ok(text),
                        workflow_file::Content::Obstacle(reason) => Err(reason),
                    });
                    (file.path, content)
                };
                checked(file.name, content, file.workflows.into_iter().map(workflow))
            }
        }
    };
}

converted!(agent);
converted!(courier);

/// A job file that was handed over, if it can be one: not if its name leads anywhere, or if nothing or too much is in it.
fn checked(
    name: String,
    content: Content,
    workflows: impl ExactSizeIterator<Item = (String, Content)>,
) -> Result<GeneratedFile, Error> {
    if workflows.len() > GeneratedFile::MAX_WORKFLOWS {
        return Err(Error::new("GeneratedFile.workflows", "are too many"));
    }
    let file = GeneratedFile {
        name: path(name, "GeneratedFile.name")?,
        text: required(content, "GeneratedFile.content")?,
        workflows: workflows
            .map(|(name, content)| {
                Ok(WorkflowFile {
                    path: path(name, "WorkflowFile.path")?,
                    text: required(content, "WorkflowFile.content")?,
                })
            })
            .collect::<Result<_, Error>>()?,
    };
    let bytes = file.bytes();
    if bytes > GeneratedFile::MAX_BYTES {
        let limit = GeneratedFile::MAX_BYTES;
        return Err(Error::new(
            "GeneratedFile.content",
            format!("has {bytes} bytes, more than {limit}"),
        ));
    }
    Ok(file)
}

/// A path from the top of something, that stays within it.
fn path(path: String, field: &'static str) -> Result<String, Error> {
    let path = text(path, field)?;
    let leads_out = path.split('/').any(|part| matches!(part, "" | "." | ".."));
    if leads_out || path.len() > MAX_PATH_BYTES {
        return Err(Error::new(field, "is not a path within a folder"));
    }
    Ok(path)
}
