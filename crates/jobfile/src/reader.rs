//! Reads a file piece by piece, JSON and YAML alike, so that nothing is held that the schema does not ask for.

mod json;
mod position;
mod yaml;

use std::borrow::Cow;

use crate::fault::{Complaint, Position};
use crate::format::Syntax;

/// How deep lists and objects may lie in each other. Job files need six levels; a service's specification some more.
pub(crate) const MAX_DEPTH: usize = 64;

/// One piece of a file and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) at: Position,
    pub(crate) piece: Piece<'a>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece<'a> {
    ListStart,
    ListEnd,
    MapStart,
    MapEnd,
    Scalar(Scalar<'a>),
    /// A value that can be passed over but not be used; what is wrong with it.
    Unusable(Complaint),
    /// The end of the only document.
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Boolean(bool),
    Whole(i64),
    /// Any other number; finite.
    Decimal(f64),
    Text(Cow<'a, str>),
}

/// What the next scalar is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The key of an object's field: text, however it is written.
    Key,
    /// A value.
    Value,
}

/// There is nothing in the file but space and comments.
fn empty() -> Complaint {
    Complaint::new("the file is empty")
        .hint("a job file has `version: 1` and `jobs`; `tombolo validate --schema` describes all of it for editors")
}

/// Why the rest of the file cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SyntaxFault {
    pub(crate) at: Position,
    pub(crate) complaint: Complaint,
}

/// The position of what comes after `text`, from the beginning of a file.
pub(crate) fn position_after(text: &str) -> Position {
    position::Tracker::new(text).at(text.len())
}

/// A file of either syntax.
pub(crate) struct Reader<'a> {
    source: Source<'a>,
    depth: usize,
}

enum Source<'a> {
    Json(json::Reader<'a>),
    Yaml(Box<yaml::Reader<'a>>),
}

impl<'a> Reader<'a> {
    pub(crate) fn new(syntax: Syntax, text: &'a str) -> Self {
        let source = match syntax {
            Syntax::Json => Source::Json(json::Reader::new(text)),
            Syntax::Yaml => Source::Yaml(Box::new(yaml::Reader::new(text))),
        };
        Self { source, depth: 0 }
    }

    /// The next piece. Pieces of lists and objects nest properly; after the outermost value comes the end.
    pub(crate) fn next(&mut self, role: Role) -> Result<Token<'a>, SyntaxFault> {
        let token = match &mut self.source {
            Source::Json(reader) => reader.next()?,
            Source::Yaml(reader) => reader.next(role)?,
        };
        match token.piece {
            Piece::ListStart | Piece::MapStart => self.depth += 1,
            Piece::ListEnd | Piece::MapEnd => self.depth -= 1,
            Piece::Scalar(_) | Piece::Unusable(_) | Piece::End => {}
        }
        if self.depth > MAX_DEPTH {
            Err(too_deep(token.at))
        } else {
            Ok(token)
        }
    }
}

fn too_deep(at: Position) -> SyntaxFault {
    let message = format!("lists and objects lie more than {MAX_DEPTH} deep in each other");
    SyntaxFault {
        at,
        complaint: Complaint::new(message),
    }
}
