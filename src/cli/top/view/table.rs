//! The sessions.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::line::Pieces;
use crate::cli::top::model::{Model, TopMode};
use crate::cli::top::query::SortedBy;
use crate::cli::top::seen::SessionSeen;
use crate::cli::top::text;
use crate::cli::top::theme::Theme;
use crate::cli::units::{byte_rate, bytes, grouped};

/// A column of the table.
struct SessionColumn {
    head: &'static str,
    /// How wide it is; 0 for what the others leave.
    columns: usize,
    to_the_right: bool,
    /// From which width of the screen on it is there, and up to which.
    from: u16,
    below: u16,
    sorted_by: Option<SortedBy>,
    text: fn(&SessionSeen) -> String,
}

const PLAIN: SessionColumn = SessionColumn {
    head: "",
    columns: 0,
    to_the_right: false,
    from: 0,
    below: u16::MAX,
    sorted_by: None,
    text: |_| String::new(),
};

const COLUMNS: [SessionColumn; 18] = [
    SessionColumn {
        head: "AGE",
        columns: 6,
        to_the_right: true,
        sorted_by: Some(SortedBy::Age),
        text: |session| session.age_ms.map_or_else(unknown, |ms| text::seconds((ms / 1000.0) as u64)),
        ..PLAIN
    },
    SessionColumn { head: "ID", columns: 20, from: 190, text: |session| session.id.clone(), ..PLAIN },
    SessionColumn { head: "USER", columns: 8, from: 56, below: 110, ..USER },
    SessionColumn { head: "USER", columns: 16, from: 110, ..USER },
    SessionColumn {
        head: "CLIENT",
        columns: 15,
        from: 72,
        below: 100,
        text: |session| host(&session.client),
        ..CLIENT
    },
    SessionColumn { head: "CLIENT", columns: 21, from: 100, ..CLIENT },
    SessionColumn {
        head: "TARGET",
        sorted_by: Some(SortedBy::Target),
        text: |session| words(&session.target),
        ..PLAIN
    },
    SessionColumn {
        head: "ADDRESS",
        columns: 21,
        from: 160,
        text: |session| words(&session.address),
        ..PLAIN
    },
    SessionColumn {
        head: "STATE",
        columns: 6,
        from: 80,
        sorted_by: Some(SortedBy::State),
        text: |session| state(session),
        ..PLAIN
    },
    SessionColumn { head: "RULE", columns: 14, from: 210, text: |session| words(&session.rule), ..PLAIN },
    SessionColumn { head: "ENGINE", columns: 6, from: 150, text: |session| words(&session.engine), ..PLAIN },
    SessionColumn {
        head: "RATE",
        columns: 9,
        to_the_right: true,
        below: 110,
        sorted_by: Some(SortedBy::Rate),
        text: |session| number(both(session.rate_up, session.rate_down), byte_rate),
        ..PLAIN
    },
    SessionColumn { head: "UP/S", columns: 9, text: |session| number(session.rate_up, byte_rate), ..RATE },
    SessionColumn {
        head: "DOWN/S",
        columns: 9,
        text: |session| number(session.rate_down, byte_rate),
        ..RATE
    },
    SessionColumn {
        head: "BYTES",
        columns: 7,
        to_the_right: true,
        from: 64,
        below: 110,
        sorted_by: Some(SortedBy::Bytes),
        text: |session| number(both(session.bytes_up, session.bytes_down), bytes),
    },
    SessionColumn {
        head: "UP",
        sorted_by: Some(SortedBy::BytesUp),
        text: |session| number(session.bytes_up, bytes),
        ..RATE
    },
    SessionColumn {
        head: "DOWN",
        sorted_by: Some(SortedBy::BytesDown),
        text: |session| number(session.bytes_down, bytes),
        ..RATE
    },
    SessionColumn {
        head: "IDLE",
        columns: 6,
        to_the_right: true,
        from: 130,
        text: |session| session.idle_ms.map_or_else(unknown, |ms| text::seconds((ms / 1000.0) as u64)),
        ..PLAIN
    },
];

const USER: SessionColumn =
    SessionColumn { sorted_by: Some(SortedBy::User), text: |session| words(&session.user), ..PLAIN };
const CLIENT: SessionColumn =
    SessionColumn { sorted_by: Some(SortedBy::Client), text: |session| words(&session.client), ..PLAIN };
const RATE: SessionColumn = SessionColumn { columns: 7, to_the_right: true, from: 110, ..PLAIN };

fn unknown() -> String {
    "-".to_owned()
}

fn words(text: &Option<String>) -> String {
    text.clone().unwrap_or_else(unknown)
}

/// An address without its port, which would be cut to another one.
fn host(client: &Option<String>) -> String {
    let client = words(client);
    let host = client.rsplit_once(':').map_or(client.as_str(), |(host, _)| host);
    host.trim_matches(['[', ']']).to_owned()
}

fn number(number: Option<f64>, shown: fn(f64) -> String) -> String {
    number.map_or_else(unknown, shown)
}

fn both(up: Option<f64>, down: Option<f64>) -> Option<f64> {
    match (up, down) {
        (None, None) => None,
        (up, down) => Some(up.unwrap_or_default() + down.unwrap_or_default()),
    }
}

/// The state in six letters.
fn state(session: &SessionSeen) -> String {
    let short = match session.state.as_deref() {
        Some("handshake") => "hello",
        Some("connecting") => "dials",
        Some("relaying") => "relays",
        Some("associated") => "udp",
        Some("lingering") => "ends",
        Some(other) => other,
        None => "-",
    };
    short.to_owned()
}

/// How many sessions there are, which rows are shown, and how they were chosen.
pub(super) fn caption(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let mut line = Pieces::new(area.width);
    if let (TopMode::Typing(_), Some(note)) = (&model.mode, &model.note) {
        line.add_cut(&text::name(&note.words, theme.utf8), theme.utf8, theme.bad());
        return line.put_in(buffer, area);
    }
    let (sessions, shown) = (&model.sessions, model.shown());
    let count = |number: usize| grouped(number as u64);
    let filter = model.listing.filter.text();
    if filter.is_empty() {
        line.add(format!("{} sessions", count(sessions.total)), theme.strong());
    } else {
        line.add(
            format!("{} of {} sessions", count(sessions.matched), count(sessions.total)),
            theme.strong(),
        );
    }
    if !shown.is_empty() {
        line.add(format!("  {} to {}", count(shown.start + 1), count(shown.end)), Style::new());
    }
    let arrow = theme.arrow(model.listing.descending);
    line.add(format!("  by {} {arrow}", model.listing.sorted_by.word()), Style::new());
    if !filter.is_empty() {
        line.add("  ", Style::new());
        line.add_cut(&format!(" {} ", text::name(filter, theme.utf8)), theme.utf8, theme.warning());
    }
    line.put_in(buffer, area);
}

/// The table: its head, and a row for each session.
pub(super) fn sessions(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let mut rows = area.rows();
    let Some(head) = rows.next() else { return };
    let columns: Vec<(&SessionColumn, usize)> = columns(area.width);
    let mut line = Pieces::new(head.width);
    for (column, width) in &columns {
        let sorted = column.sorted_by == Some(model.listing.sorted_by);
        let arrow = if sorted { theme.arrow(model.listing.descending).to_string() } else { String::new() };
        let style = if sorted { theme.sorted() } else { theme.head() };
        line.add(placed(column, &format!("{}{arrow}", column.head), *width, theme), style);
        line.add(" ", theme.head());
    }
    line.put_in(buffer, head);
    if model.sessions.matched == 0
        && let Some(row) = rows.next()
    {
        let mut line = Pieces::new(row.width);
        line.add_cut("no session", theme.utf8, Style::new());
        return line.put_in(buffer, row);
    }
    for (row, place) in rows.zip(model.shown()) {
        let mut line = Pieces::new(row.width);
        match model.at(place) {
            Some(session) => {
                for (column, width) in &columns {
                    let text = text::name(&(column.text)(session), theme.utf8);
                    line.add(placed(column, &text, *width, theme), Style::new());
                    line.add(" ", Style::new());
                }
            }
            None => _ = line.add("...", Style::new()),
        }
        line.put_in(buffer, row);
        if place == model.place() {
            buffer.set_style(row, theme.selected());
        }
    }
}

fn placed(column: &SessionColumn, text: &str, width: usize, theme: Theme) -> String {
    match column.to_the_right {
        true => text::right(text, width, theme.utf8),
        false => text::left(text, width, theme.utf8),
    }
}

/// The columns that a screen has room for, and how wide each is.
fn columns(screen: u16) -> Vec<(&'static SessionColumn, usize)> {
    const ALL: &[SessionColumn] = &COLUMNS;
    let there = || ALL.iter().filter(|column| column.from <= screen && screen < column.below);
    let fixed: usize = there().map(|column| column.columns + 1).sum();
    // Behind the last column there is none to be parted from.
    let rest = (usize::from(screen) + 1).saturating_sub(fixed);
    there().map(|column| (column, if column.columns == 0 { rest } else { column.columns })).collect()
}
