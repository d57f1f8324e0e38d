//! The first line, and what goes through the relay.

use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Sparkline, Widget};

use super::line::{LABEL, Pieces};
use crate::cli::top::model::Model;
use crate::cli::top::seen::StatsSeen;
use crate::cli::top::text;
use crate::cli::top::theme::Theme;
use crate::cli::units::{byte_rate, bytes, grouped};

/// Who is looked at and how it is; where nobody answers, that.
pub(super) fn title(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme, now: Instant) {
    if let Some(gone) = &model.gone {
        let for_how_long = text::seconds(now.saturating_duration_since(gone.since).as_secs());
        let words = text::name(&gone.words, theme.utf8);
        let words = format!(" no figures for {for_how_long}, tried each second: {words}");
        let mut line = Pieces::new(area.width);
        line.add_cut(&words, theme.utf8, theme.bad());
        line.put_in(buffer, area);
        return buffer.set_style(area, theme.bad());
    }
    let time = model.stats.time.as_deref().and_then(|time| time.get(11..19)).unwrap_or_default();
    let time = text::name(time, false);
    let mut right = Pieces::new(area.width / 2);
    if model.paused {
        right.add(" paused ", theme.warning());
        right.add(" ", Style::new());
    }
    if !time.is_empty() {
        right.add(format!("{time}Z"), Style::new());
    }
    let used = usize::from(area.width / 2) - right.left();
    let mut line = Pieces::new(usize::from(area.width).saturating_sub(used + 1));
    state(&mut line, model, theme);
    line.put_in(buffer, area);
    right.put(buffer, area.right().saturating_sub(u16::try_from(used).unwrap_or_default()), area.y);
}

fn state(line: &mut Pieces<'_>, model: &Model, theme: Theme) {
    let stats = &model.stats;
    let shown = |text: &str| text::name(text, theme.utf8);
    line.add("outflow ", theme.strong());
    line.add_cut(&shown(&stats.version), theme.utf8, Style::new());
    line.add("  ", Style::new());
    match stats.state.as_str() {
        "serving" => line.add("serving", theme.good()),
        other => line.add(format!(" {} ", shown(other)), theme.warning()),
    };
    if stats.alive == Some(false) {
        line.add(" ", Style::new());
        line.add(" a worker stands still ", theme.bad());
    }
    // That it drains is said already.
    if let Some(why) = stats.not_ready.as_deref().filter(|why| *why != stats.state) {
        line.add(" ", Style::new());
        line.add_cut(&format!(" not ready: {} ", shown(why)), theme.utf8, theme.warning());
    }
    if !stats.older.is_empty() {
        let sessions: f64 = stats.older.iter().filter_map(|one| one.sessions).sum();
        line.add("  ", Style::new());
        line.add(format!(" {} older: {sessions:.0} sessions ", stats.older.len()), theme.warning());
    }
    if let Some(uptime) = stats.uptime_s {
        line.add(format!("  up {}", text::seconds(uptime as u64)), Style::new());
    }
    if let Some(first) = stats.listeners.first() {
        let more = stats.listeners.len() - 1;
        let more = if more > 0 { format!(" +{more}") } else { String::new() };
        line.add(format!("  {}{more}", shown(first)), Style::new());
    }
    if !stats.relay.is_empty() {
        line.add(format!("  relay {}", shown(&stats.relay)), Style::new());
    }
    if let Some(cpu) = cpu(model) {
        line.add(format!("  cpu {cpu:.0}%"), Style::new());
    }
    if let Some(memory) = stats.process.get("rss_bytes").copied().flatten() {
        line.add(format!("  mem {}", bytes(memory)), Style::new());
    }
}

/// CPUs in use since the look before, in percent of one.
fn cpu(model: &Model) -> Option<f64> {
    let (before, elapsed) = model.before.as_ref()?;
    let seconds = |stats: &StatsSeen| stats.process.get("cpu_s").copied().flatten();
    let used = seconds(&model.stats)? - seconds(before)?;
    Some((used / elapsed.as_secs_f64() * 100.0).max(0.0)).filter(|percent| percent.is_finite())
}

/// A figure, and its curve over the last minutes.
struct Meter {
    label: &'static str,
    value: String,
    series: &'static str,
    show: fn(f64) -> String,
    curve: Style,
}

/// Sessions, new ones, and bytes each way.
pub(super) fn meters(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let stats = &model.stats;
    let whole = |number: f64| grouped(number as u64);
    let meter = |label, value, series, show| Meter { label, value, series, show, curve: theme.curve() };
    let rows = [
        [
            meter("sessions", whole(stats.counter("active")), "active", whole as fn(f64) -> String),
            meter("new/s", text::rate(stats.rate("accepted")), "accepted", text::rate),
        ],
        [
            meter("up", byte_rate(stats.rate("bytes_up")), "bytes_up", byte_rate),
            meter("down", byte_rate(stats.rate("bytes_down")), "bytes_down", byte_rate),
        ],
    ];
    let height = area.height / 2;
    for (at, halves) in rows.iter().enumerate() {
        let y = area.y + height * at as u16;
        let row = Rect { y, height, ..area };
        for (half, meter) in parted(row).into_iter().zip(halves) {
            draw_meter(buffer, half, meter, model, theme);
        }
    }
}

/// Two halves with a column between them.
fn parted(row: Rect) -> [Rect; 2] {
    let first = row.width / 2;
    [
        Rect { width: first.saturating_sub(1), ..row },
        Rect { x: row.x + first, width: row.width - first, ..row },
    ]
}

fn draw_meter(buffer: &mut Buffer, area: Rect, meter: &Meter, model: &Model, theme: Theme) {
    if area.height == 0 {
        return;
    }
    const VALUE: usize = 9;
    let mut line = Pieces::new(area.width);
    line.add(text::left(meter.label, LABEL, theme.utf8), theme.label());
    line.add(text::right(&meter.value, VALUE, theme.utf8), theme.strong());
    line.put_in(buffer, area);
    let used = (LABEL + VALUE + 1) as u16;
    let curve = Rect { x: area.x + used, width: area.width.saturating_sub(used), ..area }.intersection(area);
    let series = model.history.series.get(meter.series).map(Vec::as_slice).unwrap_or_default();
    let series = &series[series.len().saturating_sub(usize::from(curve.width))..];
    if curve.is_empty() || series.is_empty() {
        return;
    }
    let peak = series.iter().flatten().copied().fold(0.0, f64::max);
    if area.height > 1 {
        let peak = format!("peak {}", (meter.show)(peak));
        let second = Rect { y: area.y + 1, height: 1, ..area };
        let mut line = Pieces::new(LABEL + VALUE);
        line.add(text::right(&peak, LABEL + VALUE, theme.utf8), Style::new());
        line.put_in(buffer, second);
    }
    let bars = series.iter().map(|value| value.map(|value| thousandths(value, peak, curve.height)));
    let missing = usize::from(curve.width) - series.len();
    Sparkline::default()
        .data(std::iter::repeat_n(None, missing).chain(bars))
        .max(1000)
        .absent_value_symbol(" ")
        .bar_set(theme.heights())
        .style(meter.curve)
        .render(curve, buffer);
}

/// What part of the peak a value is, on a curve of so many rows; a little is not nothing.
fn thousandths(value: f64, peak: f64, rows: u16) -> u64 {
    match value / peak {
        part if part > 0.0 => (part * 1000.0).max(125.0 / f64::from(rows)).ceil() as u64,
        _ => 0,
    }
}

/// Datagrams each way, and what is refused.
pub(super) fn datagrams(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    if area.height == 0 {
        return;
    }
    let [left, right] = parted(area);
    let mut line = Pieces::new(left.width);
    line.add(text::left("udp/s", LABEL, theme.utf8), theme.label());
    let stats = &model.stats;
    for (name, rate) in [("up", "datagrams_up"), ("down", "datagrams_down")] {
        line.add(format!("{name} "), Style::new());
        line.add(text::left(&text::rate(stats.rate(rate)), 6, theme.utf8), theme.strong());
    }
    let dropped = stats.rate("datagrams_dropped");
    line.add("lost ", Style::new());
    line.add(text::rate(dropped), if dropped > 0.0 { theme.bad() } else { theme.strong() });
    line.put_in(buffer, left);
    let value = text::rate(stats.rate("refused"));
    let refused =
        Meter { label: "refused/s", value, series: "refused", show: text::rate, curve: theme.bad_curve() };
    draw_meter(buffer, right, &refused, model, theme);
}
