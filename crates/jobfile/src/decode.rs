//! Takes values of the expected kind from a reader; what is of another kind becomes a fault and is passed over.

use std::collections::HashSet;
use std::fmt;

use crate::fault::{Collector, Complaint, Position, quote};
use crate::format::Dialect;
use crate::reader::{Piece, Reader, Role, Scalar, SyntaxFault, Token};

/// The most fields of one object.
const MAX_FIELDS: usize = 10_000;

/// The longest text in bytes, what Linux takes as one argument or variable (`MAX_ARG_STRLEN`, with its end mark).
pub(crate) const MAX_TEXT_BYTES: usize = 128 * 1024 - 1;

/// The rest of the file cannot be read. The reason has been recorded.
#[derive(Debug)]
pub(crate) struct Stop;

pub(crate) type Step<T> = Result<T, Stop>;

/// The way from the outermost value to the present one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Path(Vec<Segment>);

#[derive(Debug, Clone)]
enum Segment {
    Field(String),
    Index(usize),
}

pub(crate) struct Decoder<'a> {
    reader: Reader<'a>,
    path: Path,
    pub(crate) faults: Collector,
    pub(crate) dialect: Dialect,
    /// Where the file lies in the source: paths in it begin there.
    pub(crate) folder: String,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(reader: Reader<'a>, dialect: Dialect, folder: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            reader,
            path: Path::default(),
            faults: Collector::default(),
            dialect,
        }
    }

    /// The first piece of the next value.
    pub(crate) fn next(&mut self) -> Step<Token<'a>> {
        let token = self.reader.next(Role::Value);
        self.check(token)
    }

    fn check(&mut self, token: Result<Token<'a>, SyntaxFault>) -> Step<Token<'a>> {
        token
            .map_err(|SyntaxFault { at, complaint }| self.fault(at, complaint))
            .map_err(|()| Stop)
    }

    /// Records a fault of the present value.
    pub(crate) fn fault(&mut self, at: Position, complaint: Complaint) {
        self.faults.add(&self.path, at, complaint);
    }

    /// Records a fault of a field of the present value.
    pub(crate) fn field_fault(&mut self, field: &str, at: Position, complaint: Complaint) {
        self.path.0.push(Segment::Field(field.to_owned()));
        self.fault(at, complaint);
        self.path.0.pop();
    }

    /// Passes over the value that begins with `token`.
    pub(crate) fn skip(&mut self, token: &Token<'a>) -> Step<()> {
        let mut depth = 0_usize;
        let mut piece = token.piece.clone();
        loop {
            match piece {
                Piece::ListStart | Piece::MapStart => depth += 1,
                Piece::ListEnd | Piece::MapEnd => depth -= 1,
                Piece::Scalar(_) | Piece::Unusable(_) | Piece::End => {}
            }
            if depth == 0 {
                return Ok(());
            }
            // What is passed over is not looked at: its scalars need no reading as numbers.
            let token = self.reader.next(Role::Key);
            piece = self.check(token)?.piece;
        }
    }

    /// Records that the value is of the wrong kind, and passes over it.
    pub(crate) fn wrong_kind(&mut self, token: &Token<'a>, expected: &str) -> Step<()> {
        let complaint = match &token.piece {
            Piece::Unusable(complaint) => complaint.clone(),
            piece => {
                let complaint = Complaint::new(format!("expected {expected}, found {}", describe(piece)));
                match piece {
                    Piece::Scalar(Scalar::Whole(_) | Scalar::Decimal(_) | Scalar::Boolean(_))
                        if expected.starts_with("text") =>
                    {
                        complaint.hint("put it in quotes")
                    }
                    _ => complaint,
                }
            }
        };
        self.fault(token.at, complaint);
        self.skip(token)
    }

    /// Takes an object: calls `each` for every field, with the key's place and the first piece of the value, which it must
    /// take whole. Says whether it was an object.
    pub(crate) fn map(
        &mut self,
        token: &Token<'a>,
        expected: &str,
        mut each: impl FnMut(&mut Self, &str, Position, Token<'a>) -> Step<()>,
    ) -> Step<bool> {
        if token.piece != Piece::MapStart {
            return self.wrong_kind(token, expected).map(|()| false);
        }
        let mut seen = HashSet::new();
        loop {
            let key = self.reader.next(Role::Key);
            let key = self.check(key)?;
            let at = key.at;
            let name = match key.piece {
                Piece::MapEnd => return Ok(true),
                Piece::Scalar(Scalar::Text(name)) => name,
                _ => {
                    self.wrong_kind(&key, "a field's name")?;
                    let value = self.next()?;
                    self.skip(&value)?;
                    continue;
                }
            };
            if seen.len() >= MAX_FIELDS {
                self.fault(at, Complaint::new(format!("more than {MAX_FIELDS} fields")));
                return Err(Stop);
            }
            let value = self.next()?;
            self.path.0.push(Segment::Field(name.clone().into_owned()));
            let step = if seen.contains(&name) {
                self.fault(at, Complaint::new(format!("the field {} is given twice", quote(&name))));
                self.skip(&value)
            } else {
                each(self, &name, at, value)
            };
            step?;
            self.path.0.pop();
            seen.insert(name);
        }
    }

    /// Takes a list: calls `each` for every item, with its index and first piece; it must take the item whole. Items past
    /// `most` become one fault. Says how many items there were, or none if it was no list.
    pub(crate) fn list(
        &mut self,
        token: &Token<'a>,
        expected: &str,
        most: usize,
        mut each: impl FnMut(&mut Self, usize, Token<'a>) -> Step<()>,
    ) -> Step<Option<usize>> {
        if token.piece != Piece::ListStart {
            return self.wrong_kind(token, expected).map(|()| None);
        }
        for index in 0.. {
            let item = self.next()?;
            if item.piece == Piece::ListEnd {
                return Ok(Some(index));
            }
            if index < most {
                self.path.0.push(Segment::Index(index));
                each(self, index, item)?;
                self.path.0.pop();
            } else {
                if index == most {
                    self.fault(item.at, Complaint::new(format!("more than {most} items")));
                }
                self.skip(&item)?;
            }
        }
        Ok(None)
    }

    /// The same as [`Self::list`], for lists that must have an item.
    pub(crate) fn filled_list(
        &mut self,
        token: &Token<'a>,
        expected: &str,
        most: usize,
        each: impl FnMut(&mut Self, usize, Token<'a>) -> Step<()>,
    ) -> Step<()> {
        if self.list(token, expected, most, each)? == Some(0) {
            self.fault(
                token.at,
                Complaint::new("the list is empty").hint("leave the field out instead"),
            );
        }
        Ok(())
    }

    /// Takes a text without NUL and of at most [`MAX_TEXT_BYTES`].
    pub(crate) fn text(&mut self, token: Token<'a>, expected: &str) -> Step<Option<String>> {
        let Piece::Scalar(Scalar::Text(text)) = token.piece else {
            return self.wrong_kind(&token, expected).map(|()| None);
        };
        if text.contains('\0') {
            self.fault(token.at, Complaint::new("a NUL character, which no text may have"));
            return Ok(None);
        }
        if text.len() > MAX_TEXT_BYTES {
            self.fault(
                token.at,
                Complaint::new(format!("a text of more than {MAX_TEXT_BYTES} bytes")),
            );
            return Ok(None);
        }
        Ok(Some(text.into_owned()))
    }

    /// Takes a text that is not empty, see [`Self::text`].
    pub(crate) fn filled_text(&mut self, token: Token<'a>, expected: &str) -> Step<Option<String>> {
        let at = token.at;
        let text = self.text(token, expected)?;
        if text.as_deref() == Some("") {
            self.fault(at, Complaint::new(format!("expected {expected}, found an empty one")));
            return Ok(None);
        }
        Ok(text)
    }

    /// Takes a whole number within `bounds`.
    pub(crate) fn whole<Number: TryFrom<i64> + PartialOrd + fmt::Display>(
        &mut self,
        token: &Token<'a>,
        expected: &str,
        bounds: std::ops::RangeInclusive<Number>,
    ) -> Step<Option<Number>> {
        let Piece::Scalar(Scalar::Whole(number)) = token.piece else {
            return self.wrong_kind(token, expected).map(|()| None);
        };
        match Number::try_from(number) {
            Ok(number) if bounds.contains(&number) => Ok(Some(number)),
            _ => {
                let (low, high) = bounds.into_inner();
                let message = format!("expected {expected} from {low} to {high}, found {number}");
                self.fault(token.at, Complaint::new(message));
                Ok(None)
            }
        }
    }
}

fn describe(piece: &Piece<'_>) -> String {
    match piece {
        Piece::ListStart | Piece::ListEnd => "a list".to_owned(),
        Piece::MapStart | Piece::MapEnd => "an object".to_owned(),
        Piece::Unusable(complaint) => complaint.message.clone(),
        Piece::End => "the end of the file".to_owned(),
        Piece::Scalar(Scalar::Null) => "nothing (null)".to_owned(),
        Piece::Scalar(Scalar::Boolean(value)) => format!("the boolean {value}"),
        Piece::Scalar(Scalar::Whole(number)) => format!("the number {number}"),
        Piece::Scalar(Scalar::Decimal(number)) => format!("the number {number}"),
        Piece::Scalar(Scalar::Text(text)) => format!("the text {}", quote(text)),
    }
}

impl fmt::Display for Path {
    /// `jobs[2].depends_on[0].on`; fields that are not plain words stand in brackets and quotes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(item) => write!(formatter, "[{item}]")?,
                Segment::Field(name) if is_word(name) && index == 0 => formatter.write_str(name)?,
                Segment::Field(name) if is_word(name) => write!(formatter, ".{name}")?,
                Segment::Field(name) => {
                    let short: String = name.chars().take(60).collect();
                    write!(formatter, "[{short:?}]")?;
                }
            }
        }
        Ok(())
    }
}

fn is_word(name: &str) -> bool {
    (1..=60).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
