//! The page of all metrics, docs/metrics.md: written from what a scrape has, and from nothing else.

use std::collections::BTreeSet;

use outflow::observe::{Observed, exposition};

use crate::metrics::observed;
use crate::pages::{holds, written_below};

const PAGE: &str = "docs/metrics.md";

/// Labels whose words are an operator's, or say which of many it is.
const NAMES: [&str; 8] = ["rule", "limit", "listener", "egress", "parent", "worker", "version", "relay"];

/// A metric as a scrape has it.
struct Family<'a> {
    name: &'a str,
    help: &'a str,
    kind: &'a str,
    /// Labels with the words that each has, in the order of the scrape.
    labels: Vec<(&'a str, Vec<&'a str>)>,
}

/// The metrics of a scrape, in its order.
fn families(scrape: &str) -> Vec<Family<'_>> {
    let mut found: Vec<Family<'_>> = Vec::new();
    for line in scrape.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            found.push(Family { name, help, kind: "", labels: Vec::new() });
        } else if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            found.last_mut().expect("its help stands above").kind = kind;
        } else if let Some((_, labels)) = line.split_once('{') {
            let labels = labels.rsplit_once('}').expect("labels end").0;
            note(&mut found.last_mut().expect("its help stands above").labels, labels);
        }
    }
    found
}

/// Adds the labels of one series: `state="open",cause="refused"`.
fn note<'a>(known: &mut Vec<(&'a str, Vec<&'a str>)>, labels: &'a str) {
    for label in labels.split("\",") {
        let (key, word) = label.split_once("=\"").expect("a label has a word");
        let word = word.trim_end_matches('"');
        match known.iter_mut().find(|(name, _)| *name == key) {
            Some((_, words)) if words.contains(&word) => {}
            Some((_, words)) => words.push(word),
            None => known.push((key, vec![word])),
        }
    }
}

impl Family<'_> {
    /// Its part of the page; `only` says where it is told, if not everywhere.
    fn entry(&self, only: Option<&str>) -> String {
        let Family { name, help, kind, labels } = self;
        let label = |(key, words): &(&str, Vec<&str>)| match NAMES.contains(key) {
            true => format!("`{key}`"),
            false => format!("`{key}` (`{}`)", words.join("`, `")),
        };
        let (labels, endings) = match (*kind, labels.as_slice()) {
            ("histogram", [(_, bounds)]) => {
                let bounds: Vec<&str> = bounds.iter().copied().filter(|bound| *bound != "+Inf").collect();
                (Vec::new(), format!(" Buckets in seconds: {}.", bounds.join(", ")))
            }
            (_, labels) => (labels.iter().map(label).collect(), String::new()),
        };
        let labels =
            if labels.is_empty() { String::new() } else { format!(" Labels: {}.", labels.join("; ")) };
        let only = only.map_or(String::new(), |only| format!(" Only {only}."));
        let kind = format!("{}{}", kind[..1].to_uppercase(), &kind[1..]);
        format!("\n## `{name}`\n\n{help}\n\n{kind}.{labels}{endings}{only}\n")
    }
}

fn names(scrape: &str) -> BTreeSet<&str> {
    families(scrape).iter().map(|family| family.name).collect()
}

/// Every metric, below words that are written by hand.
fn page() -> String {
    let scrape = exposition(observed());
    let without = [
        ("where there is an `[[egress]]`", Observed { pools: Vec::new(), ..observed() }),
        ("where there is a `[[parent]]`", Observed { parents: Vec::new(), ..observed() }),
        ("where `server.state` is set", Observed { quota_store: None, ..observed() }),
    ];
    let without = without.map(|(only, observed)| (only, exposition(observed)));
    let without = without.each_ref().map(|(only, scrape)| (only, names(scrape)));
    let entry = |family: &Family<'_>| {
        let only = without.iter().find(|(_, names)| !names.contains(family.name));
        family.entry(only.map(|(only, _)| **only))
    };
    families(&scrape).iter().map(entry).collect()
}

#[test]
fn the_docs_show_every_metric() {
    let page = page();
    assert!(page.matches("\n## ").count() > 60, "the reading is broken: {page}");
    holds(PAGE, &page);
    assert!(written_below(PAGE).contains("## `outflow_connections_closed_total`\n"));
}

#[test]
fn reads_a_scrape() {
    let scrape = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\",rule=\"r\"} 1\na_total{x=\"2\",rule=\"q\"} 0\n\
                  # HELP b Time.\n# TYPE b histogram\nb_bucket{le=\"0.5\"} 0\nb_bucket{le=\"+Inf\"} 0\nb_count 0\n";
    let entries: Vec<String> = families(scrape).iter().map(|family| family.entry(None)).collect();
    assert_eq!(
        entries,
        [
            "\n## `a_total`\n\nThings.\n\nCounter. Labels: `x` (`1`, `2`); `rule`.\n",
            "\n## `b`\n\nTime.\n\nHistogram. Buckets in seconds: 0.5.\n",
        ]
    );
}
