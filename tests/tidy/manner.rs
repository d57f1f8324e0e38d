//! One manner: the order of imports and of derives, and where unit tests stand.

use super::source::{Source, rust};
use super::{Findings, finds, hold, lines_where};

/// The order in which derives stand; others come behind them.
const DERIVES: [&str; 9] =
    ["Clone", "Copy", "Debug", "Default", "PartialEq", "Eq", "PartialOrd", "Ord", "Hash"];

/// Whose an import is: the groups follow each other in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Std,
    Others,
    Own,
}

/// The group of an import of a file that declares these modules.
fn group_of(import: &str, modules: &[&str]) -> Group {
    let first = import.trim_start_matches("use ").split([':', ';', ' ']).next().unwrap_or_default();
    match first {
        "std" | "core" => Group::Std,
        "crate" | "super" | "self" => Group::Own,
        module if modules.contains(&module) => Group::Own,
        _ => Group::Others,
    }
}

/// Imports out of order, and groups with no empty line between or with one within. Those with an attribute and those
/// that are passed on stand where they like.
fn mixed_imports(source: &Source) -> Findings {
    let code = source.code();
    let lines: Vec<&str> = code.lines().collect();
    let modules: Vec<&str> = lines
        .iter()
        .filter_map(|line| {
            line.trim_start_matches("pub ").trim_start_matches("pub(crate) ").strip_prefix("mod ")
        })
        .filter_map(|name| name.strip_suffix(';'))
        .collect();
    let plain =
        |at: &usize| lines[*at].starts_with("use ") && (*at == 0 || !lines[*at - 1].starts_with("#["));
    let imports: Vec<(usize, Group)> =
        (0..lines.len()).filter(plain).map(|at| (at, group_of(lines[at], &modules))).collect();
    let wrong = |pair: &&[(usize, Group)]| {
        let [(before, first), (at, second)] = [pair[0], pair[1]];
        let between = &lines[before + 1..at];
        let only_imports =
            between.iter().all(|line| line.is_empty() || line.starts_with(['}', ' ', 'p', '#']));
        let parted = between.iter().any(|line| line.is_empty());
        only_imports && (second < first || parted != (second != first))
    };
    let found = imports.windows(2).filter(wrong);
    found.map(|pair| format!("{}:{}: an import out of its group", source.path, pair[1].0 + 1)).collect()
}

/// Derives in another order.
fn mixed_derives(source: &Source) -> Findings {
    let wrong = |line: &str| {
        let Some(derived) = line.trim_start().strip_prefix("#[derive(") else { return false };
        let names = derived.split(')').next().unwrap_or_default().split(", ");
        let places: Vec<usize> = names
            .map(|name| DERIVES.iter().position(|known| *known == name).unwrap_or(DERIVES.len()))
            .collect();
        !places.is_sorted()
    };
    lines_where(source, &source.code(), "derives out of order", wrong)
}

/// Unit tests that stand elsewhere than at the end of their file, or in a file beside it that is not called tests.rs.
fn misplaced_tests(source: &Source) -> Findings {
    let code = source.code();
    let lines: Vec<&str> = code.lines().collect();
    let opens = lines.iter().position(|line| *line == "mod tests {");
    let closes = opens.and_then(|at| (at..lines.len()).find(|line| lines[*line] == "}"));
    let behind = closes.is_some_and(|at| lines[at + 1..].iter().any(|line| !line.trim().is_empty()));
    let mut found = Vec::new();
    if behind {
        found.push(format!("{}: code behind the tests", source.path));
    }
    let named = |at: &usize| lines[*at].ends_with("mod tests;") && lines[at - 1].starts_with("#[path");
    if (1..lines.len()).any(|at| named(&at)) {
        found.push(format!("{}: its tests stand in a file of another name", source.path));
    }
    found
}

#[test]
fn imports_derives_and_tests_stand_in_one_order() {
    let sources = rust();
    hold(&sources, mixed_imports);
    hold(&sources, mixed_derives);
    hold(&sources, misplaced_tests);
}

#[test]
fn other_orders_are_found() {
    let imports = |text: &str| finds(mixed_imports, "src/a.rs", text);
    assert!(!imports("mod b;\n\nuse std::fmt;\n\nuse mio::Poll;\n\nuse crate::{\n    a,\n};\nuse b::B;\n"));
    assert!(!imports("use std::fmt;\nfn f() {}\nuse std::io;\n"));
    assert!(!imports("use std::fmt;\n\npub use crate::b;\n\n#[cfg(test)]\nuse std::io;\n"));
    assert!(imports("use crate::a;\n\nuse std::fmt;\n"));
    assert!(imports("use std::fmt;\nuse crate::a;\n"));
    assert!(imports("use std::fmt;\n\nuse std::io;\n"));
    assert!(imports("mod b;\n\nuse b::B;\n\nuse mio::Poll;\n"));
    let derives = |text: &str| finds(mixed_derives, "src/a.rs", text);
    assert!(!derives("#[derive(Clone, Copy, Debug, Eq, Hash, Serialize)]\n#[derive(Args)]\n"));
    assert!(derives("    #[derive(Debug, Clone)]\n") && derives("#[derive(Serialize, Default)]\n"));
    let tests = |text: &str| finds(misplaced_tests, "src/a.rs", text);
    assert!(!tests("#[cfg(test)]\nmod tests;\n\nfn f() {}\n"));
    assert!(!tests("fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() {\n    }\n}\n"));
    assert!(tests("#[cfg(test)]\nmod tests {\n}\n\nfn f() {}\n"));
    assert!(tests("#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;\n"));
}
