//! Columns of text, aligned by the width that a terminal gives them.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between two columns.
const GAP: &str = "  ";
/// Columns of a cell that is cut: what is left must still tell cells apart.
const LEAST_CUT: usize = 10;
/// Stands for what was cut off.
const CUT: char = '…';

/// Which side of its column a cell stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A column with its title, and what becomes of it where the table is wider than the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    title: &'static str,
    align: Align,
    /// Whether its cells may be cut.
    cut: bool,
    /// When it is left out: those with the greatest number first, those with 0 never.
    spare: u8,
}

impl Column {
    /// One that keeps its width.
    pub(super) const fn new(title: &'static str, align: Align) -> Column {
        Column { title, align, cut: false, spare: 0 }
    }

    /// Lets its cells be cut.
    pub(super) const fn cut(self) -> Column {
        Column { cut: true, ..self }
    }

    /// Lets it be left out, after those with a greater number.
    pub(super) const fn spare(self, spare: u8) -> Column {
        Column { spare, ..self }
    }
}

/// A table that is being filled. Its cells are fit for a terminal already (see `text::visible`).
#[derive(Clone, Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One with a row of titles.
    pub(super) fn titled(columns: &[Column]) -> Table {
        let titles = columns.iter().map(|column| column.title.to_owned()).collect();
        Table { columns: columns.to_vec(), rows: vec![titles] }
    }

    /// One without.
    pub(super) fn bare(aligned: &[Align]) -> Table {
        Table { columns: aligned.iter().map(|align| Column::new("", *align)).collect(), rows: Vec::new() }
    }

    /// Adds a row with as many cells as there are columns.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// The lines, each with its line feed, no wider than this if that can be had. No line ends in blanks.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let mut lines = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, column), width) in row.iter().zip(&self.columns).zip(&widths) {
                let Some(width) = *width else { continue };
                let cell = cut(cell, width);
                let blanks = " ".repeat(width.saturating_sub(cell.width()));
                let (before, behind) = match column.align {
                    Align::Left => ("", blanks.as_str()),
                    Align::Right => (blanks.as_str(), ""),
                };
                line.extend([before, &cell, behind, GAP]);
            }
            lines.extend([line.trim_end(), "\n"]);
        }
        lines
    }

    /// How wide each column is, if it is shown: as its widest cell, or less where it may be cut and has to be.
    fn widths(&self, most: Option<usize>) -> Vec<Option<usize>> {
        let widest = |at: usize| self.rows.iter().map(|row| row[at].width()).max();
        let mut widths: Vec<Option<usize>> = (0..self.columns.len()).map(widest).collect();
        let Some(most) = most else { return widths };
        let all = |widths: &[Option<usize>]| {
            let shown: Vec<usize> = widths.iter().flatten().copied().collect();
            shown.iter().sum::<usize>() + GAP.len() * shown.len().saturating_sub(1)
        };
        // What can be read in one place is worth more than what can be read of it: first a column, then its cells.
        while all(&widths) > most {
            let spare = |at: &usize| widths[*at].is_some() && self.columns[*at].spare > 0;
            let Some(at) = (0..widths.len()).filter(spare).max_by_key(|&at| self.columns[at].spare) else {
                break;
            };
            widths[at] = None;
        }
        while all(&widths) > most {
            let may_be_cut = |at: &usize| self.columns[*at].cut && widths[*at] > Some(LEAST_CUT);
            let Some(at) = (0..widths.len()).filter(may_be_cut).max_by_key(|&at| widths[at]) else { break };
            widths[at] = widths[at].map(|width| width - 1);
        }
        widths
    }
}

/// How wide the terminal is that this is printed to, if it is one.
pub(super) fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0))
}

/// The text in so many columns, with a mark where some of it is missing.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 1);
    for c in text.chars() {
        used += c.width().unwrap_or_default();
        if used > width {
            break;
        }
        kept.push(c);
    }
    kept.push(CUT);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::titled(&[
            Column::new("ID", Align::Left),
            Column::new("TARGET", Align::Left).cut(),
            Column::new("BYTES", Align::Right),
        ]);
        table.row(["a".into(), "example.com:443".into(), "1 kB".into()]);
        table.row(["bcd".into(), "山田.example.net:80".into(), "12.5 MB".into()]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let expected = "ID   TARGET                 BYTES\n\
                        a    example.com:443         1 kB\n\
                        bcd  山田.example.net:80  12.5 MB\n";
        assert_eq!(sample().render(None), expected);
        assert_eq!(sample().render(Some(33)), expected);
    }

    #[test]
    fn a_table_that_is_too_wide_is_cut_where_it_may_be() {
        let expected = "ID   TARGET        BYTES\n\
                        a    example.c…     1 kB\n\
                        bcd  山田.exam…  12.5 MB\n";
        assert_eq!(sample().render(Some(24)), expected);
        assert_eq!(sample().render(Some(1)), expected, "and no further");
    }

    #[test]
    fn columns_that_can_be_spared_go_before_any_is_cut() {
        let mut table = Table::titled(&[
            Column::new("A", Align::Left).spare(1),
            Column::new("B", Align::Left).spare(2),
            Column::new("C", Align::Left).cut(),
        ]);
        table.row(["1".into(), "2".into(), "a text of 20 letters".into()]);
        assert_eq!(table.render(Some(26)), "A  B  C\n1  2  a text of 20 letters\n");
        assert_eq!(table.render(Some(25)), "A  C\n1  a text of 20 letters\n");
        assert_eq!(table.render(Some(22)), "C\na text of 20 letters\n");
        assert_eq!(table.render(Some(12)), "C\na text of 2…\n");
    }

    #[test]
    fn a_wide_character_that_would_be_halved_is_left_out() {
        assert_eq!(cut("a山田", 4), "a山…");
        assert_eq!(cut("a山田", 3), "a…");
        assert_eq!(cut("a山田", 5), "a山田");
        assert_eq!(cut("abc", 0), "…");
    }

    #[test]
    fn no_line_ends_in_blanks() {
        let mut table = Table::bare(&[Align::Left, Align::Left]);
        table.row(["a".into(), String::new()]);
        table.row(["abc".into(), "d".into()]);
        assert_eq!(table.render(None), "a\nabc  d\n");
    }
}
