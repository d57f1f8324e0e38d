//! The numbers behind the charts: every round of every server, percentiles, and how busy both CPUs were.

use std::fmt::Write;

use crate::compare::report::escape;
use crate::compare::sheet::{Entry, Outcome, ScenarioSheet};
use crate::compare::stats::Spread;
use crate::compare::units::{Scale, Unit};

/// The percentiles of a record's latency.
const PERCENTILES: [(&str, &str); 5] =
    [("p50_us", "50 %"), ("p90_us", "90 %"), ("p99_us", "99 %"), ("p99_9_us", "99.9 %"), ("max_us", "most")];

/// The part of a scenario that opens on demand.
pub(super) fn details(scenario: &ScenarioSheet) -> String {
    let measured: Vec<&Entry> =
        scenario.entries.iter().filter(|entry| entry.outcome == Outcome::Measured).collect();
    let mut out = String::new();
    if measured.is_empty() {
        return out;
    }
    if let Some(latency) = &scenario.curve {
        percentiles(&mut out, &measured, latency);
    }
    out.push_str("<details><summary>Every round, and the commands</summary>");
    for figure in &scenario.figures {
        let values = measured.iter().flat_map(|entry| entry.values(&figure.field));
        let scale = Scale::of(figure.unit, values.map(|(_, value)| value));
        let _ = write!(
            out,
            "<div class=scroll><table><caption><b>{}</b><span class=soft>{}, <code>{}</code></span></caption>\
             <thead><tr><th scope=col>server</th>",
            escape(&figure.title),
            if scale.unit.is_empty() { "a number" } else { scale.unit },
            escape(&figure.field),
        );
        for round in 1..=scenario.rounds {
            let _ = write!(out, "<th scope=col class=num>round {round}</th>");
        }
        out.push_str("</tr></thead><tbody>");
        for entry in &measured {
            let values = entry.values(&figure.field).into_iter().map(|(_, value)| scale.number(value));
            row(&mut out, &entry.server, values);
        }
        out.push_str("</tbody></table></div>");
    }
    busy(&mut out, &measured);
    commands(&mut out, &measured);
    out.push_str("</details>");
    out
}

fn row(out: &mut String, server: &str, cells: impl Iterator<Item = String>) {
    let _ = write!(out, "<tr><th scope=row>{}</th>", escape(server));
    for cell in cells {
        let _ = write!(out, "<td class=num>{cell}</td>");
    }
    out.push_str("</tr>");
}

fn percentiles(out: &mut String, measured: &[&Entry], latency: &str) {
    let median = |entry: &Entry, name: &str| {
        let values = entry.values(&format!("{latency}.{name}"));
        Spread::of(values.into_iter().map(|(_, value)| value)).map(|spread| spread.median)
    };
    let all =
        measured.iter().flat_map(|entry| PERCENTILES.iter().filter_map(|(name, _)| median(entry, name)));
    let scale = Scale::of(Unit::Microseconds, all);
    let _ = write!(
        out,
        "<details open><summary>Percentiles, {}, medians of the rounds</summary><div class=scroll><table>\
         <thead><tr><th scope=col>server</th>",
        scale.unit
    );
    for (_, title) in PERCENTILES {
        let _ = write!(out, "<th scope=col class=num>{title}</th>");
    }
    out.push_str("</tr></thead><tbody>");
    for entry in measured {
        let cells = PERCENTILES
            .iter()
            .map(|(name, _)| median(entry, name).map_or_else(|| "–".to_owned(), |value| scale.number(value)));
        row(out, &entry.server, cells);
    }
    out.push_str("</tbody></table></div></details>");
}

/// CPU seconds a second: a server below 100 % was not what limited the run.
fn busy(out: &mut String, measured: &[&Entry]) {
    let share = |entry: &Entry, field: &str| {
        let runs = entry.runs.iter();
        let shares = runs.filter_map(|run| Some(run.figure(field)? / run.figure("seconds")?));
        let spread = Spread::of(shares.filter(|share| share.is_finite()));
        spread.map_or_else(|| "–".to_owned(), |spread| format!("{:.0} %", spread.median * 100.0))
    };
    out.push_str(
        "<div class=scroll><table><caption><b>How busy the CPUs were</b><span class=soft>medians; the \
         origin shares the CPU of the clients and is not in their figure</span></caption><thead><tr>\
         <th scope=col>server</th><th scope=col class=num>server</th><th scope=col class=num>clients</th>\
         </tr></thead><tbody>",
    );
    for entry in measured {
        let cells = ["server_cpu_seconds", "load_cpu_seconds"].map(|field| share(entry, field));
        row(out, &entry.server, cells.into_iter());
    }
    out.push_str("</tbody></table></div>");
}

fn commands(out: &mut String, measured: &[&Entry]) {
    out.push_str("<pre>");
    for entry in measured {
        let _ = writeln!(out, "{}", escape(&entry.command.join(" ")));
        if let Some(run) = entry.runs.last() {
            let _ = writeln!(out, "    outflow-load {}", escape(&run.args.join(" ")));
        }
    }
    out.push_str("</pre>");
}
