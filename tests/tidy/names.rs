//! A type's name stands for one thing.

use std::collections::BTreeMap;

use super::imports::{is_word, shipped_files, tokens};
use super::source::{Source, rust};

/// The types that a file defines outside of functions and impls; associated types are none.
fn defined(source: &Source) -> Vec<String> {
    let code = source.shipped();
    let at_top = code.lines().filter(|line| !line.starts_with(char::is_whitespace));
    at_top.filter_map(definition).collect()
}

/// The type that a line defines.
fn definition(line: &str) -> Option<String> {
    let tokens = tokens(line);
    let qualifier = |token: &&&str| !["struct", "enum", "trait", "type", "union"].contains(*token);
    let before: Vec<_> = tokens.iter().take_while(qualifier).collect();
    let only_visibility =
        before.iter().all(|token| ["pub", "(", ")", "crate", "super", "in", "::", "unsafe"].contains(*token));
    let name = tokens.get(before.len() + 1).filter(|name| only_visibility && is_word(name))?;
    Some((*name).to_owned())
}

/// The names that stand for two things, and where.
fn twice(sources: &[Source]) -> Vec<String> {
    let mut homes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (source, _) in shipped_files(sources, "src/", "lib.rs") {
        for name in defined(source) {
            homes.entry(name).or_default().push(&source.path);
        }
    }
    let twice = homes.iter().filter(|(_, homes)| homes.len() > 1);
    twice.map(|(name, homes)| format!("{name} is defined in {}", homes.join(", "))).collect()
}

#[test]
fn a_type_has_its_name_alone() {
    let wrong = twice(&rust());
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn names_that_stand_twice_are_found() {
    let sources = [
        Source::new("src/a.rs", "pub(crate) struct Turn;\nenum Way {}\ntype Pair = (u8, u8);\n"),
        Source::new(
            "src/b.rs",
            "pub enum Turn {}\nimpl A for B {\n    type Pair = u8;\n}\n#[cfg(test)]\nmod tests {\n    struct Way;\n}\n",
        ),
        Source::new("src/c.rs", "// struct Turn;\nfn f() { struct Way; }\n"),
        Source::new("loadtest/src/a.rs", "struct Way;"),
    ];
    assert_eq!(twice(&sources), ["Turn is defined in src/a.rs, src/b.rs"]);
}
