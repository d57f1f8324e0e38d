//! One figure of one scenario: a table whose rows are servers, best first, with a bar in each.

use std::fmt::Write;

use crate::compare::plan::{Better, ServerKind};
use crate::compare::report::escape;
use crate::compare::sheet::{Outcome, ScenarioSheet, Sheet};
use crate::compare::stats::{Ranking, Spread, Standing};
use crate::compare::table::reason;
use crate::compare::units::Scale;

/// Width of a bar's drawing; the page stretches it.
const WIDTH: f64 = 1000.0;
/// One value that is more than this many times the next would flatten all others: its bar is cut.
const CUT_AT: f64 = 4.0;
/// Room right of the longest bar.
const HEADROOM: f64 = 1.04;

/// From a value to a place on the bar's axis, which begins at 0.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    most: f64,
}

impl Axis {
    /// For rows with these spreads.
    fn of(spreads: impl Iterator<Item = Spread>) -> Self {
        let mut tops: Vec<f64> = spreads.map(|spread| spread.most.max(spread.median)).collect();
        tops.sort_by(|a, b| b.total_cmp(a));
        let most = match tops[..] {
            [first, second, ..] if first > second * CUT_AT && second > 0.0 => second * 1.5,
            [first, ..] if first > 0.0 => first,
            _ => 1.0,
        };
        Self { most: most * HEADROOM }
    }

    fn at(self, value: f64) -> f64 {
        (value / self.most * WIDTH).clamp(0.0, WIDTH)
    }

    fn cuts(self, value: f64) -> bool {
        value > self.most
    }
}

/// The table of `ranking`.
pub(super) fn table(sheet: &Sheet, scenario: &ScenarioSheet, ranking: &Ranking<'_>) -> String {
    let spreads = || ranking.standings.iter().filter_map(|standing| standing.spread);
    let scale = Scale::of(ranking.figure.unit, spreads().map(|spread| spread.median));
    let axis = Axis::of(spreads());
    let better = match ranking.figure.better {
        Better::Lower => "lower is better",
        Better::Higher => "higher is better",
    };
    let unit = if scale.unit.is_empty() { "median" } else { scale.unit };
    let mut out = String::new();
    let _ = write!(
        out,
        "<div><table><caption><b>{}</b><span class=soft>{better}; line: least to most of the rounds</span></caption>\
         <thead><tr><th scope=col>server</th><th scope=col></th><th scope=col class=num>{unit}</th>\
         <th scope=col class=\"num range\">least to most</th><th scope=col class=num>ratio to<br>best peer</th>\
         </tr></thead><tbody>",
        escape(&ranking.figure.title),
    );
    for standing in &ranking.standings {
        match standing.spread {
            Some(spread) => row(&mut out, sheet, ranking, standing, (spread, scale, axis)),
            None => empty_row(&mut out, scenario, standing),
        }
    }
    out.push_str("</tbody></table></div>");
    out
}

fn row(
    out: &mut String,
    sheet: &Sheet,
    ranking: &Ranking<'_>,
    standing: &Standing<'_>,
    (spread, scale, axis): (Spread, Scale, Axis),
) {
    let class = match standing.kind {
        _ if standing.server == sheet.subject => "subject",
        ServerKind::TcpRelay => "relay",
        ServerKind::Proxy | ServerKind::Variant => "peer",
    };
    let tag = match standing.kind {
        _ if ranking.rival == Some(standing.server) => "<span class=tag>best peer</span>",
        ServerKind::TcpRelay => "<span class=tag>plain relay</span>",
        ServerKind::Variant => "<span class=tag>variant</span>",
        ServerKind::Proxy => "",
    };
    let ratio = standing.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.2}", ratio.median));
    let _ = write!(
        out,
        "<tr class={class}><th scope=row>{}{tag}</th><td class=bar>{}</td><td class=num>{}</td>\
         <td class=\"num range\">{} – {}</td><td class=num>{ratio}</td></tr>",
        escape(standing.server),
        bar(spread, axis),
        scale.number(spread.median),
        scale.number(spread.least),
        scale.number(spread.most),
    );
}

/// The bar with its whisker.
fn bar(spread: Spread, axis: Axis) -> String {
    let (end, least, most) = (axis.at(spread.median), axis.at(spread.least), axis.at(spread.most));
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} 20\" preserveAspectRatio=none aria-hidden=true>\
         <rect class=fill x=0 y=3 width={end:.1} height=14 />"
    );
    if axis.cuts(spread.median) {
        // The bar goes on beyond the axis.
        let (left, right) = (WIDTH * 0.93, WIDTH * 0.96);
        let _ = write!(svg, "<path class=cut d=\"M{left:.0} 20L{right:.0} 0\"/>");
    } else {
        let _ = write!(
            svg,
            "<path class=whisker d=\"M{least:.1} 10H{most:.1}M{least:.1} 6V14M{most:.1} 6V14\"/>"
        );
    }
    svg.push_str("</svg>");
    svg
}

fn empty_row(out: &mut String, scenario: &ScenarioSheet, standing: &Standing<'_>) {
    let entry = scenario.entries.iter().find(|entry| entry.server == standing.server);
    let outcome = entry.map_or(&Outcome::Absent, |entry| &entry.outcome);
    let class = if matches!(outcome, Outcome::Failed(_)) { "failed" } else { "none" };
    let why = reason(outcome).unwrap_or_else(|| "no figure".to_owned());
    let _ = write!(
        out,
        "<tr class={class}><th scope=row>{}</th><td colspan=4>{}</td></tr>",
        escape(standing.server),
        escape(&why)
    );
}

/// Where the subject's ratio lies against its bar: least to most of the rounds, the median, the bar.
pub(super) fn strip(ratio: Spread, bar: f64) -> String {
    let most = [ratio.most, ratio.median, bar, 1.0].into_iter().fold(0.0, f64::max) * 1.1;
    let at = |value: f64| value / most * WIDTH;
    format!(
        "<svg viewBox=\"0 0 {WIDTH} 20\" preserveAspectRatio=none aria-hidden=true>\
         <path class=axis d=\"M0 10H{WIDTH}M{one:.1} 6V14\"/><path class=limit d=\"M{bar:.1} 1V19\"/>\
         <path class=reach d=\"M{least:.1} 10H{most:.1}\"/><path class=point d=\"M{median:.1} 10h.01\"/></svg>",
        one = at(1.0),
        bar = at(bar),
        least = at(ratio.least),
        most = at(ratio.most),
        median = at(ratio.median),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(median: f64) -> Spread {
        Spread { median, least: median, most: median }
    }

    #[test]
    fn the_longest_bar_nearly_fills_the_axis() {
        let axis = Axis::of([spread(50.0), spread(100.0)].into_iter());
        assert_eq!(axis.at(0.0), 0.0);
        assert!((axis.at(100.0) - WIDTH / HEADROOM).abs() < 1e-9);
        assert!(!axis.cuts(100.0));
    }

    #[test]
    fn a_giant_is_cut_so_that_the_others_are_seen() {
        let axis = Axis::of([spread(0.6), spread(20.0), spread(329.0)].into_iter());
        assert!(axis.cuts(329.0) && axis.at(329.0) == WIDTH);
        assert!(!axis.cuts(20.0) && axis.at(20.0) > WIDTH / 2.0);
        assert_eq!(Axis::of([].into_iter()).at(0.0), 0.0);
    }
}
