//! No two files of the worker have methods that call each other both ways.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Edge, shipped_files, tokens};
use super::source::{Source, rust};

/// Whose methods are called: one's own, and those of a worker's core.
const RECEIVERS: [&str; 2] = ["self", "core"];

/// The methods that a file defines, and those that it calls.
fn methods(code: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let tokens = tokens(code);
    let is_method = |at: usize| {
        let open =
            tokens[at..].iter().position(|token| *token == "(").map_or(tokens.len(), |offset| at + offset);
        let first = tokens.iter().skip(open + 1).take(5);
        first.take_while(|token| ![",", ")", ":"].contains(token)).any(|token| *token == "self")
    };
    let (mut defined, mut called) = (BTreeSet::new(), BTreeSet::new());
    for (at, window) in tokens.windows(4).enumerate() {
        match *window {
            ["fn", name, ..] if is_method(at) => _ = defined.insert(name.to_owned()),
            [receiver, ".", name, "("] if RECEIVERS.contains(&receiver) => _ = called.insert(name.to_owned()),
            _ => {}
        }
    }
    (defined, called)
}

/// Which file of `folder` calls a method of which other. A name that several of them define says nothing.
fn calls(sources: &[Source], folder: &str) -> BTreeMap<Edge, Vec<String>> {
    let files: Vec<_> = shipped_files(sources, "src/", "lib.rs")
        .into_iter()
        .filter(|(source, _)| source.path.starts_with(folder))
        .map(|(source, _)| (source.path.as_str(), methods(&source.shipped())))
        .collect();
    let mut homes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, (defined, _)) in &files {
        defined.iter().for_each(|name| homes.entry(name).or_default().push(path));
    }
    let mut calls: BTreeMap<Edge, Vec<String>> = BTreeMap::new();
    for (path, (_, called)) in &files {
        for name in called {
            let Some([home]) = homes.get(name.as_str()).map(Vec::as_slice) else { continue };
            if home != path {
                calls.entry(((*path).to_owned(), (*home).to_owned())).or_default().push(name.clone());
            }
        }
    }
    calls
}

/// The pairs of files that call each other, and by what.
fn both_ways(sources: &[Source], folder: &str) -> Vec<String> {
    let calls = calls(sources, folder);
    let both = calls.iter().filter_map(|((from, to), there)| {
        let back = calls.get(&(to.clone(), from.clone())).filter(|_| from < to)?;
        Some(format!("{from} calls {there:?} of {to}, which calls {back:?} of it"))
    });
    both.collect()
}

#[test]
fn the_workers_files_call_each_other_one_way() {
    let wrong = both_ways(&rust(), "src/worker/");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn calls_both_ways_are_found() {
    let sources = [
        Source::new(
            "src/worker/a.rs",
            "impl Core {\n    fn up(&mut self) { self.down(); other.aside(); self.len(); }\n}",
        ),
        Source::new(
            "src/worker/b.rs",
            "impl Core {\n    fn down<T>(self: &T) { core.up(); }\n    fn len(&self) {}\n}",
        ),
        Source::new(
            "src/worker/c.rs",
            "fn down(x: u8) {}\nfn aside(&'a mut self) { self.up(); }\nfn len(self) { self.up(); }",
        ),
        Source::new("src/relay/a.rs", "impl A {\n    fn up(&self) {}\n}"),
    ];
    let found = both_ways(&sources, "src/worker/");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(both_ways(&sources[1..], "src/worker/").is_empty());
}
