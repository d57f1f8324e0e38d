//! What keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::look::Ask;
use super::model::{Model, Note, TopMode};
use super::query::{SortedBy, TypedFilter};
use super::seen::SessionSeen;
use crate::limits;

/// Every key and what it does, as the page of help says it.
pub(super) const HELP: [(&str, &str); 18] = [
    ("Up Down", "choose a session"),
    ("PgUp PgDn Home End", "choose one that is further away"),
    ("s", "sort by the next column"),
    ("S", "sort the other way round"),
    ("/", "show only some sessions: user=ann target=*.example.com"),
    ("", "user source target command state worker min_age max_age"),
    ("", "min_bytes max_bytes min_rate; none shows all again"),
    ("k", "end the chosen session, once y has confirmed it"),
    ("t", "the next of top users, sources and targets"),
    ("b", "rank them by bytes or by sessions"),
    ("p", "pause, and go on"),
    ("r", "look now"),
    ("q Ctrl-C", "quit"),
    ("Esc", "leave what is open"),
    ("", ""),
    ("workers", "sessions, and how long ready sockets waited (p99)"),
    ("latency, top", "of the last minute"),
    ("refused, failed", "since the start; +1/s: so many a second now"),
];

/// What a key does beyond the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Ends the program.
    Quit,
    /// Stops it, as Ctrl-Z does with any program.
    Stop,
    /// Asks the endpoint.
    Ask(Ask),
}

/// Takes a key.
pub(super) fn press(model: &mut Model, key: KeyEvent) -> Option<Deed> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Deed::Quit),
            KeyCode::Char('z') => Some(Deed::Stop),
            KeyCode::Char('u') if matches!(model.mode, TopMode::Typing(_)) => {
                model.mode = TopMode::Typing(String::new());
                None
            }
            _ => None,
        };
    }
    model.note = None;
    match std::mem::replace(&mut model.mode, TopMode::Table) {
        TopMode::Table => in_table(model, key.code),
        TopMode::Typing(line) => typing(model, line, key.code),
        TopMode::Asked(session) => asked(model, session, key.code),
        TopMode::Help => {
            let closes = matches!(key.code, KeyCode::Esc | KeyCode::Enter | KeyCode::Char('?' | 'q' | ' '));
            model.mode = if closes { TopMode::Table } else { TopMode::Help };
            None
        }
    }
}

/// Takes text that was pasted: a filter is the only thing that it can be meant for, keys it is none.
pub(super) fn paste(model: &mut Model, text: &str) {
    if let TopMode::Typing(line) = &mut model.mode {
        text.chars().for_each(|c| type_in(line, c));
    }
}

fn in_table(model: &mut Model, key: KeyCode) -> Option<Deed> {
    let page = model.page_rows().cast_signed();
    match key {
        KeyCode::Char('q') => return Some(Deed::Quit),
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => model.mode = TopMode::Help,
        KeyCode::Char('/') => model.mode = TopMode::Typing(model.listing.filter.text().to_owned()),
        KeyCode::Char('s') => sort(model, model.listing.sorted_by.next()),
        KeyCode::Char('S') => {
            model.listing.descending = !model.listing.descending;
            model.back_to_top();
        }
        KeyCode::Up => model.move_by(-1),
        KeyCode::Down => model.move_by(1),
        KeyCode::PageUp => model.move_by(-page),
        KeyCode::PageDown => model.move_by(page),
        KeyCode::Home => model.move_to(0),
        KeyCode::End => model.move_to(usize::MAX),
        KeyCode::Char('k') | KeyCode::Delete => ask_whether_to_end(model),
        KeyCode::Char('t') => model.talker_kind = model.talker_kind.next(),
        KeyCode::Char('b') => {
            model.ranked_by = model.ranked_by.other();
            return Some(Deed::Ask(Ask::Rank(model.ranked_by)));
        }
        KeyCode::Char('p') | KeyCode::Char(' ') => {
            model.paused = !model.paused;
            return Some(Deed::Ask(Ask::Pause(model.paused)));
        }
        KeyCode::Char('r') => return Some(Deed::Ask(Ask::Everything)),
        _ => {}
    }
    None
}

fn sort(model: &mut Model, by: SortedBy) {
    (model.listing.sorted_by, model.listing.descending) = (by, by.descends());
    model.back_to_top();
}

fn ask_whether_to_end(model: &mut Model) {
    match model.selected() {
        Some(session) => model.mode = TopMode::Asked(Box::new(session.clone())),
        None => model.note = Some(Note { words: "no session is chosen".to_owned(), bad: true }),
    }
}

/// Only y ends a session; a key that does something else elsewhere does nothing here.
fn asked(model: &mut Model, session: Box<SessionSeen>, key: KeyCode) -> Option<Deed> {
    match key {
        KeyCode::Char('y' | 'Y') => return Some(Deed::Ask(Ask::End(session.id))),
        KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => {}
        _ => model.mode = TopMode::Asked(session),
    }
    None
}

fn typing(model: &mut Model, mut line: String, key: KeyCode) -> Option<Deed> {
    match key {
        KeyCode::Esc => return None,
        KeyCode::Enter => match TypedFilter::parse(&line) {
            Ok(filter) => {
                if filter != model.listing.filter {
                    model.listing.filter = filter;
                    model.back_to_top();
                }
                return None;
            }
            Err(words) => model.note = Some(Note { words, bad: true }),
        },
        KeyCode::Backspace => _ = line.pop(),
        KeyCode::Char(c) => type_in(&mut line, c),
        _ => {}
    }
    model.mode = TopMode::Typing(line);
    None
}

fn type_in(line: &mut String, c: char) {
    if !c.is_control() && line.chars().count() < limits::TOP_FILTER_CHARS_MAX {
        line.push(c);
    }
}

#[cfg(test)]
mod tests;
