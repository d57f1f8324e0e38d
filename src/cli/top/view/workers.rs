//! How the sessions are spread over the workers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::line::{LABEL, Pieces};
use crate::cli::top::model::Model;
use crate::cli::top::seen::WorkerSeen;
use crate::cli::top::text;
use crate::cli::top::theme::Theme;
use crate::cli::units::grouped;

/// Columns of a worker at the least: number, bar, sessions, delay, and one to the next.
const CELL: usize = 3 + BAR_LEAST + 7 + 1 + 6 + 1;
const BAR_LEAST: usize = 4;
const BAR_MOST: usize = 20;

fn cells_in_row(columns: u16) -> usize {
    (usize::from(columns).saturating_sub(LABEL) / CELL).max(1)
}

/// How many rows all workers fill.
pub(super) fn rows(model: &Model, columns: u16) -> u16 {
    u16::try_from(model.stats.workers.len().div_ceil(cells_in_row(columns))).unwrap_or(u16::MAX).max(1)
}

/// The workers, each with its sessions and how long ready sockets waited for it; where they are too many, first what they
/// are together.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    if area.height == 0 {
        return;
    }
    let workers = &model.stats.workers;
    let mut label = Pieces::new(LABEL);
    label.add(text::left("workers", LABEL, theme.utf8), theme.label());
    label.put_in(buffer, area);
    let area = Rect { x: area.x + LABEL as u16, width: area.width.saturating_sub(LABEL as u16), ..area };
    let in_row = cells_in_row(area.width + LABEL as u16);
    let together = workers.len() > in_row * usize::from(area.height);
    let mut rows = area.rows();
    if together && let Some(row) = rows.next() {
        all_together(workers, row.width, theme).put_in(buffer, row);
    }
    let most = workers.iter().map(WorkerSeen::sessions).max().unwrap_or_default();
    let cell_columns = usize::from(area.width) / in_row.min(workers.len()).max(1);
    let bar = (BAR_LEAST + cell_columns.saturating_sub(CELL)).min(BAR_MOST);
    for (row, cells) in rows.zip(workers.chunks(in_row)) {
        let mut line = Pieces::new(row.width);
        for worker in cells {
            cell(&mut line, worker, (most, bar), theme);
        }
        line.put_in(buffer, row);
    }
}

/// One worker, with a bar of so many columns that is full where there are so many sessions.
fn cell(line: &mut Pieces<'_>, worker: &WorkerSeen, (most, bar): (u64, usize), theme: Theme) {
    let sessions = worker.sessions();
    let part = if most > 0 { sessions as f64 / most as f64 } else { 0.0 };
    line.add(text::left(&worker.number.to_string(), 3, theme.utf8), Style::new());
    line.add(text::left(&theme.bar(part, bar), bar, theme.utf8), theme.curve());
    line.add(text::right(&grouped(sessions), 7, theme.utf8), theme.strong());
    line.add(" ", Style::new());
    if worker.stalled == Some(true) {
        line.add("stands", theme.bad());
    } else {
        let delay = worker.delay_p99().map_or_else(|| "-".to_owned(), text::millis);
        line.add(text::right(&delay, 6, theme.utf8), Style::new());
    }
    line.add(" ", Style::new());
}

fn all_together<'a>(workers: &[WorkerSeen], columns: u16, theme: Theme) -> Pieces<'a> {
    let sessions = || workers.iter().map(WorkerSeen::sessions);
    let (least, most) = (sessions().min().unwrap_or_default(), sessions().max().unwrap_or_default());
    let slowest = workers.iter().filter_map(|worker| Some((worker.delay_p99()?, worker.number)));
    let slowest = slowest.max_by(|one, other| one.0.total_cmp(&other.0));
    let stalled = workers.iter().filter(|worker| worker.stalled == Some(true)).count();
    let mut line = Pieces::new(columns);
    line.add(format!("{} with ", workers.len()), Style::new());
    line.add(format!("{} to {}", grouped(least), grouped(most)), theme.strong());
    line.add(" sessions", Style::new());
    if stalled > 0 {
        line.add("  ", Style::new());
        line.add(format!(" {stalled} stand still "), theme.bad());
    }
    if let Some((delay, number)) = slowest {
        line.add(format!("  delay p99 to {}", text::millis(delay)), Style::new());
        line.add(format!(" (worker {number})"), Style::new());
    }
    line
}
