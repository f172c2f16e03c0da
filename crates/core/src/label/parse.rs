//! Reads selectors, character by character, so that an error can say where.

use super::grammar;
use super::selector::{Operator, ParseSelectorError, Requirement, Selector};

/// Reads one requirement and nothing after it.
pub(super) fn requirement(text: &str) -> Result<Requirement, ParseSelectorError> {
    let mut parser = Parser::new(text)?;
    let requirement = parser.requirement()?;
    match parser.peek() {
        None => Ok(requirement),
        Some(',') => Err(parser.fail("one requirement is expected here, found `,`")),
        Some(_) => Err(parser.fail_expecting("the end")),
    }
}

/// Reads requirements that are separated by commas. An empty text is a selector without requirements.
pub(super) fn selector(text: &str) -> Result<Selector, ParseSelectorError> {
    let mut parser = Parser::new(text)?;
    let mut requirements = Vec::new();
    if parser.peek().is_none() {
        return Ok(Selector::from_iter(requirements));
    }
    loop {
        if requirements.len() >= Selector::MAX_REQUIREMENTS {
            return Err(parser.fail("too many requirements"));
        }
        requirements.push(parser.requirement()?);
        match parser.peek() {
            None => return Ok(Selector::from_iter(requirements)),
            Some(',') => parser.advance(),
            Some(_) => return Err(parser.fail_expecting("`,` or the end")),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, ParseSelectorError> {
        if text.len() > Selector::MAX_BYTES {
            let message = format!("longer than {} bytes", Selector::MAX_BYTES);
            return Err(ParseSelectorError {
                text: super::excerpt(text),
                position: 1,
                message,
            });
        }
        Ok(Self { text, rest: text })
    }

    fn requirement(&mut self) -> Result<Requirement, ParseSelectorError> {
        if self.take('!') {
            return Ok(Requirement {
                key: self.key()?,
                operator: Operator::Missing,
                by_project: false,
            });
        }
        let key = self.key()?;
        let operator = match self.peek() {
            None | Some(',') => Operator::Exists,
            Some('=') => {
                self.advance();
                // Directly after it only: `a= =b` is a mistake.
                if self.rest.starts_with('=') {
                    self.advance();
                }
                Operator::In(vec![self.value()?])
            }
            Some('!') => {
                self.advance();
                if !self.rest.starts_with('=') {
                    return Err(self.fail("expected `=` after `!`"));
                }
                self.advance();
                Operator::NotIn(vec![self.value()?])
            }
            Some('>') => {
                self.advance();
                Operator::Above(self.number()?)
            }
            Some('<') => {
                self.advance();
                Operator::Below(self.number()?)
            }
            Some(_) => self.set_operator()?,
        };
        Ok(Requirement {
            key,
            operator,
            by_project: false,
        })
    }

    fn set_operator(&mut self) -> Result<Operator, ParseSelectorError> {
        let start = self.rest;
        match self.word() {
            "in" => Ok(Operator::In(self.values()?)),
            "notin" => Ok(Operator::NotIn(self.values()?)),
            _ => {
                self.rest = start;
                Err(self.fail_expecting("an operator (`=`, `==`, `!=`, `in`, `notin`, `>`, `<`)"))
            }
        }
    }

    fn key(&mut self) -> Result<String, ParseSelectorError> {
        self.skip_space();
        let start = self.rest;
        let length = self.run(|character| grammar::is_name_character(character) || character == '/');
        let key = &start[..length];
        if key.is_empty() {
            return Err(self.fail_expecting("a label's key"));
        }
        if !grammar::is_key(key) {
            self.rest = start;
            return Err(self.fail(&format!(
                "`{}` is not a label's key ({})",
                super::excerpt(key),
                grammar::KEY_RULE
            )));
        }
        Ok(key.to_owned())
    }

    /// A value, which may be empty.
    fn value(&mut self) -> Result<String, ParseSelectorError> {
        self.skip_space();
        let start = self.rest;
        let value = self.word();
        if !grammar::is_value(value) {
            self.rest = start;
            let value = super::excerpt(value);
            return Err(self.fail(&format!("`{value}` is not a label's value ({})", grammar::VALUE_RULE)));
        }
        Ok(value.to_owned())
    }

    /// `(eu, us)`: at least one value, none of them empty.
    fn values(&mut self) -> Result<Vec<String>, ParseSelectorError> {
        if !self.take('(') {
            return Err(self.fail_expecting("`(`"));
        }
        let mut values = Vec::new();
        loop {
            let value = self.value()?;
            if value.is_empty() {
                return Err(self.fail_expecting("a value"));
            }
            values.push(value);
            match self.peek() {
                Some(',') => self.advance(),
                Some(')') => {
                    self.advance();
                    return Ok(values);
                }
                _ => return Err(self.fail_expecting("`,` or `)`")),
            }
        }
    }

    fn number(&mut self) -> Result<i64, ParseSelectorError> {
        self.skip_space();
        let start = self.rest;
        match self.word().parse() {
            Ok(number) => Ok(number),
            Err(_) => {
                self.rest = start;
                Err(self.fail_expecting("a whole number"))
            }
        }
    }

    /// The run of name characters that begins here.
    fn word(&mut self) -> &'a str {
        let start = self.rest;
        let length = self.run(grammar::is_name_character);
        &start[..length]
    }

    /// Passes over the characters that are `accepted`, and says how many bytes they have.
    fn run(&mut self, accepted: impl Fn(char) -> bool) -> usize {
        let length = self
            .rest
            .find(|character| !accepted(character))
            .unwrap_or(self.rest.len());
        self.rest = &self.rest[length..];
        length
    }

    fn take(&mut self, character: char) -> bool {
        let found = self.peek() == Some(character);
        if found {
            self.advance();
        }
        found
    }

    /// The next character that is not space.
    fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.rest.chars().next()
    }

    fn advance(&mut self) {
        let mut characters = self.rest.chars();
        characters.next();
        self.rest = characters.as_str();
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn fail_expecting(&mut self, what: &str) -> ParseSelectorError {
        let found = match self.peek() {
            Some(character) => format!("`{}`", character.escape_debug()),
            None => "the end".to_owned(),
        };
        self.fail(&format!("expected {what}, found {found}"))
    }

    fn fail(&self, message: &str) -> ParseSelectorError {
        let read = &self.text[..self.text.len() - self.rest.len()];
        let position = read.chars().count() + 1;
        ParseSelectorError {
            text: super::excerpt(self.text),
            position,
            message: message.to_owned(),
        }
    }
}
