//! Draws the model. Nothing is decided here but what fits.

mod head;
mod line;
mod over;
mod panels;
mod plan;
mod table;
mod workers;

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::Rect;

use super::model::{Model, TopMode};
use super::theme::Theme;
use crate::limits;
use plan::{Plan, PolicyRows};

/// Draws everything; the model is told how many sessions have a row.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model, theme: Theme, now: Instant) {
    let area = frame.area();
    let (columns, rows) = limits::TOP_SIZE_MIN;
    if area.width < columns || area.height < rows {
        return over::too_small(frame.buffer_mut(), area);
    }
    let stats = &model.stats;
    let policy = PolicyRows {
        rules: !stats.rules.is_empty(),
        limits: !stats.limits.is_empty(),
        pools: !stats.egress.is_empty(),
        parents: !stats.parents.is_empty(),
    };
    let plan = Plan::of(area, workers::rows(model, area.width), policy);
    model.set_rows(usize::from(plan.table.height.saturating_sub(1)));
    let buffer = frame.buffer_mut();
    head::meters(buffer, plan.meters, model, theme);
    head::datagrams(buffer, plan.datagrams, model, theme);
    workers::draw(buffer, plan.workers, model, theme);
    panels::latencies(buffer, plan.latencies, model, theme);
    panels::causes(buffer, [plan.refused, plan.failed, plan.dropped], model, theme);
    panels::rules(buffer, plan.rules, model, theme);
    panels::limits(buffer, plan.limits, model, theme);
    panels::pools(buffer, plan.pools, model, theme);
    panels::parents(buffer, plan.parents, model, theme);
    panels::talkers(buffer, plan.talkers, model, theme);
    table::caption(buffer, plan.caption, model, theme);
    table::sessions(buffer, plan.table, model, theme);
    if model.gone.is_some() {
        // The last line is not of the server.
        let figures = Rect { height: area.height - plan.foot.height, ..area };
        buffer.set_style(figures, theme.stale());
    }
    head::title(buffer, plan.title, model, theme, now);
    let cursor = over::foot(buffer, plan.foot, model, theme);
    if matches!(model.mode, TopMode::Help) {
        over::help(buffer, area, theme);
    }
    if let Some(cursor) = cursor {
        frame.set_cursor_position(cursor);
    }
}

#[cfg(test)]
mod tests;
