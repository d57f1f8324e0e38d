//! The last line, and what covers the rest.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::symbols::border;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Widget, Wrap};

use super::line::Pieces;
use crate::cli::top::keys::HELP;
use crate::cli::top::model::{Model, TopMode};
use crate::cli::top::seen::SessionSeen;
use crate::cli::top::text;
use crate::cli::top::theme::Theme;
use crate::limits;

/// Says that there is no room.
pub(super) fn too_small(buffer: &mut Buffer, area: Rect) {
    let (columns, rows) = limits::TOP_SIZE_MIN;
    let words = format!("outflow top needs {columns}x{rows}, this is {}x{}", area.width, area.height);
    Paragraph::new(words).wrap(Wrap { trim: true }).render(area, buffer);
}

/// The last line: what is asked or typed, what came of it, or the keys. Gives where the cursor stands, if it does.
pub(super) fn foot(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) -> Option<Position> {
    let mut line = Pieces::new(area.width);
    match (&model.mode, &model.note) {
        (TopMode::Typing(typed), _) => return Some(prompt(buffer, area, typed, theme)),
        (TopMode::Asked(session), _) => {
            let tail = " ends it, Esc does not";
            let room = line.left().saturating_sub(tail.len() + 1);
            let words =
                text::cut(&format!("End {}?", whom(session, theme)), room.saturating_sub(1), theme.utf8);
            line.add(words + " ", theme.warning());
            line.add("y", theme.warning());
            line.add(tail, theme.warning());
        }
        (_, Some(note)) => {
            let style = if note.bad { theme.bad() } else { theme.good() };
            line.add_cut(&text::name(&note.words, theme.utf8), theme.utf8, style);
        }
        (TopMode::Help | TopMode::Table, None) => keys(&mut line, model, theme),
    }
    line.put_in(buffer, area);
    None
}

/// Whose session it is, and where it leads.
fn whom(session: &SessionSeen, theme: Theme) -> String {
    let shown = |text: &Option<String>| text.as_deref().map(|text| text::name(text, theme.utf8));
    let mut whom = "the session".to_owned();
    for (word, text) in [("of", &session.user), ("from", &session.client), ("to", &session.target)] {
        if let Some(text) = shown(text) {
            whom.extend([" ", word, " ", &text]);
        }
    }
    whom
}

fn keys(line: &mut Pieces<'_>, model: &Model, theme: Theme) {
    let kind = model.talker_kind.next().word();
    let other = model.ranked_by.other().word();
    let pause = if model.paused { "go on" } else { "pause" };
    let keys = [
        ("q", "quit"),
        ("?", "help"),
        ("s", "sort"),
        ("S", "reverse"),
        ("/", "filter"),
        ("k", "end"),
        ("p", pause),
        ("t", kind),
        ("b", other),
        ("r", "look now"),
    ];
    for (key, does) in keys {
        if key.len() + does.len() + 3 > line.left() {
            break;
        }
        line.add(key, theme.strong());
        line.add(format!(" {does}  "), Style::new());
    }
}

/// The line in which a filter is typed; of a long one the end.
fn prompt(buffer: &mut Buffer, area: Rect, typed: &str, theme: Theme) -> Position {
    let mut line = Pieces::new(area.width);
    line.add("show only ", theme.label());
    let mut shown = text::name(typed, theme.utf8);
    while text::width(&shown) >= line.left() {
        shown.remove(0);
    }
    line.add(shown, theme.strong());
    let x = area.right().saturating_sub(u16::try_from(line.left()).unwrap_or(area.width));
    if typed.is_empty() {
        line.add_cut("   such as user=ann target=*.example.com min_age=5m", theme.utf8, theme.stale());
    }
    line.put_in(buffer, area);
    Position { x: x.min(area.right().saturating_sub(1)), y: area.y }
}

/// The page of keys.
pub(super) fn help(buffer: &mut Buffer, area: Rect, theme: Theme) {
    const ASCII: border::Set<'_> = border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "-",
        horizontal_bottom: "-",
    };
    let keys = HELP.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let lines: Vec<Line<'_>> =
        HELP.iter().map(|(key, does)| Line::from(format!(" {key:keys$}  {does} "))).collect();
    let width = lines.iter().map(Line::width).max().unwrap_or_default() + 2;
    let size = (u16::try_from(width).unwrap_or(u16::MAX), u16::try_from(lines.len() + 2).unwrap_or(u16::MAX));
    let (width, height) = (size.0.min(area.width), size.1.min(area.height));
    let (x, y) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
    let page = Rect { x, y, width, height };
    Clear.render(page, buffer);
    let set = if theme.utf8 { border::PLAIN } else { ASCII };
    let block = Block::bordered().border_set(set).title(" keys ");
    Paragraph::new(lines).block(block).render(page, buffer);
}
