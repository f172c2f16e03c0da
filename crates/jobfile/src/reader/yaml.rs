//! YAML 1.2 with the core schema, one document, without aliases.

use std::borrow::Cow;
use std::cell::Cell;
use std::iter::FusedIterator;
use std::rc::Rc;
use std::str::Chars;

use saphyr_parser::{BufferedInput, Event, Marker, Parser, ScalarStyle, Tag};

use super::{Piece, Role, Scalar, SyntaxFault, Token, too_deep};
use crate::fault::{Complaint, Position};

/// How many characters the parser may read before it comes up with something. It holds the pieces of a whole list or
/// object in brackets (since that could turn out to be a key), each of about 100 bytes, so this bounds its memory to some 50 MB.
const MAX_AHEAD: usize = 512 * 1024;

/// What the parser says of lines that do not stand as they should: "simple key expect ':'", "invalid indentation".
const LAYOUT: [&str; 3] = ["simple key", "indent", "block mapping"];
const LAYOUT_HINT: &str = "look at this line and the one before: those of one list or object begin in the same column, and a name ends with `: `";

pub(crate) struct Reader<'a> {
    parser: Parser<'a, BufferedInput<Bounded<'a>>>,
    ahead: Rc<Cell<usize>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let ahead = Rc::new(Cell::new(0));
        let characters = Bounded {
            characters: text.chars(),
            ahead: Rc::clone(&ahead),
        };
        Self {
            parser: Parser::new_from_iter(characters),
            ahead,
        }
    }

    pub(crate) fn next(&mut self, role: Role) -> Result<Token<'a>, SyntaxFault> {
        loop {
            let (event, at) = self.event()?;
            let piece = match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
                Event::StreamEnd => {
                    return Err(SyntaxFault {
                        at,
                        complaint: super::empty(),
                    });
                }
                Event::DocumentEnd => {
                    self.expect_end()?;
                    Piece::End
                }
                Event::SequenceStart(_, tag) => self.collection(at, Piece::ListStart, tag)?,
                Event::SequenceEnd => Piece::ListEnd,
                Event::MappingStart(_, tag) => self.collection(at, Piece::MapStart, tag)?,
                Event::MappingEnd => Piece::MapEnd,
                Event::Scalar(text, style, _, tag) => scalar(text, style, tag.as_deref(), role),
                Event::Alias(_) => Piece::Unusable(
                    Complaint::new("an alias (`*name`), which job files cannot have").hint("write the value out"),
                ),
            };
            return Ok(Token { at, piece });
        }
    }

    /// The tag of a list or object changes nothing that could be used, so it ends the reading.
    fn collection(&self, at: Position, piece: Piece<'a>, tag: Option<Cow<'_, Tag>>) -> Result<Piece<'a>, SyntaxFault> {
        match tag {
            None => Ok(piece),
            Some(tag) => Err(SyntaxFault {
                at,
                complaint: unknown_tag(&tag),
            }),
        }
    }

    fn expect_end(&mut self) -> Result<(), SyntaxFault> {
        match self.event()? {
            (Event::StreamEnd, _) => Ok(()),
            (_, at) => {
                let complaint = Complaint::new("more than one document").hint("a job file is a single YAML document");
                Err(SyntaxFault { at, complaint })
            }
        }
    }

    fn event(&mut self) -> Result<(Event<'a>, Position), SyntaxFault> {
        self.ahead.set(0);
        let event = self.parser.next_event();
        if self.ahead.get() > MAX_AHEAD {
            let at = match &event {
                Some(Ok((_, span))) => position(span.start),
                Some(Err(error)) => position(*error.marker()),
                None => Position::START,
            };
            let message = format!(
                "a text, comment, or list or object in brackets of more than {} KiB",
                MAX_AHEAD / 1024
            );
            let complaint = Complaint::new(message).hint("write long lists one item a line, without brackets");
            return Err(SyntaxFault { at, complaint });
        }
        match event {
            Some(Ok((event, span))) => Ok((event, position(span.start))),
            Some(Err(error)) if error.info() == "recursion limit exceeded" => Err(too_deep(position(*error.marker()))),
            Some(Err(error)) => {
                let complaint = Complaint::new(format!("not valid YAML: {}", error.info()));
                let is_of_layout = LAYOUT.iter().any(|words| error.info().contains(words));
                Err(SyntaxFault {
                    at: position(*error.marker()),
                    complaint: if is_of_layout {
                        complaint.hint(LAYOUT_HINT)
                    } else {
                        complaint
                    },
                })
            }
            // The parser ends with `StreamEnd`, after which nobody asks again.
            None => Err(SyntaxFault {
                at: Position::START,
                complaint: super::empty(),
            }),
        }
    }
}

fn position(marker: Marker) -> Position {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Position {
        line: number(marker.line()).max(1),
        column: number(marker.col()).saturating_add(1),
    }
}

fn unknown_tag(tag: &Tag) -> Complaint {
    Complaint::new(format!(
        "a tag ({}), which job files cannot have",
        crate::fault::quote(&tag.to_string())
    ))
}

fn scalar<'a>(text: Cow<'a, str>, style: ScalarStyle, tag: Option<&Tag>, role: Role) -> Piece<'a> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Piece::Scalar(Scalar::Text(text)),
        Some(tag) => Piece::Unusable(unknown_tag(tag)),
        None if role == Role::Key || style != ScalarStyle::Plain => Piece::Scalar(Scalar::Text(text)),
        None => plain(text),
    }
}

/// A value without quotes, by the core schema.
fn plain(text: Cow<'_, str>) -> Piece<'_> {
    let scalar = match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Boolean(true),
        "false" | "False" | "FALSE" => Scalar::Boolean(false),
        number => match numeric(number) {
            Some(Ok(scalar)) => scalar,
            Some(Err(complaint)) => return Piece::Unusable(complaint),
            None => Scalar::Text(text),
        },
    };
    Piece::Scalar(scalar)
}

/// The number that `text` is; none if it is not one by the core schema.
fn numeric(text: &str) -> Option<Result<Scalar<'static>, Complaint>> {
    let too_large = || Complaint::new(format!("the number {} is too large", crate::fault::quote(text)));
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let valid = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
            return valid.then(|| {
                i64::from_str_radix(digits, radix)
                    .map(Scalar::Whole)
                    .map_err(|_| too_large())
            });
        }
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return Some(Err(Complaint::new("an infinite number"))),
        ".nan" | ".NaN" | ".NAN" if unsigned == text => return Some(Err(Complaint::new("not a number (`.nan`)"))),
        _ => {}
    }
    if !is_decimal(unsigned) {
        return None;
    }
    if let Ok(number) = text.parse() {
        return Some(Ok(Scalar::Whole(number)));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Some(Ok(Scalar::Decimal(number))),
        _ => Some(Err(too_large())),
    }
}

/// `[0-9]+ ( \. [0-9]* )?` or `\. [0-9]+`, then `( [eE] [-+]? [0-9]+ )?`.
fn is_decimal(text: &str) -> bool {
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    are_digits(whole)
        && are_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && are_digits(exponent))
}

/// The characters of the file, which end early when too many are read at once.
struct Bounded<'a> {
    characters: Chars<'a>,
    ahead: Rc<Cell<usize>>,
}

impl Iterator for Bounded<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let ahead = self.ahead.get();
        if ahead > MAX_AHEAD {
            return None;
        }
        let character = self.characters.next()?;
        self.ahead.set(ahead + 1);
        Some(character)
    }
}

impl FusedIterator for Bounded<'_> {}
