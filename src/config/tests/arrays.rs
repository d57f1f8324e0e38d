//! Arrays of tables, with a schema of their own, all the way from text to text.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::at::TablePath;
use crate::config::entry::{TableEntry, tables};
use crate::config::form::{choice, duration, number, optional, path, switch};
use crate::config::list_form::choices;
use crate::config::problem::Problems;
use crate::config::raw::Raw;
use crate::config::schema::Schema;
use crate::config::variables::Environment;
use crate::config::{AuthMethod, Level, key_page, print};

#[derive(Debug, Default, PartialEq)]
struct Sample {
    rules: Vec<SampleRule>,
    log: SampleLog,
}

tables! {
    /// What is let through.
    pub(super) struct SampleRule {
        /// Its port.
        port: u16 = 80, number(1..=65_535), Reload;
        /// How long it holds.
        holds: Duration = Duration::from_secs(60), duration(Duration::ZERO..=Duration::from_secs(90)), Reload;
        /// Who it is for.
        methods: Vec<AuthMethod> = vec![AuthMethod::None], choices().needs("a method"), Reload;
        /// Where it is kept.
        file: Option<PathBuf> = None, optional(path(), "\"rule\""), Start;
    }

    /// The log.
    pub(super) struct SampleLog {
        /// How much.
        level: Level = Level::Info, choice(), Reload;
        /// In colours.
        colours: bool = false, switch(), Start;
    }
}

fn schema() -> Schema<Sample> {
    Schema::of(vec![
        TableEntry::many("rule", |sample| &sample.rules, |sample| &mut sample.rules),
        TableEntry::once("log", |sample| &sample.log, |sample| &mut sample.log),
    ])
}

/// Lays texts over each other, as a file and what comes behind it.
fn lay(texts: &[&str]) -> (Sample, Problems) {
    let (schema, mut sample, mut problems) = (schema(), Sample::default(), Problems::of(Path::new("f")));
    for text in texts {
        let raw = Raw::from_text(text, &schema, &Environment::new(), &mut problems);
        raw.lay_over(&mut sample, &schema, Path::new("/base"), &mut problems);
    }
    (sample, problems.sorted())
}

#[track_caller]
fn sample(text: &str) -> Sample {
    let (sample, problems) = lay(&[text]);
    assert!(problems.is_empty(), "{problems}");
    sample
}

#[track_caller]
fn expect_complaints(text: &str, expected: &[&str]) {
    let said: Vec<String> = lay(&[text]).1.lines().collect();
    assert_eq!(said, expected, "for {text:?}");
}

const THREE: &str = "[[rule]]\nport = 443\nmethods = [\"gssapi\",\n\"none\"]\n[[rule]]\n[log]\ncolours = true\n\
                     [[rule]]\nfile = \"r\"\nholds = \"90s\"\n";

#[test]
fn each_table_of_an_array_has_its_values_and_the_defaults_of_the_rest() {
    let Sample { rules, log } = sample(THREE);
    let first = SampleRule {
        port: 443,
        methods: vec![AuthMethod::Gssapi, AuthMethod::None],
        ..SampleRule::default()
    };
    let last = SampleRule {
        file: Some(PathBuf::from("/base/r")),
        holds: Duration::from_secs(90),
        ..SampleRule::default()
    };
    assert_eq!(rules, [first, SampleRule::default(), last]);
    assert_eq!(log, SampleLog { level: Level::Info, colours: true });
    assert_eq!(sample("rule = [{ port = 1 }, {}]\n").rules.len(), 2);
}

#[test]
fn an_empty_array_has_no_table() {
    assert_eq!(sample("rule = []\n"), Sample::default());
    assert_eq!(sample(""), Sample::default());
}

#[test]
fn a_later_source_replaces_the_whole_array() {
    let (sample, mut problems) = lay(&[THREE, "[[rule]]\nholds = \"1s\"\n"]);
    assert_eq!((sample.rules.len(), sample.rules[0].port), (1, 80));
    let placed = |nth, key, problems: &mut Problems| {
        problems.places().at(TablePath { name: "rule", nth: Some(nth) }, key).is_some()
    };
    assert!(placed(0, "holds", &mut problems) && !placed(0, "port", &mut problems));
    assert!(!placed(2, "file", &mut problems));
    assert!(lay(&[THREE, "rule = []\n"]).0.rules.is_empty());
    assert_eq!(lay(&[THREE, "[log]\n"]).0.rules.len(), 3);
}

#[test]
fn each_value_has_the_place_that_it_was_typed_in() {
    let (_, mut problems) = lay(&[THREE]);
    let rule = |nth| TablePath { name: "rule", nth: Some(nth) };
    let places = problems.places().clone();
    let list =
        [(rule(0), "methods"), (rule(2), "holds")].map(|(table, key)| places.at(table, key).unwrap().clone());
    let entry = places.entries(rule(0), "methods")[1].clone();
    list.into_iter().chain([entry]).for_each(|at| problems.push(at, "here".to_owned()));
    assert_eq!(places.at(rule(1), "port"), None);
    let said: Vec<String> = problems.lines().collect();
    let expected = [
        "f:3: [[rule]] 1 key `methods`: here",
        "f:10: [[rule]] 3 key `holds`: here",
        "f:4: [[rule]] 1 key `methods`: here",
    ];
    assert_eq!(said, expected);
}

#[test]
fn what_is_printed_gives_the_same_tables() {
    let three = sample(THREE);
    let printed = print::to_toml(&schema(), &three);
    assert_eq!(sample(&printed), three, "{printed}");
    assert_eq!(print::to_toml(&schema(), &Sample::default()), "[log]\nlevel = \"info\"\ncolours = false\n");
    let one = Sample { rules: vec![SampleRule::default()], log: SampleLog::default() };
    let printed = print::to_toml(&schema(), &one);
    let rule = "[[rule]]\nport = 80\nholds = \"1m\"\nmethods = [\"none\"]\n\n[log]";
    assert!(printed.starts_with(rule), "{printed}");
}

/// An array is none by default, so that its keys are shown behind a comment sign, and what is not there by default is, too.
#[test]
fn the_documentation_shows_an_array_as_one_that_is_not_there() {
    let reference = key_page::reference(&schema(), Sample::default());
    let expected = "
## `[[rule]]`

What is let through.

```toml
# [[rule]]
# port = 80
# holds = \"1m\"
# methods = [\"none\"]
# file = \"rule\"
```

### `port` in `[[rule]]`

Its port.

Type: a whole number from 1 to 65535. Default: `80`. Taken at a reload.

### `holds` in `[[rule]]`

How long it holds.

Type: a duration from `\"0us\"` to `\"1m 30s\"`. Default: `\"1m\"`. Taken at a reload.

### `methods` in `[[rule]]`

Who it is for.

Type: a list of `\"none\"`, `\"password\"`, `\"gssapi\"`. Default: `[\"none\"]`. Taken at a reload.

### `file` in `[[rule]]`

Where it is kept.

Type: a path. Without a default. Example: `\"rule\"`. Taken at the start alone (restart).

## `[log]`

The log.

```toml
[log]
level = \"info\"
colours = false
```

### `level` in `[log]`

How much.

Type: one of `\"error\"`, `\"warn\"`, `\"info\"`, `\"debug\"`, `\"trace\"`. Default: `\"info\"`. Taken at a reload.

### `colours` in `[log]`

In colours.

Type: `true` or `false`. Default: `false`. Taken at the start alone (restart).
";
    assert_eq!(reference, expected);
}

#[test]
fn a_problem_in_an_array_names_the_table_by_number() {
    expect_complaints(
        "[[rule]]\nport = 0\n[[rule]]\nprot = 1\n\"a\\nb\" = 1\n[[rule]]\nmethods = [\n\"gsapi\", 5]\nport = \"1\"\n",
        &[
            "f:2: [[rule]] 1 key `port`: 0 is out of range: 1 to 65535",
            "f:4: [[rule]] 2 key `prot`: unknown key; did you mean `port`?",
            "f:5: [[rule]] 2 key `a\\nb`: unknown key; the keys are `port`, `holds`, `methods`, `file`",
            "f:8: [[rule]] 3 key `methods`: expected a string, found an integer",
            "f:8: [[rule]] 3 key `methods`: \"gsapi\" is none of \"none\", \"password\", \"gssapi\"; did you mean \"gssapi\"?",
            "f:9: [[rule]] 3 key `port`: expected a whole number, found a string; did you mean 1?",
        ],
    );
    expect_complaints(
        "[[rule]]\nmethods = []\nlevel = 3\n",
        &[
            "f:2: [[rule]] 1 key `methods`: is empty: it needs a method",
            "f:3: [[rule]] 1 key `level`: unknown key; did you mean [log] `level`?",
        ],
    );
}

#[test]
fn a_table_in_place_of_an_array_is_refused_and_the_reverse() {
    expect_complaints(
        "[rule]\nport = 1\n",
        &["f:1: [rule]: expected an array of tables, found a table; did you mean [[rule]]?"],
    );
    expect_complaints("rule = 3\n", &["f:1: [rule]: expected an array of tables, found an integer"]);
    expect_complaints("[[log]]\ncolours = true\n", &["f:1: [log]: expected a table, found an array"]);
    expect_complaints(
        "rule = [{ port = 1 },\n3,\n{ port = 0 }]\n",
        &[
            "f:2: [[rule]] 2: expected a table, found an integer",
            "f:3: [[rule]] 3 key `port`: 0 is out of range: 1 to 65535",
        ],
    );
}

#[test]
fn an_array_is_offered_for_a_name_that_is_nearly_its_own() {
    expect_complaints("[[ruel]]\n", &["f:1: [ruel]: unknown table; did you mean [[rule]]?"]);
    expect_complaints(
        "[log]\nport = 1\n",
        &["f:2: [log] key `port`: unknown key; did you mean [[rule]] `port`?"],
    );
    expect_complaints(
        "holds = 1\n",
        &["f:1: key `holds`: stands outside any table; did you mean [[rule]] `holds`?"],
    );
    expect_complaints("[zzz]\n", &["f:1: [zzz]: unknown table; the tables are [[rule]], [log]"]);
    expect_complaints(
        "[[rule]]\n[rule.inner]\n",
        &["f:2: [rule.inner]: unknown table; did you mean [[rule]]?"],
    );
}
