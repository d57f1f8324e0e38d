//! A terminal's screen as a picture: SVG with the text in it, each run of one style pinned to its columns.

use std::fmt::Write;

use vt100::{Cell, Color, Screen};

/// A column and a row, in units of the picture.
const COLUMN: f64 = 8.4;
const ROW: f64 = 17.0;
const MARGIN: f64 = 10.0;
const PAPER: &str = "#10151c";
const INK: &str = "#d3dae3";
/// The sixteen colours of terminals.
const COLOURS: [&str; 16] = [
    "#10151c", "#e5534b", "#57ab5a", "#d9a441", "#539bf5", "#b083f0", "#39c5cf", "#adbac7", "#6c7684",
    "#ff938a", "#8ddb8c", "#f0c05a", "#7fb4f8", "#cfa8f7", "#66d9e0", "#ffffff",
];

/// How a cell looks.
#[derive(Clone, Copy, PartialEq)]
struct Look {
    ink: &'static str,
    paper: &'static str,
    bold: bool,
    underlined: bool,
}

fn colour(colour: Color, default: &'static str) -> &'static str {
    match colour {
        Color::Idx(number) if number < 16 => COLOURS[usize::from(number)],
        _ => default,
    }
}

fn look(cell: &Cell) -> Look {
    let (ink, paper) = (colour(cell.fgcolor(), INK), colour(cell.bgcolor(), PAPER));
    let (ink, paper) = if cell.inverse() { (paper, ink) } else { (ink, paper) };
    Look { ink, paper, bold: cell.bold(), underlined: cell.underline() }
}

/// The part of its cell that a block fills: from the left and from the top, and how wide and high.
fn block(text: &str) -> Option<(f64, f64, f64, f64)> {
    let eighths = |number: u32| f64::from(number) / 8.0;
    match text.chars().next()? as u32 {
        code @ 0x2581..=0x2588 => Some((0.0, 1.0 - eighths(code - 0x2580), 1.0, eighths(code - 0x2580))),
        code @ 0x2589..=0x258f => Some((0.0, 0.0, eighths(0x2590 - code), 1.0)),
        _ => None,
    }
}

/// The picture of a screen, named for those who do not see it.
pub(crate) fn picture(screen: &Screen, name: &str) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let (width, height) = (f64::from(columns) * COLUMN + 2.0 * MARGIN, f64::from(rows) * ROW + 2.0 * MARGIN);
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{name}\">\n\
         <style>text{{font:14px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre}}.b{{font-weight:bold}}.u{{text-decoration:underline}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{PAPER}\"/>"
    );
    for row in 0..rows {
        let cells: Vec<&Cell> = (0..columns).filter_map(|column| screen.cell(row, column)).collect();
        let mut at = 0;
        while at < cells.len() {
            let style = look(cells[at]);
            let is_block = block(cells[at].contents()).is_some();
            let same = |cell: &&&Cell| look(cell) == style && block(cell.contents()).is_some() == is_block;
            let run = cells[at..].iter().take_while(same).count();
            draw(&mut svg, &cells[at..at + run], style, (at, row));
            at += run;
        }
    }
    svg + "</svg>\n"
}

/// Cells of one look, from this column of this row on.
fn draw(svg: &mut String, cells: &[&Cell], style: Look, (column, row): (usize, u16)) {
    let (x, y) = (MARGIN + column as f64 * COLUMN, MARGIN + f64::from(row) * ROW);
    if style.paper != PAPER {
        let wide = cells.len() as f64 * COLUMN;
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{ROW}\" fill=\"{}\"/>",
            style.paper
        );
    }
    let blocks = cells.iter().enumerate().filter_map(|(at, cell)| Some((at, block(cell.contents())?)));
    let path: String = blocks
        .map(|(at, (left, top, wide, high))| {
            let (x, y) = (x + (at as f64 + left) * COLUMN, y + top * ROW);
            let (wide, high) = (wide * COLUMN, high * ROW);
            format!("M{x:.1} {y:.1}h{wide:.1}v{high:.1}h-{wide:.1}z")
        })
        .collect();
    if !path.is_empty() {
        let _ = writeln!(svg, "<path fill=\"{}\" d=\"{path}\"/>", style.ink);
        return;
    }
    let text: String =
        cells.iter().map(|cell| if cell.has_contents() { cell.contents() } else { " " }).collect();
    let blank = text.len() - text.trim_start().len();
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    let classes = match (style.bold, style.underlined) {
        (false, false) => "",
        (true, false) => " class=\"b\"",
        (false, true) => " class=\"u\"",
        (true, true) => " class=\"b u\"",
    };
    let (x, y) = (x + blank as f64 * COLUMN, y + ROW * 0.76);
    let wide = text.chars().count() as f64 * COLUMN;
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{wide:.1}\" fill=\"{}\"{classes}>{text}</text>",
        style.ink
    );
}
