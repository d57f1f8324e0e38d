//! A line that is put together from left to right as long as there is room.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::cli::top::text;

/// Columns of the names of figures at the left side.
pub(super) const LABEL: usize = 9;

/// Pieces of text for one row, no wider than it.
pub(super) struct Pieces<'a> {
    spans: Vec<Span<'a>>,
    left: usize,
}

impl<'a> Pieces<'a> {
    /// Nothing yet, for so many columns.
    pub(super) fn new(columns: impl Into<usize>) -> Pieces<'a> {
        Pieces { spans: Vec::new(), left: columns.into() }
    }

    /// Columns that are left.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Adds a piece where it fits as a whole, and says whether it does.
    pub(super) fn add(&mut self, text: impl Into<String>, style: impl Into<Style>) -> bool {
        let text = text.into();
        let Some(left) = self.left.checked_sub(text::width(&text)) else { return false };
        self.left = left;
        self.spans.push(Span::styled(text, style));
        true
    }

    /// Adds as much of a piece as fits.
    pub(super) fn add_cut(&mut self, text: &str, utf8: bool, style: impl Into<Style>) {
        let cut = text::cut(text, self.left, utf8);
        self.add(cut, style);
    }

    /// Writes them into a row.
    pub(super) fn put(self, buffer: &mut Buffer, x: u16, y: u16) {
        let line = Line::from(self.spans);
        buffer.set_line(x, y, &line, u16::try_from(line.width()).unwrap_or(u16::MAX));
    }

    /// Writes them into the first row of an area, if it has one.
    pub(super) fn put_in(self, buffer: &mut Buffer, area: Rect) {
        if area.height > 0 {
            self.put(buffer, area.x, area.y);
        }
    }
}
