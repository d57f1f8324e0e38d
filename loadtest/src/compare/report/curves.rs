//! Latency by percentile, as HdrHistogram's plots have it: the axis grows by one step with each nine.
//!
//! Each server's curve is the median of its rounds at each percentile; the subject's has its least and most
//! around it. Names stand at the ends of the curves. The drawing is made twice, for wide and for narrow
//! pages, so that its letters keep their size.

use std::fmt::Write;

use crate::compare::report::escape;
use crate::compare::sheet::{Entry, Outcome, ScenarioSheet, Sheet};
use crate::compare::stats::Spread;

/// Points of a curve for each nine.
const PER_NINE: u32 = 25;
/// Colours of the style sheet.
const COLOURS: usize = 10;
/// Labels below the axis need so much.
const TICK_WIDTH: f64 = 42.0;
/// Lines of text that stand above each other need so much.
const LINE: f64 = 15.0;

/// One server's curve: nines, and microseconds over the rounds.
struct Curve<'a> {
    server: &'a str,
    own: bool,
    colour: usize,
    points: Vec<(f64, Spread)>,
}

/// The figure of a scenario that has curves.
pub(super) fn figure(sheet: &Sheet, scenario: &ScenarioSheet) -> Option<String> {
    let latency = scenario.curve.as_ref()?;
    let curves: Vec<Curve<'_>> = scenario
        .entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.outcome == Outcome::Measured)
        .filter_map(|(at, entry)| {
            let points = points(entry);
            let own = entry.server == sheet.subject;
            (points.len() > 1).then_some(Curve { server: &entry.server, own, colour: at % COLOURS, points })
        })
        .collect();
    if curves.is_empty() {
        return None;
    }
    let what = latency.replace('_', " ");
    Some(format!(
        "<figure><figcaption><b>Latency by percentile: {what}</b><span class=soft>median of the rounds at \
         each percentile; around {subject}, least to most; lower is better</span></figcaption>{}{}</figure>",
        Canvas::new(1100.0, 420.0, 118.0, "wide").draw(&curves, &what),
        Canvas::new(400.0, 420.0, 98.0, "narrow").draw(&curves, &what),
        what = escape(&what),
        subject = escape(&sheet.subject),
    ))
}

/// The rounds' curves brought to one grid, as far as all of them reach.
fn points(entry: &Entry) -> Vec<(f64, Spread)> {
    let curves: Vec<&[(f64, f64)]> =
        entry.runs.iter().map(|run| run.curve.as_slice()).filter(|curve| !curve.is_empty()).collect();
    let reach = curves.iter().map(|curve| reach(curve)).fold(f64::INFINITY, f64::min);
    if !reach.is_finite() {
        return Vec::new();
    }
    let steps = (reach * f64::from(PER_NINE)).floor() as u32;
    let grid = (0..=steps).map(|step| f64::from(step) / f64::from(PER_NINE));
    grid.filter_map(|nines| Some((nines, Spread::of(curves.iter().map(|curve| at(curve, nines)))?))).collect()
}

/// The nines of the last row but the maximum, which has infinitely many.
fn reach(curve: &[(f64, f64)]) -> f64 {
    curve.iter().map(|(quantile, _)| nines(*quantile)).filter(|nines| nines.is_finite()).fold(0.0, f64::max)
}

/// 0.9 has one, 0.99 two.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// The value of the first row that reaches so far.
fn at(curve: &[(f64, f64)], wanted: f64) -> f64 {
    let row = curve.iter().find(|(quantile, _)| nines(*quantile) >= wanted - 1e-9);
    row.or(curve.last()).map_or(0.0, |(_, value)| *value)
}

/// A drawing of one size.
struct Canvas {
    width: f64,
    height: f64,
    /// Right of the plot: the names.
    names: f64,
    class: &'static str,
}

/// What is on the axes: nines from 0, and powers of ten of microseconds.
#[derive(Clone, Copy)]
struct Axes {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    nines: f64,
    low: f64,
    high: f64,
}

impl Axes {
    fn x(self, nines: f64) -> f64 {
        self.left + nines / self.nines * (self.right - self.left)
    }

    fn y(self, microseconds: f64) -> f64 {
        let share = (microseconds.log10() - self.low) / (self.high - self.low);
        self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top)
    }
}

impl Canvas {
    fn new(width: f64, height: f64, names: f64, class: &'static str) -> Self {
        Self { width, height, names, class }
    }

    fn axes(&self, curves: &[Curve<'_>]) -> Axes {
        let all = || curves.iter().flat_map(|curve| &curve.points);
        let nines = all().map(|(nines, _)| *nines).fold(1.0, f64::max);
        let values = || all().map(|(_, spread)| spread.median.max(1.0).log10());
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        Axes {
            left: 58.0,
            right: self.width - self.names,
            top: 12.0,
            bottom: self.height - 42.0,
            nines,
            low: low - 0.05,
            high: (high + 0.05).max(low + 0.5),
        }
    }

    fn draw(&self, curves: &[Curve<'_>], what: &str) -> String {
        let axes = self.axes(curves);
        let mut svg = format!(
            "<svg class={} viewBox=\"0 0 {} {}\" role=img aria-label=\"Latency by percentile, {}; the values \
             are in the table of percentiles below\">",
            self.class,
            self.width,
            self.height,
            escape(what),
        );
        grid(&mut svg, axes);
        for curve in curves.iter().filter(|curve| curve.own) {
            band(&mut svg, axes, curve);
        }
        // The subject lies above the others.
        for curve in curves.iter().filter(|curve| !curve.own).chain(curves.iter().filter(|curve| curve.own)) {
            line(&mut svg, axes, curve);
        }
        names(&mut svg, axes, curves);
        svg.push_str("</svg>");
        svg
    }
}

fn grid(svg: &mut String, axes: Axes) {
    let Axes { left, right, top, bottom, .. } = axes;
    for decade in (axes.low.floor() as i32)..=(axes.high.ceil() as i32) {
        for step in [1.0, 2.0, 5.0] {
            let value = step * 10_f64.powi(decade);
            if value.log10() < axes.low || value.log10() > axes.high {
                continue;
            }
            let y = axes.y(value);
            let _ = write!(
                svg,
                "<path class=grid d=\"M{left} {y:.1}H{right}\"/><text class=tick x={:.1} y={:.1} \
                 text-anchor=end>{}</text>",
                left - 6.0,
                y + 4.5,
                time(value)
            );
        }
    }
    let mut ticks = vec![(0.0, "0 %".to_owned())];
    if axes.x(nines(0.5)) - axes.left > TICK_WIDTH {
        ticks.push((nines(0.5), "50 %".to_owned()));
    }
    ticks.extend((1..=axes.nines.floor() as usize).map(|nines| (nines as f64, percent(nines))));
    for (nines, label) in ticks {
        let x = axes.x(nines);
        let _ = write!(
            svg,
            "<path class=grid d=\"M{x:.1} {top}V{bottom}\"/><text class=tick x={x:.1} y={:.1} \
             text-anchor=middle>{label}</text>",
            bottom + 18.0
        );
    }
    let _ = write!(
        svg,
        "<text class=tick x={:.1} y={:.1} text-anchor=middle>percentile</text>",
        (left + right) / 2.0,
        bottom + 36.0
    );
}

fn band(svg: &mut String, axes: Axes, curve: &Curve<'_>) {
    let there = curve.points.iter().map(|(nines, spread)| (axes.x(*nines), axes.y(spread.most.max(1.0))));
    let back =
        curve.points.iter().rev().map(|(nines, spread)| (axes.x(*nines), axes.y(spread.least.max(1.0))));
    let _ = write!(
        svg,
        "<path class=band fill=\"var(--s{})\" d=\"M{}Z\"/>",
        curve.colour,
        joined(there.chain(back))
    );
}

fn line(svg: &mut String, axes: Axes, curve: &Curve<'_>) {
    let points = curve.points.iter().map(|(nines, spread)| (axes.x(*nines), axes.y(spread.median.max(1.0))));
    let _ = write!(
        svg,
        "<path class=\"curve{}\" style=\"stroke:var(--s{})\"{} d=\"M{}\"/>",
        if curve.own { " own" } else { "" },
        curve.colour,
        dashes(curve),
        joined(points)
    );
}

/// Colour is not all that tells curves apart.
fn dashes(curve: &Curve<'_>) -> &'static str {
    match curve.colour % 4 {
        _ if curve.own => "",
        0 => " stroke-dasharray=\"9 3\"",
        1 => "",
        2 => " stroke-dasharray=\"5 3\"",
        _ => " stroke-dasharray=\"2 3\"",
    }
}

fn joined(points: impl Iterator<Item = (f64, f64)>) -> String {
    points.map(|(x, y)| format!("{x:.1} {y:.1}")).collect::<Vec<_>>().join("L")
}

/// Each name beside the end of its curve, none on another.
fn names(svg: &mut String, axes: Axes, curves: &[Curve<'_>]) {
    let mut ends: Vec<(f64, f64, &Curve<'_>)> = curves
        .iter()
        .filter_map(|curve| {
            let (nines, spread) = curve.points.last()?;
            Some((axes.x(*nines), axes.y(spread.median.max(1.0)), curve))
        })
        .collect();
    ends.sort_by(|a, b| a.1.total_cmp(&b.1));
    let places = spread_out(&ends.iter().map(|end| end.1).collect::<Vec<_>>(), axes.top, axes.bottom);
    for ((x, y, curve), place) in ends.iter().zip(places) {
        let _ = write!(
            svg,
            "<path class=lead style=\"stroke:var(--s{})\" d=\"M{x:.1} {y:.1}L{:.1} {place:.1}\"/>\
             <text x={:.1} y={:.1}{}>{}</text>",
            curve.colour,
            axes.right + 12.0,
            axes.right + 15.0,
            place + 4.5,
            if curve.own { " class=own-name" } else { "" },
            escape(curve.server)
        );
    }
}

/// Places for lines of text near `wanted`, which ascends: none nearer than a line to the next, all between
/// `top` and `bottom` as far as they fit.
fn spread_out(wanted: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    let mut places = Vec::with_capacity(wanted.len());
    let mut free = top;
    for &place in wanted {
        places.push(place.max(free));
        free = place.max(free) + LINE;
    }
    let mut limit = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - LINE;
    }
    places
}

fn percent(nines: usize) -> String {
    match nines {
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        more => format!("99.{} %", "9".repeat(more - 2)),
    }
}

fn time(microseconds: f64) -> String {
    match microseconds {
        us if us >= 1e6 => format!("{} s", us / 1e6),
        us if us >= 1e3 => format!("{} ms", us / 1e3),
        us => format!("{us} µs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_and_ticks() {
        assert!((nines(0.9) - 1.0).abs() < 1e-9 && (nines(0.999) - 3.0).abs() < 1e-9);
        assert_eq!((percent(1), percent(3), percent(4)), ("90 %".into(), "99.9 %".into(), "99.99 %".into()));
        assert_eq!((time(500.0), time(2e3), time(1e6)), ("500 µs".into(), "2 ms".into(), "1 s".into()));
    }

    #[test]
    fn a_curve_ends_where_its_rows_end() {
        let curve = [(0.0, 10.0), (0.5, 20.0), (0.9, 30.0), (0.99, 90.0), (1.0, 500.0)];
        assert!((reach(&curve) - 2.0).abs() < 1e-9);
        assert_eq!(
            (at(&curve, 0.0), at(&curve, 0.2), at(&curve, 1.0), at(&curve, 9.0)),
            (10.0, 20.0, 30.0, 500.0)
        );
    }

    #[test]
    fn the_axes_are_logarithmic() {
        let axes = Axes { left: 0.0, right: 300.0, top: 0.0, bottom: 100.0, nines: 3.0, low: 1.0, high: 3.0 };
        assert_eq!((axes.x(0.0), axes.x(3.0)), (0.0, 300.0));
        assert_eq!((axes.y(10.0), axes.y(100.0), axes.y(1000.0)), (100.0, 50.0, 0.0));
    }

    #[test]
    fn names_keep_their_distance() {
        assert_eq!(spread_out(&[20.0, 21.0, 80.0], 0.0, 100.0), [20.0, 35.0, 80.0]);
        assert_eq!(spread_out(&[95.0, 99.0], 0.0, 100.0), [85.0, 100.0]);
    }
}
