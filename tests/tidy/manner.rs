//! One manner: the order of derives, and where unit tests stand.

use super::source::{Source, rust};
use super::{Findings, finds, hold, lines_where};

/// The order in which derives stand; others come behind them.
const DERIVES: [&str; 9] =
    ["Clone", "Copy", "Debug", "Default", "PartialEq", "Eq", "PartialOrd", "Ord", "Hash"];

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
fn derives_and_tests_stand_in_one_order() {
    let sources = rust();
    hold(&sources, mixed_derives);
    hold(&sources, misplaced_tests);
}

#[test]
fn other_orders_are_found() {
    let derives = |text: &str| finds(mixed_derives, "src/a.rs", text);
    assert!(!derives("#[derive(Clone, Copy, Debug, Eq, Hash, Serialize)]\n#[derive(Args)]\n"));
    assert!(derives("    #[derive(Debug, Clone)]\n") && derives("#[derive(Serialize, Default)]\n"));
    let tests = |text: &str| finds(misplaced_tests, "src/a.rs", text);
    assert!(!tests("#[cfg(test)]\nmod tests;\n\nfn f() {}\n"));
    assert!(!tests("fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() {\n    }\n}\n"));
    assert!(tests("#[cfg(test)]\nmod tests {\n}\n\nfn f() {}\n"));
    assert!(tests("#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;\n"));
}
