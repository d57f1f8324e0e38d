//! CONFORMANCE.md names tests that exist, and leaves no rule without one.

use std::process::Command;

use super::source::{Source, read, rust};

/// The cells of each row of a page's tables; heads and the lines below them are left out.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = page.lines().collect();
    let is_rule =
        |at: usize| lines.get(at).is_some_and(|line| line.starts_with("|-") || line.starts_with("| -"));
    let is_row = |at: &usize| lines[*at].starts_with('|') && !is_rule(*at) && !is_rule(*at + 1);
    let cells = |at: usize| lines[at].trim_matches('|').split('|').map(str::trim).collect();
    (0..lines.len()).filter(is_row).map(cells).collect()
}

/// What a cell names in backticks as a path: `module::name`.
fn named(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect()
}

/// Whether a unit test stands where its path says: `proto::greeting::tests::name`.
fn is_unit_test(sources: &[Source], path: &str) -> bool {
    let parts: Vec<&str> = path.split("::").collect();
    let (name, modules) = (parts[parts.len() - 1], &parts[..parts.len() - 1]);
    (1..=modules.len()).any(|depth| {
        let stem = format!("src/{}", modules[..depth].join("/"));
        let files = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
        sources.iter().filter(|source| files.contains(&source.path)).any(|source| {
            let code = source.code();
            let inline = modules[depth..].iter().all(|module| code.contains(&format!("mod {module} {{")));
            inline && holds_test(&code, name)
        })
    })
}

fn holds_test(code: &str, name: &str) -> bool {
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let starts = (0..lines.len()).filter(|&at| lines[at].starts_with(&format!("fn {name}(")));
    let marked = |at: usize| {
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(|line| *line == "#[test]")
    };
    starts.into_iter().any(marked)
}

/// The tests of this binary, as it lists them itself.
fn integration_tests() -> Vec<String> {
    let this = std::env::current_exe().expect("the test binary has a path");
    let listed =
        Command::new(this).args(["--list", "--format", "terse"]).output().expect("it lists its tests");
    let text = String::from_utf8(listed.stdout).expect("names are UTF-8");
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// A test by its whole name, or all of those that a macro made of it, one for each engine.
fn is_listed(listed: &[String], name: &str) -> bool {
    listed
        .iter()
        .any(|test| test.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}

#[test]
fn every_rule_names_a_test_that_exists() {
    let page = read("CONFORMANCE.md").text;
    let (sources, listed) = (rust(), integration_tests());
    let mut wrong = Vec::new();
    for row in rows(&page) {
        let cell = row[row.len() - 1];
        let names = named(cell);
        if names.is_empty() && !cell.starts_with("coming") && !cell.starts_with("client's") {
            wrong.push(format!("no test for: {}", row.join(" | ")));
        }
        let exists = |name: &&str| is_listed(&listed, name) || is_unit_test(&sources, name);
        wrong.extend(names.iter().filter(|name| !exists(name)).map(|name| format!("no such test: {name}")));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The section of the page that says which names are kept.
const KEPT: &str = "## Names that are kept";

/// What the first cells of a section's rows have in backticks.
fn kept(page: &str) -> Vec<String> {
    let section = page.split_once(KEPT).map_or("", |(_, section)| section);
    let section = section.split("\n## ").next().unwrap_or_default();
    let names =
        |row: Vec<&str>| -> Vec<String> { row[0].split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    rows(section).into_iter().flat_map(names).collect()
}

/// Every key with its table before it, out of the list of all keys.
fn keys(reference: &str) -> Vec<String> {
    let (mut table, mut keys) = (String::new(), Vec::new());
    for line in reference.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) =
            line.strip_prefix('[').and_then(|rest| rest.trim_start_matches('[').split(']').next())
        {
            name.clone_into(&mut table);
        } else if let Some((key, _)) = line.split_once(" =") {
            keys.push(format!("{table}.{key}"));
        }
    }
    keys
}

/// What the program has a name for by now, and the page has to have.
fn names_by_now() -> Vec<String> {
    let metrics = outflow::observe::METRICS.iter().map(|metric| format!("outflow_{}", metric.name));
    let timed = outflow::observe::TIMED.iter().map(|timing| format!("outflow_{}", timing.metric));
    let fields = crate::records::FIELDS.into_iter().map(str::to_owned);
    let api = read("docs/admin-api.md").text;
    let headings = api.lines().filter_map(|line| line.strip_prefix("## "));
    let routes = headings.flat_map(|line| line.split(", ")).map(|route| route.split('?').next());
    let routes = routes.flatten().filter(|route| route.contains(" /api/")).map(str::to_owned);
    let keys = keys(&super::toml_of(&outflow::config::Config::reference()));
    keys.into_iter().chain(metrics).chain(timed).chain(fields).chain(routes).collect()
}

/// A key, metric, field or route that scripts may go by is among the names that are kept, or the page is not the whole list.
#[test]
fn every_name_by_now_is_among_those_that_are_kept() {
    let (kept, names) = (kept(&read("CONFORMANCE.md").text), names_by_now());
    assert!(names.len() > 100, "only {} names found: the reading is broken", names.len());
    let missing: Vec<_> = names.iter().filter(|name| !kept.contains(name)).collect();
    assert!(missing.is_empty(), "not among the names that are kept: {missing:#?}");
}

#[test]
fn reads_the_names_that_are_kept() {
    let page = format!(
        "| `z` | x |\n|-|-|\n| `y` | |\n{KEPT}\n\n| Name | Test |\n|---|---|\n| `a`, `b c` | `t::u` |\n\n## Then\n| `d` | |\n"
    );
    assert_eq!(kept(&page), ["a", "b c"]);
    assert_eq!(
        keys("[a]  # x\nb = 1 # y\n# c =\n\n# [d.e]\nf = \"g = h\"\n# [[i]]\n# j = 1\n"),
        ["a.b", "a.c", "d.e.f", "i.j"]
    );
}

#[test]
fn reads_tables_and_finds_tests() {
    let page = "| rule | test |\n|---|---|\n| a MUST | `a::b`, `c` and `d::e::f` |\n\n| x | y |\n| - | - |\n| z | coming |\n";
    assert_eq!(rows(page), [vec!["a MUST", "`a::b`, `c` and `d::e::f`"], vec!["z", "coming"]]);
    assert_eq!(named("`a::b`, `c` and `d::e::f`"), ["a::b", "d::e::f"]);
    let sources = [Source::new(
        "src/proto/a.rs",
        "mod tests {\n    #[test]\n    #[ignore]\n    fn splits() {}\n    fn help() {}\n}",
    )];
    assert!(is_unit_test(&sources, "proto::a::tests::splits"));
    for absent in [
        "proto::a::tests::help",
        "proto::a::tests::gone",
        "proto::a::splits::splits",
        "proto::b::tests::splits",
    ] {
        assert!(!is_unit_test(&sources, absent), "{absent}");
    }
    let listed = ["a::both::copy".to_owned(), "a::both::splice".to_owned(), "a::one".to_owned()];
    assert!(is_listed(&listed, "a::both") && is_listed(&listed, "a::one"));
    assert!(!is_listed(&listed, "a::bo") && !is_listed(&listed, "a::one::more"));
    assert!(integration_tests().iter().any(|name| name == "tidy::conformance::reads_tables_and_finds_tests"));
}
