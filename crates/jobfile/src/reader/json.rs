//! JSON as RFC 8259 has it, with positions.

use std::borrow::Cow;

use super::position::Tracker;
use super::{Piece, Scalar, SyntaxFault, Token};
use crate::fault::{Complaint, Position};

pub(crate) struct Reader<'a> {
    text: &'a str,
    offset: usize,
    tracker: Tracker<'a>,
    open: Vec<Container>,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    List,
    Map,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Value,
    ValueOrListEnd,
    KeyOrMapEnd,
    /// A comma, or the end of the innermost list or object.
    Continuation,
    End,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            offset: 0,
            tracker: Tracker::new(text),
            open: Vec::new(),
            expected: Expected::Value,
        }
    }

    pub(crate) fn next(&mut self) -> Result<Token<'a>, SyntaxFault> {
        self.skip_space();
        if self.expected == Expected::Continuation {
            if let Some(token) = self.close(self.innermost()) {
                return Ok(token);
            }
            let closing = self.innermost().closing();
            if self.peek() != Some(b',') {
                return Err(self.unexpected(&format!("`,` or `{}`", char::from(closing))));
            }
            self.offset += 1;
            self.skip_space();
            return match self.innermost() {
                Container::List => self.value(),
                Container::Map => self.key(),
            };
        }
        match self.expected {
            Expected::ValueOrListEnd => match self.close(Container::List) {
                Some(token) => Ok(token),
                None => self.value(),
            },
            Expected::KeyOrMapEnd => match self.close(Container::Map) {
                Some(token) => Ok(token),
                None => self.key(),
            },
            Expected::End if self.peek().is_none() => Ok(Token {
                at: self.here(),
                piece: Piece::End,
            }),
            Expected::End => {
                let complaint = Complaint::new("more than one document").hint("a job file is a single JSON object");
                Err(SyntaxFault {
                    at: self.here(),
                    complaint,
                })
            }
            Expected::Value | Expected::Continuation => self.value(),
        }
    }

    fn innermost(&self) -> Container {
        *self
            .open
            .last()
            .expect("a continuation is expected inside of a list or object only")
    }

    fn here(&mut self) -> Position {
        self.tracker.at(self.offset)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.offset += 1;
        }
    }

    /// Takes the end of the innermost list or object, if it is here.
    fn close(&mut self, container: Container) -> Option<Token<'a>> {
        if self.peek() != Some(container.closing()) {
            return None;
        }
        let at = self.here();
        self.offset += 1;
        self.open.pop();
        self.after_value();
        let piece = match container {
            Container::List => Piece::ListEnd,
            Container::Map => Piece::MapEnd,
        };
        Some(Token { at, piece })
    }

    fn after_value(&mut self) {
        self.expected = if self.open.is_empty() {
            Expected::End
        } else {
            Expected::Continuation
        };
    }

    fn key(&mut self) -> Result<Token<'a>, SyntaxFault> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a field's name in double quotes"));
        }
        let at = self.here();
        let key = self.string()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("`:`"));
        }
        self.offset += 1;
        self.expected = Expected::Value;
        Ok(Token {
            at,
            piece: Piece::Scalar(Scalar::Text(key)),
        })
    }

    fn value(&mut self) -> Result<Token<'a>, SyntaxFault> {
        let at = self.here();
        let piece = match self.peek() {
            Some(b'[') => return Ok(self.open(at, Container::List)),
            Some(b'{') => return Ok(self.open(at, Container::Map)),
            Some(b'"') => Scalar::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'a'..=b'z' | b'A'..=b'Z') => self.word()?,
            _ => return Err(self.unexpected("a value")),
        };
        self.after_value();
        Ok(Token {
            at,
            piece: Piece::Scalar(piece),
        })
    }

    fn open(&mut self, at: Position, container: Container) -> Token<'a> {
        self.offset += 1;
        self.open.push(container);
        let (piece, expected) = match container {
            Container::List => (Piece::ListStart, Expected::ValueOrListEnd),
            Container::Map => (Piece::MapStart, Expected::KeyOrMapEnd),
        };
        self.expected = expected;
        Token { at, piece }
    }

    fn word(&mut self) -> Result<Scalar<'a>, SyntaxFault> {
        let rest = &self.text[self.offset..];
        let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let scalar = match &rest[..length] {
            "null" => Scalar::Null,
            "true" => Scalar::Boolean(true),
            "false" => Scalar::Boolean(false),
            _ => return Err(self.unexpected("a value (texts stand in double quotes)")),
        };
        self.offset += length;
        Ok(scalar)
    }

    fn number(&mut self) -> Result<Scalar<'a>, SyntaxFault> {
        let start = self.offset;
        self.take(b"-");
        let leading_zero = self.peek() == Some(b'0');
        let digits = self.digits();
        let mut valid = digits > 0 && !(leading_zero && digits > 1);
        let mut whole = true;
        if self.take(b".") {
            whole = false;
            valid &= self.digits() > 0;
        }
        if self.take(b"eE") {
            whole = false;
            self.take(b"+-");
            valid &= self.digits() > 0;
        }
        let text = &self.text[start..self.offset];
        let scalar = match (whole, text.parse::<i64>(), text.parse::<f64>()) {
            _ if !valid => None,
            (true, Ok(number), _) => Some(Scalar::Whole(number)),
            (_, _, Ok(number)) if number.is_finite() => Some(Scalar::Decimal(number)),
            _ => None,
        };
        scalar.ok_or_else(|| {
            self.offset = start;
            self.fail(&format!("{} is not a number", crate::fault::quote(text)))
        })
    }

    fn take(&mut self, any_of: &[u8]) -> bool {
        let found = self.peek().is_some_and(|byte| any_of.contains(&byte));
        self.offset += usize::from(found);
        found
    }

    fn digits(&mut self) -> usize {
        let start = self.offset;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.offset += 1;
        }
        self.offset - start
    }

    /// A text in double quotes; borrowed if it has no escapes.
    fn string(&mut self) -> Result<Cow<'a, str>, SyntaxFault> {
        self.offset += 1;
        let mut start = self.offset;
        let mut built: Option<String> = None;
        loop {
            match self.peek() {
                None => return Err(self.fail("the file ends inside of a text")),
                Some(b'"') => {
                    let last = &self.text[start..self.offset];
                    self.offset += 1;
                    return Ok(match built {
                        None => Cow::Borrowed(last),
                        Some(text) => Cow::Owned(text + last),
                    });
                }
                Some(b'\\') => {
                    let text = built.get_or_insert_default();
                    text.push_str(&self.text[start..self.offset]);
                    let character = self.escape()?;
                    built.get_or_insert_default().push(character);
                    start = self.offset;
                }
                Some(byte) if byte < 0x20 => {
                    return Err(self.fail("a line break, tab or control character inside of a text, not escaped"));
                }
                Some(_) => self.offset += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxFault> {
        let start = self.offset;
        self.offset += 1;
        let simple = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => Some(char::from(byte)),
            Some(b'b') => Some('\u{8}'),
            Some(b'f') => Some('\u{c}'),
            Some(b'n') => Some('\n'),
            Some(b'r') => Some('\r'),
            Some(b't') => Some('\t'),
            _ => None,
        };
        if let Some(character) = simple {
            self.offset += 1;
            return Ok(character);
        }
        self.unicode_escape().ok_or_else(|| {
            self.offset = start;
            self.fail("an escape that JSON does not have")
        })
    }

    /// `u0041`, or a pair of surrogates.
    fn unicode_escape(&mut self) -> Option<char> {
        let first = self.hexadecimal()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        if !self.take(b"\\") {
            return None;
        }
        let second = self.hexadecimal().filter(|unit| (0xdc00..0xe000).contains(unit))?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let digits = self
            .text
            .as_bytes()
            .get(self.offset..self.offset + 5)?
            .strip_prefix(b"u")?;
        let number = digits
            .iter()
            .try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))?;
        self.offset += 5;
        Some(number)
    }

    fn unexpected(&mut self, expected: &str) -> SyntaxFault {
        match self.text[self.offset..].chars().next() {
            Some(found) => self.fail(&format!(
                "expected {expected}, found {}",
                crate::fault::quote(&found.to_string())
            )),
            None if self.text.trim().is_empty() => SyntaxFault {
                at: self.here(),
                complaint: super::empty(),
            },
            None => self.fail(&format!("expected {expected}, found the end of the file")),
        }
    }

    fn fail(&mut self, message: &str) -> SyntaxFault {
        SyntaxFault {
            at: self.here(),
            complaint: Complaint::new(message),
        }
    }
}

impl Container {
    const fn closing(self) -> u8 {
        match self {
            Self::List => b']',
            Self::Map => b'}',
        }
    }
}
