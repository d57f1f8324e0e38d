//! Medians, ratios and bars: what the table and the report show, and nothing that they would have to
//! compute themselves.

use crate::compare::plan::{Better, Figure, ServerKind};
use crate::compare::sheet::{Entry, ScenarioSheet, Sheet};

/// A figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` for no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Self { median, least, most })
    }
}

/// One server's standing in one figure.
pub(crate) struct Standing<'a> {
    pub(crate) server: &'a str,
    pub(crate) kind: ServerKind,
    pub(crate) spread: Option<Spread>,
    /// To the rival: of the medians, and least and most of the rounds.
    pub(crate) ratio: Option<Spread>,
}

/// Whether the subject keeps a bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) bar: f64,
    pub(crate) met: bool,
}

/// All servers in one figure, best first, those without a value last.
pub(crate) struct Ranking<'a> {
    pub(crate) figure: &'a Figure,
    pub(crate) standings: Vec<Standing<'a>>,
    /// The best SOCKS5 server other than the subject.
    pub(crate) rival: Option<&'a str>,
    pub(crate) verdict: Option<Verdict>,
}

impl<'a> Ranking<'a> {
    /// Every figure of `scenario`.
    pub(crate) fn all(sheet: &'a Sheet, scenario: &'a ScenarioSheet) -> Vec<Self> {
        scenario.figures.iter().map(|figure| Self::of(sheet, scenario, figure)).collect()
    }

    fn of(sheet: &'a Sheet, scenario: &'a ScenarioSheet, figure: &'a Figure) -> Self {
        let judge = match &figure.rival_by {
            Some(by) => scenario.figures.iter().find(|other| other.field == *by).unwrap_or(figure),
            None => figure,
        };
        let rival = rival(sheet, scenario, judge);
        let rival_values = rival.map(|entry| entry.values(&figure.field));
        let mut standings: Vec<Standing<'a>> = scenario
            .entries
            .iter()
            .map(|entry| {
                let values = entry.values(&figure.field);
                Standing {
                    server: &entry.server,
                    kind: kind(sheet, &entry.server),
                    spread: spread(&values),
                    ratio: rival_values.as_ref().and_then(|rival| ratio(&values, rival)),
                }
            })
            .collect();
        standings.sort_by(|a, b| rank(figure.better, a.spread, b.spread));
        let subject = standings.iter().find(|standing| standing.server == sheet.subject);
        let ratio = subject.and_then(|standing| standing.ratio);
        let verdict = figure.bar.zip(ratio).map(|(bar, ratio)| Verdict {
            bar,
            met: match figure.better {
                Better::Lower => ratio.median <= bar,
                Better::Higher => ratio.median >= bar,
            },
        });
        Self { figure, standings, rival: rival.map(|entry| entry.server.as_str()), verdict }
    }

    /// The standing of the server called `name`.
    pub(crate) fn standing(&self, name: &str) -> Option<&Standing<'a>> {
        self.standings.iter().find(|standing| standing.server == name)
    }
}

fn kind(sheet: &Sheet, server: &str) -> ServerKind {
    sheet.servers.iter().find(|sheet| sheet.name == server).map_or(ServerKind::Proxy, |sheet| sheet.kind)
}

fn spread(values: &[(u32, f64)]) -> Option<Spread> {
    Spread::of(values.iter().map(|&(_, value)| value))
}

/// The best by `judge` among the SOCKS5 servers that are not the subject.
fn rival<'a>(sheet: &Sheet, scenario: &'a ScenarioSheet, judge: &Figure) -> Option<&'a Entry> {
    let peers = scenario
        .entries
        .iter()
        .filter(|entry| entry.server != sheet.subject && kind(sheet, &entry.server) == ServerKind::Proxy);
    let rated = peers.filter_map(|entry| Some((entry, spread(&entry.values(&judge.field))?)));
    rated.min_by(|a, b| rank(judge.better, Some(a.1), Some(b.1))).map(|(entry, _)| entry)
}

fn rank(better: Better, a: Option<Spread>, b: Option<Spread>) -> std::cmp::Ordering {
    match (a, b) {
        (Some(a), Some(b)) => match better {
            Better::Lower => a.median.total_cmp(&b.median),
            Better::Higher => b.median.total_cmp(&a.median),
        },
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// Of the medians, with the least and the most of the rounds that both have.
fn ratio(values: &[(u32, f64)], rival: &[(u32, f64)]) -> Option<Spread> {
    let pairs = values.iter().filter_map(|(round, value)| {
        let (_, other) = rival.iter().find(|(other, _)| other == round)?;
        (*other > 0.0).then_some(value / other)
    });
    let rounds = Spread::of(pairs)?;
    let (own, other) = (spread(values)?.median, spread(rival)?.median);
    (other > 0.0).then_some(Spread { median: own / other, ..rounds })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::compare::plan::Load;
    use crate::compare::sheet::{FORMAT, Outcome, Run, ServerSheet};
    use crate::compare::units::Unit;
    use serde_json::{Value, json};

    /// A server with its `cost` and `speed` by round; one without is absent.
    type Made<'a> = (&'a str, ServerKind, &'a [(f64, f64)]);

    /// A sheet of one scenario.
    pub(crate) fn sheet(servers: &[Made<'_>]) -> Sheet {
        let figure = |field: &str, better, bar, rival_by: Option<&str>| Figure {
            field: field.to_owned(),
            better,
            title: format!("The {field}"),
            unit: Unit::Microseconds,
            bar,
            rival_by: rival_by.map(str::to_owned),
            optional: false,
        };
        let entry = |&(name, _, values): &Made<'_>| Entry {
            server: name.to_owned(),
            outcome: if values.is_empty() { Outcome::Absent } else { Outcome::Measured },
            command: vec![name.to_owned()],
            runs: (1..)
                .zip(values)
                .map(|(round, (cost, speed))| Run {
                    round,
                    args: Vec::new(),
                    record: json!({ "cost": cost, "speed": speed, "seconds": 1.0 }),
                    curve: Vec::new(),
                })
                .collect(),
        };
        Sheet {
            format: FORMAT,
            made_at: "2024-01-01T00:00:00Z".to_owned(),
            seconds: 1.0,
            command: vec!["outflow-load".to_owned()],
            version: "0".to_owned(),
            machine: Value::Null,
            subject: servers[0].0.to_owned(),
            load: Load::default(),
            plan: String::new(),
            servers: servers
                .iter()
                .map(|&(name, kind, values)| ServerSheet {
                    name: name.to_owned(),
                    kind,
                    command: vec![name.to_owned()],
                    env: Default::default(),
                    files: Default::default(),
                    program: (!values.is_empty()).then(|| format!("/bin/{name}")),
                    version: None,
                    install: format!("install {name}"),
                })
                .collect(),
            scenarios: vec![ScenarioSheet {
                name: "one".to_owned(),
                title: "The one".to_owned(),
                args: vec!["connect".to_owned()],
                origin: "page".to_owned(),
                rounds: 3,
                rate: None,
                figures: vec![
                    figure("cost", Better::Lower, Some(0.85), None),
                    figure("speed", Better::Higher, Some(1.0), None),
                    figure("cost", Better::Lower, None, Some("speed")),
                ],
                curve: None,
                entries: servers.iter().map(entry).collect(),
            }],
        }
    }

    #[test]
    fn medians() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]).map(|spread| spread.median), Some(2.5));
    }

    #[test]
    fn ratios_bars_and_order() {
        let sheet = sheet(&[
            ("us", ServerKind::Proxy, &[(8.0, 90.0), (8.4, 90.0), (9.0, 90.0)]),
            ("slow", ServerKind::Proxy, &[(20.0, 100.0), (20.0, 100.0), (20.0, 100.0)]),
            ("gone", ServerKind::Proxy, &[]),
            ("best", ServerKind::Proxy, &[(10.0, 80.0), (10.0, 80.0), (10.0, 80.0)]),
            ("other", ServerKind::Variant, &[(7.0, 210.0), (7.0, 210.0), (7.0, 210.0)]),
            ("floor", ServerKind::TcpRelay, &[(5.0, 200.0), (5.0, 200.0), (5.0, 200.0)]),
        ]);
        let all = Ranking::all(&sheet, &sheet.scenarios[0]);
        let order: Vec<&str> = all[0].standings.iter().map(|standing| standing.server).collect();
        assert_eq!(order, ["floor", "other", "us", "best", "slow", "gone"]);
        assert_eq!(all[0].rival, Some("best"), "neither the floor nor a variant is a rival");
        let ratio = all[0].standing("us").and_then(|standing| standing.ratio).expect("a ratio");
        assert_eq!((ratio.least, ratio.most), (0.8, 0.9));
        assert!((ratio.median - 0.84).abs() < 1e-9, "of the medians: {}", ratio.median);
        assert_eq!(all[0].verdict, Some(Verdict { bar: 0.85, met: true }));
        assert_eq!(all[1].rival, Some("slow"), "the most is best");
        assert_eq!(all[1].verdict, Some(Verdict { bar: 1.0, met: false }));
        assert_eq!(all[2].rival, Some("slow"), "the fastest is the one whose cost counts");
        assert_eq!(all[2].verdict, None);
    }
}
