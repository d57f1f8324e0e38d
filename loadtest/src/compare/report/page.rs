//! The page as a whole: what is compared, the bars, the scenarios, the servers, the machine.

use std::fmt::Write;

use serde_json::Value;

use crate::compare::plan::{Better, ServerKind};
use crate::compare::report::{bars, curves, escape, rounds};
use crate::compare::sheet::{ScenarioSheet, ServerSheet, Sheet};
use crate::compare::stats::{Ranking, Spread};
use crate::compare::units::{Scale, Unit};

const STYLE: &str = include_str!("style.css");

/// The whole file.
pub(crate) fn render(sheet: &Sheet) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <meta name=color-scheme content=\"light dark\"><title>SOCKS5 servers compared</title>\
         <style>\n{STYLE}</style></head><body>\n"
    );
    head(&mut out, sheet);
    out.push_str("<main>\n");
    faults(&mut out, sheet);
    bar_table(&mut out, sheet);
    for scenario in &sheet.scenarios {
        section(&mut out, sheet, scenario);
    }
    servers(&mut out, sheet);
    machine(&mut out, sheet);
    out.push_str("</main></body></html>\n");
    out
}

fn head(out: &mut String, sheet: &Sheet) {
    let text = |name: &str| sheet.machine.get(name).and_then(Value::as_str);
    let present = sheet.servers.iter().filter(|server| server.program.is_some()).count();
    let _ = write!(
        out,
        "<header><h1>SOCKS5 servers compared</h1><p>{present} servers under the same loads, each on one \
         CPU (CPU {}), clients and origin on another (CPU {}), over loopback. Every figure is the median of \
         its rounds, which went over all servers in turn. <b>{}</b> is compared with the best SOCKS5 peer; \
         a plain relay speaks no SOCKS5 and shows the floor.</p><p class=soft>{}{}{}</p><nav>",
        sheet.load.server_cpu,
        sheet.load.load_cpu,
        escape(&sheet.subject),
        escape(&day(&sheet.made_at)),
        text("cpu_model").map(|model| format!(" · {}", escape(model))).unwrap_or_default(),
        text("kernel").map(|kernel| format!(" · Linux {}", escape(kernel))).unwrap_or_default(),
    );
    for scenario in &sheet.scenarios {
        let name = escape(&scenario.name);
        let _ = write!(out, "<a href=\"#{name}\">{name}</a>");
    }
    out.push_str("<a href=\"#servers\">servers</a><a href=\"#machine\">machine</a></nav></header>\n");
}

/// `2024-01-01T10:20:30Z` as a date and minutes.
fn day(stamp: &str) -> String {
    match (stamp.get(..10), stamp.get(11..16)) {
        (Some(date), Some(time)) => format!("{date}, {time} UTC"),
        _ => stamp.to_owned(),
    }
}

fn faults(out: &mut String, sheet: &Sheet) {
    let lines = sheet.failures();
    if lines.is_empty() {
        return;
    }
    out.push_str(
        "<section class=alert><h2>Faults</h2><p>These servers left a scenario; the others went on.</p><ul>",
    );
    for line in lines {
        let _ = write!(out, "<li>{}</li>", escape(&line).replace('\n', "<br>"));
    }
    out.push_str("</ul></section>\n");
}

fn bar_table(out: &mut String, sheet: &Sheet) {
    let rankings = sheet.scenarios.iter().flat_map(|scenario| {
        Ranking::all(sheet, scenario).into_iter().map(move |ranking| (scenario, ranking))
    });
    let rows: Vec<String> =
        rankings.filter_map(|(scenario, ranking)| bar_row(sheet, scenario, &ranking)).collect();
    if rows.is_empty() {
        return;
    }
    let subject = escape(&sheet.subject);
    let _ = writeln!(
        out,
        "<section id=bars><h2>What {subject} has to reach</h2><p class=soft>Ratio to the best SOCKS5 peer: of \
         the medians, and in brackets least and most of the rounds. In the drawing the red line is the bar, \
         the short grey one equality.</p><div class=scroll><table><thead><tr><th scope=col>scenario</th>\
         <th scope=col>figure</th><th scope=col class=\"num value\">{subject}</th><th scope=col class=\"num range\">best \
         peer</th><th scope=col class=num>ratio</th><th scope=col class=strip></th><th scope=col \
         class=num>bar</th><th scope=col></th></tr></thead><tbody>{}</tbody></table></div></section>",
        rows.concat()
    );
}

fn bar_row(sheet: &Sheet, scenario: &ScenarioSheet, ranking: &Ranking<'_>) -> Option<String> {
    let bar = ranking.figure.bar?;
    let own = ranking.standing(&sheet.subject);
    let rival = ranking.rival.and_then(|name| ranking.standing(name));
    let both = [own, rival].into_iter().flatten().filter_map(|standing| standing.spread);
    let scale = Scale::of(ranking.figure.unit, both.map(|spread| spread.median));
    let shown = |spread: Option<_>, show: &dyn Fn(_) -> String| spread.map_or_else(|| "–".to_owned(), show);
    let sign = if ranking.figure.better == Better::Lower { "≤" } else { "≥" };
    let ratio = own.and_then(|own| own.ratio);
    let verdict = match ranking.verdict {
        Some(verdict) if verdict.met => "<span class=met>✓ met</span>",
        Some(_) => "<span class=missed>✗ missed</span>",
        None => "<span class=soft>not measured</span>",
    };
    Some(format!(
        "<tr><th scope=row><a href=\"#{name}\">{name}</a></th><td>{}</td><td class=\"num value\">{}</td>\
         <td class=\"num range\">{} <span class=tag>{}</span></td><td class=num>{}</td><td class=strip>{}</td>\
         <td class=num>{sign} {bar:.2}</td><td>{verdict}</td></tr>",
        escape(&ranking.figure.title),
        shown(own.and_then(|own| own.spread), &|spread| scale.show(spread.median)),
        shown(rival.and_then(|rival| rival.spread), &|spread| scale.show(spread.median)),
        escape(ranking.rival.unwrap_or_default()),
        shown(ratio, &ratio_cell),
        ratio.map(|ratio| bars::strip(ratio, bar)).unwrap_or_default(),
        name = escape(&scenario.name),
    ))
}

fn ratio_cell(ratio: Spread) -> String {
    let (median, spread) = (ratio.median, format!("{:.2} – {:.2}", ratio.least, ratio.most));
    format!("{median:.2} <span class=\"soft spread\">({spread})</span>")
}

fn section(out: &mut String, sheet: &Sheet, scenario: &ScenarioSheet) {
    let rate = scenario.rate.as_ref().map(|rate| {
        format!(" at {:.0} % of each server's own rate in {}", rate.share * 100.0, escape(&rate.of))
    });
    let rounds_run =
        if scenario.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", scenario.rounds) };
    let _ = write!(
        out,
        "<section id=\"{}\"><h2>{}</h2><p class=soft>{rounds_run} of <code>outflow-load {}</code>{}, target: \
         {}</p><div class=pair>",
        escape(&scenario.name),
        escape(&scenario.title),
        escape(&scenario.args.join(" ")),
        rate.unwrap_or_default(),
        escape(&scenario.origin),
    );
    for ranking in Ranking::all(sheet, scenario) {
        out.push_str(&bars::table(sheet, scenario, &ranking));
    }
    out.push_str("</div>");
    out.push_str(&curves::figure(sheet, scenario).unwrap_or_default());
    out.push_str(&rounds::details(scenario));
    out.push_str("</section>\n");
}

fn servers(out: &mut String, sheet: &Sheet) {
    out.push_str(
        "<section id=servers><h2>Servers</h2><div class=scroll><table><thead><tr><th scope=col>server</th>\
         <th scope=col>version</th><th scope=col>command</th></tr></thead><tbody>",
    );
    for server in &sheet.servers {
        let version = match (&server.program, &server.version) {
            (None, _) => {
                format!("<span class=missed>absent</span><br><code>{}</code>", escape(&server.install))
            }
            (Some(_), version) => escape(version.as_deref().unwrap_or("not told")),
        };
        let relay =
            if server.kind == ServerKind::TcpRelay { "<span class=tag>plain relay</span>" } else { "" };
        let _ = write!(
            out,
            "<tr><th scope=row>{}{relay}</th><td>{version}</td><td>{}</td></tr>",
            escape(&server.name),
            command(server)
        );
    }
    out.push_str("</tbody></table></div></section>\n");
}

fn command(server: &ServerSheet) -> String {
    let env = server.env.iter().map(|(name, value)| format!("{name}={value} "));
    let line = format!("{}{}", env.collect::<String>(), server.command.join(" "));
    let mut out = format!("<code>{}</code>", escape(&line));
    for (name, text) in &server.files {
        let _ = write!(
            out,
            "<details><summary>{}</summary><pre>{}</pre></details>",
            escape(name),
            escape(text.trim())
        );
    }
    out
}

fn machine(out: &mut String, sheet: &Sheet) {
    out.push_str("<section id=machine><h2>Machine and method</h2><dl>");
    for (name, value) in sheet.machine.as_object().into_iter().flatten() {
        let _ = write!(
            out,
            "<dt>{}</dt><dd>{}</dd>",
            escape(&name.replace('_', " ")),
            escape(&fact(name, value))
        );
    }
    let _ = writeln!(
        out,
        "<dt>made</dt><dd>{}, in {:.0} s</dd><dt>outflow-load</dt><dd>{}</dd><dt>command</dt><dd><code>{}</code>\
         </dd></dl><p class=soft>The server's cost is the CPU time of its whole process tree, read from outside. \
         Every server was started anew for each scenario and warmed up with 200 sessions that are not counted. \
         All raw records are in compare.json beside this file.</p><details><summary>The plan</summary><pre>{}\
         </pre></details></section>",
        escape(&day(&sheet.made_at)),
        sheet.seconds,
        escape(&sheet.version),
        escape(&sheet.command.join(" ")),
        escape(sheet.plan.trim()),
    );
}

fn fact(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if name.ends_with("memory_bytes") => {
            let bytes = number.as_f64().unwrap_or_default();
            Scale::of(Unit::Bytes, [bytes]).show(bytes)
        }
        Value::Array(items) => items.iter().map(Value::to_string).collect::<Vec<_>>().join(", "),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::sheet::{Failure, Outcome};
    use crate::compare::stats::tests::sheet;

    fn page() -> String {
        let mut sheet = sheet(&[
            ("us", ServerKind::Proxy, &[(8.0, 90.0), (8.4, 90.0), (9.0, 90.0)]),
            ("best", ServerKind::Proxy, &[(10.0, 100.0), (10.0, 100.0), (10.0, 100.0)]),
            ("floor", ServerKind::TcpRelay, &[(5.0, 200.0), (5.0, 200.0), (5.0, 200.0)]),
            ("gone", ServerKind::Proxy, &[]),
            ("liar", ServerKind::Proxy, &[]),
        ]);
        let log = vec!["<script>alert(1)</script>".to_owned()];
        let failure = Failure { round: 2, reason: "the data differ".to_owned(), log };
        sheet.scenarios[0].entries[4].outcome = Outcome::Failed(failure);
        sheet.scenarios[0].curve = Some("session".to_owned());
        for entry in &mut sheet.scenarios[0].entries {
            for run in &mut entry.runs {
                run.curve = vec![(0.0, 10.0), (0.5, 20.0), (0.9, 40.0), (0.99, 80.0), (1.0, 100.0)];
            }
        }
        render(&sheet)
    }

    #[test]
    fn one_file_that_asks_for_nothing() {
        let page = page();
        for foreign in ["<script", "http://", "https://", "@import", "url(", "<link", "<img", " src="] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("prefers-color-scheme: dark") && page.contains("<meta name=viewport"));
    }

    #[test]
    fn everyone_is_in_it() {
        let page = page();
        assert!(page.contains("<code>install gone</code>"), "absent, with how to get it");
        assert!(page.contains("liar: one, round 2: the data differ"));
        assert!(page.contains("&lt;script&gt;"));
        assert!(page.contains("best<span class=tag>best peer</span>"));
        assert!(page.contains("floor<span class=tag>plain relay</span>"));
        assert!(page.contains("✓ met") && page.contains("✗ missed"));
        assert_eq!(page.matches("class=\"curve own\"").count(), 2, "wide and narrow");
    }

    #[test]
    fn tags_are_balanced() {
        let page = page();
        for tag in ["table", "tr", "section", "svg", "details", "figure", "dl", "main", "div", "td", "span"] {
            let opened =
                page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
