use crate::fault::Position;

/// Turns offsets into lines and columns. Offsets are asked for in ascending order, so that a whole file takes linear time,
/// even if it is one line.
pub(crate) struct Tracker<'a> {
    text: &'a str,
    offset: usize,
    position: Position,
}

impl<'a> Tracker<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            offset: 0,
            position: Position::START,
        }
    }

    /// The position of the byte at `offset`, which is at a character's beginning and not before the last one asked for.
    pub(crate) fn at(&mut self, offset: usize) -> Position {
        for character in self.text[self.offset..offset].chars() {
            if character == '\n' {
                self.position = Position {
                    line: self.position.line + 1,
                    column: 1,
                };
            } else {
                self.position.column += 1;
            }
        }
        self.offset = offset;
        self.position
    }
}
