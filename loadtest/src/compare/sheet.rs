//! What a comparison leaves: everything that was measured, as it was measured. It is written to
//! `compare.json` and is all that the report is made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::compare::plan::{Figure, Load, Rate, ServerKind};

/// The form of the file; another number is another form.
pub(crate) const FORMAT: u32 = 1;

/// One comparison.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sheet {
    pub(crate) format: u32,
    /// RFC 3339, at the start.
    pub(crate) made_at: String,
    pub(crate) seconds: f64,
    /// The command line.
    pub(crate) command: Vec<String>,
    /// Of outflow-load.
    pub(crate) version: String,
    /// As the first record tells it.
    pub(crate) machine: Value,
    pub(crate) subject: String,
    pub(crate) load: Load,
    /// The plan's text.
    pub(crate) plan: String,
    pub(crate) servers: Vec<ServerSheet>,
    pub(crate) scenarios: Vec<ScenarioSheet>,
}

/// One server of the plan.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServerSheet {
    pub(crate) name: String,
    pub(crate) kind: ServerKind,
    /// As typed, with placeholders.
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) files: BTreeMap<String, String>,
    /// Where its program is; without one it is absent.
    pub(crate) program: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) install: String,
}

/// One scenario with what every server did in it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ScenarioSheet {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) args: Vec<String>,
    pub(crate) origin: String,
    pub(crate) rounds: u32,
    pub(crate) rate: Option<Rate>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) curve: Option<String>,
    /// In the order of the plan; every server of the comparison has one.
    pub(crate) entries: Vec<Entry>,
}

/// One server in one scenario.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) server: String,
    pub(crate) outcome: Outcome,
    /// The command of its last start.
    pub(crate) command: Vec<String>,
    /// The runs, those of a failed scenario up to the fault.
    pub(crate) runs: Vec<Run>,
}

/// How a server came through a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Every round was run.
    Measured,
    /// The program is not there.
    Absent,
    /// The server has no such service, or the scenario is not for it.
    Omitted {
        reason: String,
    },
    Failed(Failure),
}

/// What ended a scenario for a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// 0 is the start with its warm-up.
    pub(crate) round: u32,
    pub(crate) reason: String,
    /// The last lines of the server's log.
    pub(crate) log: Vec<String>,
}

/// One measurement.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) round: u32,
    /// Of outflow-load.
    pub(crate) args: Vec<String>,
    pub(crate) record: Value,
    /// The scenario's latency: quantile (0 to 1) and microseconds, ascending; empty where none is drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) curve: Vec<(f64, f64)>,
}

impl Run {
    /// The number called `field`; dots lead into objects.
    pub(crate) fn figure(&self, field: &str) -> Option<f64> {
        field.split('.').try_fold(&self.record, |value, name| value.get(name))?.as_f64()
    }
}

impl Entry {
    /// The figure's values, round by round. A server that failed keeps those of the rounds before: were they
    /// left out, the best peer's fault would lower the bar.
    pub(crate) fn values(&self, field: &str) -> Vec<(u32, f64)> {
        self.runs.iter().filter_map(|run| Some((run.round, run.figure(field)?))).collect()
    }
}

impl Sheet {
    /// Failed scenarios, as lines for people.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for scenario in &self.scenarios {
            for entry in &scenario.entries {
                if let Outcome::Failed(failure) = &entry.outcome {
                    lines.push(failure.line(&entry.server, &scenario.name));
                }
            }
        }
        lines
    }
}

impl Failure {
    /// Server, scenario, round, reason, and what the server said last.
    pub(crate) fn line(&self, server: &str, scenario: &str) -> String {
        let when = match self.round {
            0 => "before round 1".to_owned(),
            round => format!("round {round}"),
        };
        let mut line = format!("{server}: {scenario}, {when}: {}", self.reason);
        for said in &self.log {
            line.push_str(&format!("\n    its log: {said}"));
        }
        line
    }
}
