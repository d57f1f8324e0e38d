//! Whole screens, as a terminal of that size shows them.

mod policy;
mod screens;
mod states;

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use serde_json::json;

use super::*;
use crate::cli::top::keys::press;
use crate::cli::top::look::{LookReport, Trouble};
use crate::cli::top::sample::MadeUp;

const COLOURS: Theme = Theme { colours: true, utf8: true };
const NO_COLOUR: Theme = Theme { colours: false, utf8: true };

/// A model that has looked twice, the last time at the `Instant` that comes with it, and was drawn.
fn model(endpoint: &MadeUp) -> (Model, Instant) {
    let began = Instant::now();
    let (mut model, now) = (endpoint.model(began), began + Duration::from_secs(1));
    drawn(&mut model, COLOURS, (80, 24), now);
    (model, now)
}

fn drawn(model: &mut Model, theme: Theme, size: (u16, u16), now: Instant) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|frame| draw(frame, model, theme, now)).unwrap();
    terminal.backend().clone()
}

/// The rows of a screen, without the blanks at their ends.
fn rows(screen: &TestBackend) -> Vec<String> {
    let buffer = screen.buffer();
    let row = |y: u16| {
        let (mut row, mut x) = (String::new(), 0);
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            row.push_str(symbol);
            // A wide letter has the column behind it, too.
            x += u16::try_from(crate::cli::top::text::width(symbol)).unwrap().max(1);
        }
        row.trim_end().to_owned()
    };
    (0..buffer.area.height).map(row).collect()
}

/// The screen is this one, row by row.
#[track_caller]
fn shows(screen: &TestBackend, expected: &str) {
    let (rows, expected) = (rows(screen), expected.trim_start_matches('\n').lines().map(str::trim_end));
    let expected: Vec<&str> = expected.collect();
    let differs = rows.iter().zip(&expected).position(|(row, expected)| row != expected);
    let same = differs.is_none() && rows.len() == expected.len();
    assert!(same, "row {differs:?} of {} differs:\n{}\n", rows.len(), rows.join("\n"));
}

fn key(model: &mut Model, code: ratatui::crossterm::event::KeyCode) {
    press(model, code.into());
}

fn typed(model: &mut Model, text: &str) {
    for c in text.chars() {
        key(model, ratatui::crossterm::event::KeyCode::Char(c));
    }
}
