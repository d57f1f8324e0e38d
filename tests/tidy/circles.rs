//! No file uses one that uses it, directly or through others.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Edge, edges};
use super::source::{Source, rust};

/// Where each crate begins: its folder and its first file.
const CRATES: [(&str, &str); 2] = [("src/", "lib.rs"), ("loadtest/src/", "main.rs")];

/// The files that can be reached from each, itself only where a circle leads back.
fn reached(edges: &BTreeSet<Edge>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut uses: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in edges {
        uses.entry(from).or_default().push(to);
    }
    let from = |start: &str| {
        let (mut found, mut next) = (BTreeSet::new(), uses[start].clone());
        while let Some(file) = next.pop() {
            if found.insert(file) {
                next.extend(uses.get(file).into_iter().flatten());
            }
        }
        found
    };
    uses.keys().map(|&start| (start, from(start))).collect()
}

/// The uses that are part of a circle: both files reach each other.
fn closing(edges: &BTreeSet<Edge>) -> Vec<Edge> {
    let reached = reached(edges);
    let back =
        |(from, to): &&Edge| reached.get(to.as_str()).is_some_and(|files| files.contains(from.as_str()));
    edges.iter().filter(back).cloned().collect()
}

#[test]
fn files_use_each_other_one_way() {
    let sources = rust();
    let edges: BTreeSet<Edge> = CRATES.iter().flat_map(|(root, top)| edges(&sources, root, top)).collect();
    assert!(edges.len() > 500, "only {} uses found: the reading is broken", edges.len());
    let closing = closing(&edges);
    let wrong: Vec<String> =
        closing.iter().map(|(from, to)| format!("in a circle: {from} uses {to}")).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The uses among files of a made-up crate: their names below src/, and their text.
fn made_up(files: &[(&str, &str)]) -> BTreeSet<Edge> {
    let sources: Vec<Source> =
        files.iter().map(|(name, text)| Source::new(&format!("src/{name}"), text)).collect();
    edges(&sources, "src/", "lib.rs")
}

fn uses(edges: &BTreeSet<Edge>, from: &str, to: &str) -> bool {
    edges.contains(&(format!("src/{from}"), format!("src/{to}")))
}

#[test]
fn circles_are_found() {
    let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let ring = [edge("x/a", "x/b"), edge("x/b", "x/c"), edge("x/c", "x/a"), edge("x/c", "y/d")];
    let ring = BTreeSet::from(ring);
    let ends: Vec<Edge> = closing(&ring);
    assert_eq!(ends, [edge("x/a", "x/b"), edge("x/b", "x/c"), edge("x/c", "x/a")]);
}

#[test]
fn uses_are_read_from_code_that_ships() {
    let edges = made_up(&[
        ("lib.rs", "pub mod a;\npub mod b;\nmod t;"),
        ("a.rs", "use crate::b::{self as other, deep::{Deep, far}};\nuse std::fmt;\nfn f() { far::g(); }"),
        ("b/mod.rs", "pub mod deep;\npub mod far;\n#[cfg(test)]\nmod tests;"),
        ("b/deep.rs", "pub struct Deep;\npub use super::far;\n// use crate::a::A;"),
        (
            "b/far.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\npub fn g() { crate::t::T::new(); }",
        ),
        ("b/tests.rs", "use crate::a::A;"),
        ("t.rs", "pub struct T;"),
    ]);
    let expected = [("a.rs", "b/deep.rs"), ("a.rs", "b/far.rs"), ("b/far.rs", "t.rs")];
    assert_eq!(edges.len(), expected.len(), "{edges:?}");
    assert!(expected.iter().all(|(from, to)| uses(&edges, from, to)), "{edges:?}");
}

#[test]
fn a_module_that_passes_on_what_its_children_define_uses_them_not() {
    let child = ("a/child.rs", "use super::Own;\nuse super::Sister;\npub struct Child(Own, Sister);");
    let sister = ("a/sister.rs", "pub struct Sister;");
    let passes_on =
        "mod child;\nmod sister;\npub use child::Child;\npub use self::sister::Sister;\npub struct Own;\n";
    let edges = made_up(&[("lib.rs", "mod a;"), ("a/mod.rs", passes_on), child, sister]);
    assert!(uses(&edges, "a/child.rs", "a/mod.rs") && uses(&edges, "a/child.rs", "a/sister.rs"));
    assert!(!uses(&edges, "a/mod.rs", "a/child.rs") && closing(&edges).is_empty());
    for use_of_its_own in
        ["fn f(_: Child) {}", "fn f() { child::g(); }", "use self::child::g;\nfn f() { g(); }"]
    {
        let text = format!("{passes_on}{use_of_its_own}");
        let edges = made_up(&[("lib.rs", "mod a;"), ("a/mod.rs", &text), child, sister]);
        assert_eq!(closing(&edges).len(), 2, "{use_of_its_own}");
    }
}
