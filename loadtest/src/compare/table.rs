//! The result as text: for each figure a table, best first, and the bars at the end.

use std::fmt::Write;

use crate::compare::plan::{Better, ServerKind};
use crate::compare::sheet::{Outcome, Sheet};
use crate::compare::stats::{Ranking, Spread, Standing};
use crate::compare::units::Scale;

/// Everything, ready to print.
pub(crate) fn render(sheet: &Sheet) -> String {
    let mut out = String::new();
    let mut bars = Vec::new();
    for scenario in &sheet.scenarios {
        let _ = writeln!(out, "\n{}: {} ({})", scenario.name, scenario.title, rounds(scenario.rounds));
        for ranking in Ranking::all(sheet, scenario) {
            figure(&mut out, sheet, &ranking);
            bars.extend(bar(sheet, &scenario.name, &ranking));
        }
        for entry in &scenario.entries {
            if let Some(why) = reason(&entry.outcome) {
                let _ = writeln!(out, "  {:<16} {why}", entry.server);
            }
        }
    }
    for server in sheet.servers.iter().filter(|server| server.program.is_none()) {
        let _ = writeln!(out, "\n{} is absent; to get it: {}", server.name, server.install);
    }
    if !bars.is_empty() {
        let _ = writeln!(
            out,
            "\nbars of {}: its ratio to the best SOCKS5 peer\n{}",
            sheet.subject,
            bars.join("\n")
        );
    }
    out
}

fn rounds(count: u32) -> String {
    if count == 1 { "1 round".to_owned() } else { format!("median of {count} rounds") }
}

fn figure(out: &mut String, sheet: &Sheet, ranking: &Ranking<'_>) {
    let spreads: Vec<Spread> = ranking.standings.iter().filter_map(|standing| standing.spread).collect();
    let scale = Scale::of(ranking.figure.unit, spreads.iter().map(|spread| spread.median));
    let better = match ranking.figure.better {
        Better::Lower => "lower is better",
        Better::Higher => "higher is better",
    };
    let unit = if scale.unit.is_empty() { String::new() } else { format!(", {}", scale.unit) };
    let _ = writeln!(out, "  {}{unit} ({better})", ranking.figure.title);
    for standing in &ranking.standings {
        let Some(spread) = standing.spread else { continue };
        let mark = if standing.server == sheet.subject { '*' } else { ' ' };
        let range = format!("{} to {}", scale.number(spread.least), scale.number(spread.most));
        let _ = writeln!(
            out,
            "  {mark} {:<16} {:>10}  {:<22} {}",
            standing.server,
            scale.number(spread.median),
            range,
            beside(ranking, standing)
        );
    }
}

/// The ratio, and what the server is to the subject.
fn beside(ranking: &Ranking<'_>, standing: &Standing<'_>) -> String {
    let ratio = standing.ratio.map(shown_ratio).unwrap_or_default();
    if ranking.rival == Some(standing.server) {
        return "1     the best peer".to_owned();
    }
    match standing.kind {
        ServerKind::Proxy => ratio,
        ServerKind::Variant => format!("{ratio}  variant"),
        ServerKind::TcpRelay => format!("{ratio}  plain relay"),
    }
}

/// `0.84 (0.80 to 0.90)`.
fn shown_ratio(ratio: Spread) -> String {
    format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.least, ratio.most)
}

fn bar(sheet: &Sheet, scenario: &str, ranking: &Ranking<'_>) -> Option<String> {
    let bar = ranking.figure.bar?;
    let title = format!("{scenario}: {}", ranking.figure.title);
    let bound = match ranking.figure.better {
        Better::Lower => format!("at most {bar:.2}"),
        Better::Higher => format!("at least {bar:.2}"),
    };
    let ratio = ranking.standing(&sheet.subject).and_then(|standing| standing.ratio);
    let (shown, verdict) = match (ratio, ranking.verdict) {
        (Some(ratio), Some(verdict)) => (shown_ratio(ratio), if verdict.met { "met" } else { "MISSED" }),
        _ => ("-".to_owned(), "not measured"),
    };
    let rival = ranking.rival.unwrap_or("nobody");
    Some(format!("  {title:<48} {bound:<14} {shown:<22} of {rival:<14} {verdict}"))
}

/// Why a server has no figures.
pub(crate) fn reason(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Measured => None,
        Outcome::Absent => Some("absent".to_owned()),
        Outcome::Omitted { reason } => Some(format!("not measured: {reason}")),
        Outcome::Failed(failure) if failure.round == 0 => {
            Some(format!("FAILED before round 1: {}", failure.reason))
        }
        Outcome::Failed(failure) => Some(format!("FAILED in round {}: {}", failure.round, failure.reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::stats::tests::sheet;

    #[test]
    fn every_server_is_in_the_table() {
        let mut sheet = sheet(&[
            ("us", ServerKind::Proxy, &[(8.0, 90.0), (8.4, 90.0), (9.0, 90.0)]),
            ("best", ServerKind::Proxy, &[(10.0, 100.0), (10.0, 100.0), (10.0, 100.0)]),
            ("floor", ServerKind::TcpRelay, &[(5.0, 200.0), (5.0, 200.0), (5.0, 200.0)]),
            ("gone", ServerKind::Proxy, &[]),
            ("odd", ServerKind::Proxy, &[]),
        ]);
        sheet.scenarios[0].entries[4].outcome = Outcome::Omitted { reason: "no UDP ASSOCIATE".to_owned() };
        let text = render(&sheet);
        assert!(
            text.contains("* us                     8.40  8.00 to 9.00           0.84 (0.80 to 0.90)"),
            "{text}"
        );
        assert!(
            text.contains("best                  10.00  10.00 to 10.00         1     the best peer"),
            "{text}"
        );
        assert!(text.contains("plain relay"), "{text}");
        assert!(text.contains("gone             absent"), "{text}");
        assert!(text.contains("gone is absent; to get it: install gone"), "{text}");
        assert!(text.contains("odd              not measured: no UDP ASSOCIATE"), "{text}");
        assert!(text.contains("one: The cost"), "{text}");
        assert_eq!(text.matches(" met").count(), 1, "{text}");
        assert_eq!(text.matches("MISSED").count(), 1, "{text}");
    }
}
