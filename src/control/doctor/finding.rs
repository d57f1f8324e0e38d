//! What is found, for people and for programs.

use serde_json::{Value, json};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What each pool can hold.
    pub pools: Vec<PoolCapacity>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which of the checks found it: a word that keeps its meaning.
    pub check: &'static str,
    /// What it is about: a pool, or the server.
    pub subject: String,
    /// What it is, in one line.
    pub what: String,
    /// The commands that mend it, or what has to be written where; one line each.
    pub mend: Vec<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something that is configured does not work.
    Error,
    /// It works, and may fail under conditions that are to be expected.
    Warning,
    /// It works, and could hold more.
    Hint,
}

impl Severity {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Hint => "hint",
        }
    }
}

/// What a pool can hold towards one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolCapacity {
    /// The pool.
    pub name: String,
    /// Its addresses.
    pub addresses: u128,
    /// Ports of each.
    pub ports: u32,
    /// Connections to one target at a time.
    pub at_once: u128,
    /// New ones in a second that can go on for ever where our side closes first.
    pub each_second: u128,
}

impl Diagnosis {
    /// How many findings are this bad.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// All of it for a program.
    pub fn to_json(&self) -> Value {
        let finding = |one: &Finding| {
            json!({
                "severity": one.severity.name(),
                "check": one.check,
                "subject": one.subject,
                "what": one.what,
                "mend": one.mend,
            })
        };
        // A number that no double holds is told as the nearest one.
        let pool = |one: &PoolCapacity| {
            json!({
                "name": one.name,
                "addresses": one.addresses as f64,
                "ports": one.ports,
                "connections_to_one_target": one.at_once as f64,
                "new_per_second_to_one_target": one.each_second as f64,
            })
        };
        json!({
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "hints": self.count(Severity::Hint),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "pools": self.pools.iter().map(pool).collect::<Vec<_>>(),
        })
    }
}
