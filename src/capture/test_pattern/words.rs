//! The lines of text that change from picture to picture, at their ends: what stands there already is not drawn again.

use super::layout::{Line, even};
use crate::process::canvas::{Canvas, Rect};
use crate::process::text::{Face, advance};

/// A line of text.
pub(super) struct Words {
    line: Line,
    face: Face,
    luma: u8,
}

/// A text, and the first of its columns that must be drawn.
pub(super) struct Change {
    text: String,
    pub(super) column: usize,
}

impl Words {
    /// Letters of `alphabet` in the grey `luma`.
    pub(super) fn new(line: Line, alphabet: &str, luma: u8) -> Self {
        Self { line, face: Face::new(line.letter, alphabet), luma }
    }

    /// Where everything from `column`, which is even, stands.
    pub(super) fn rect(&self, column: usize) -> Rect {
        let rect = self.line.rect();
        let skipped = (column * advance(self.line.letter)).min(rect.width);
        Rect { x: rect.x + skipped, width: rect.width - skipped, ..rect }
    }

    /// What must be drawn for `text` to stand where `before` does, if that is whole.
    pub(super) fn change(&self, before: Option<String>, mut text: String) -> Change {
        text.truncate(self.line.columns);
        let same = |before: String| before.bytes().zip(text.bytes()).take_while(|(one, other)| one == other).count();
        let column = even(before.map_or(0, same));
        Change { text, column }
    }

    /// Draws the change on the backdrop.
    pub(super) fn draw(&self, canvas: &mut Canvas<'_>, Change { text, column }: &Change) {
        let at = (self.rect(*column).x, self.line.y);
        self.face.draw(canvas, at, text.get(*column..).unwrap_or_default(), self.luma);
    }
}

/// `12:34:56.789`, in UTC.
pub(super) fn time_of_day(unix_ms: u64) -> String {
    let (seconds, millis) = (unix_ms / 1000 % 86_400, unix_ms % 1000);
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `UTC  frame 1234`.
pub(super) fn count(number: u64) -> String {
    format!("UTC  frame {number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_that_changes_is_drawn() {
        let words = Words::new(Line { x: 10, y: 0, letter: 16, columns: 12 }, "0123456789:.", 235);
        let change = |before: &str, text: &str| words.change(Some(before.to_owned()), text.to_owned()).column;
        assert_eq!(change("12:34:56.789", "12:34:56.822"), 8);
        assert_eq!(change("12:34:56.789", "12:34:56.789"), 12);
        assert_eq!(change("99", "100"), 0);
        assert_eq!(words.change(None, "1".to_owned()).column, 0);
        assert_eq!(words.rect(8), Rect { x: 10 + 8 * 12, y: 0, width: 4 * 12, height: 16 });
    }

    #[test]
    fn the_time_of_day_is_utc() {
        assert_eq!(time_of_day(0), "00:00:00.000");
        assert_eq!(time_of_day(1_760_000_000_123), "08:53:20.123");
    }
}
