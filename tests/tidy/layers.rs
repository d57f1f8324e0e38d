//! The library's modules stand on floors, and each imports only what stands on a lower one.

use super::source::{Source, read, rust};
use super::{Findings, finds, hold};

/// The floors from the lowest up. Modules of one floor do not know each other; everything else follows from the order.
const FLOORS: [&[&str]; 14] = [
    &["limits"],
    &["shares", "threads", "console", "outcome", "outbound"],
    &["proto", "sys"],
    &["auth", "state"],
    &["policy"],
    &["config"],
    &["dns", "seal", "tls"],
    &["session", "relay"],
    &["observe"],
    &["worker"],
    &["admin"],
    &["control"],
    &["cli"],
    &["main"],
];

/// Modules that know the operating system; all others take values and give values.
const SHELL: [&str; 9] = ["sys", "auth", "state", "seal", "relay", "worker", "admin", "control", "cli"];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The module names that follow `prefix` in code: of `prefix::a::b` a, of `prefix::{a, b::{c}}` a and b.
fn imported<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let word_end = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(&rest[..word_end(rest)]);
            continue;
        };
        let (mut depth, mut expected) = (0, true);
        for (offset, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => expected = true,
                c if expected && !c.is_whitespace() => {
                    names.push(&group[offset..offset + word_end(&group[offset..])]);
                    expected = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// The library's modules that a file imports.
fn imports(source: &Source) -> Vec<String> {
    let (code, shipped) = (source.code(), source.shipped());
    let mut names = imported(&code, "crate::");
    let inside = source.path.strip_prefix("src/").unwrap_or_default();
    // In a module's own file, and only there, `super` is the crate's root.
    if !inside.trim_end_matches("/mod.rs").contains('/') {
        names.extend(imported(&shipped, "super::"));
    }
    names.into_iter().map(str::to_owned).collect()
}

fn upward_import(source: &Source) -> Findings {
    let Some((layer, floor)) = source.layer().and_then(|layer| Some((layer, floor_of(layer)?))) else {
        return Vec::new();
    };
    let upward = |name: &String| name != layer && floor_of(name).is_some_and(|other| other >= floor);
    let wrong = imports(source).into_iter().filter(upward);
    wrong.map(|name| format!("{}: {layer} must not import {name}", source.path)).collect()
}

fn sys_outside(source: &Source) -> Findings {
    let Some(layer) = source.layer().filter(|layer| !SHELL.contains(layer)) else { return Vec::new() };
    let wrong = imports(source).into_iter().filter(|name| name == "sys");
    wrong.map(|name| format!("{}: {layer} must not import {name}", source.path)).collect()
}

#[test]
fn modules_import_downwards() {
    let sources = rust();
    hold(&sources, upward_import);
    hold(&sources, sys_outside);
    let wrong = |path: &str, text: &str| finds(upward_import, path, text);
    assert!(wrong("src/session/mod.rs", "use crate::relay::Half;"));
    assert!(wrong("src/session/a.rs", "use crate::{\n    limits::{A, B},\n    worker,\n};"));
    assert!(wrong("src/relay/mod.rs", "use super::session::Phase;"));
    assert!(wrong("src/seal.rs", "use super::relay::Half;"));
    assert!(wrong("src/proto/a.rs", "fn f(x: crate::config::Config) {}"));
    assert!(wrong("src/control/mod.rs", "use crate::cli::run;"));
    assert!(wrong("src/auth/mod.rs", "use crate::config::Auth;"));
    assert!(!wrong("src/session/a.rs", "use crate::limits; // not crate::relay\nuse super::relay;"));
    assert!(!wrong("src/worker/mod.rs", "use crate::relay::Half;\nuse crate::worker::slot;"));
    assert!(finds(sys_outside, "src/session/a.rs", "use crate::sys::Errno;"));
    assert!(!finds(sys_outside, "src/relay/a.rs", "use crate::sys::Errno;"));
}

/// The modules that a crate's first file declares, tests aside.
fn declared(first_file: &Source) -> Vec<String> {
    let declares = |line: &str| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
    };
    first_file.shipped().lines().filter_map(declares).collect()
}

/// The modules that stand on no floor, and the names on floors that no module has.
fn out_of_place(first_file: &Source) -> Findings {
    let declared = declared(first_file);
    let homeless = declared.iter().filter(|module| floor_of(module).is_none());
    let mut wrong: Findings = homeless.map(|module| format!("{module} has no floor")).collect();
    let named = FLOORS.iter().flat_map(|floor| floor.iter());
    let gone = named.filter(|name| **name != "main" && !declared.iter().any(|module| module == *name));
    wrong.extend(gone.map(|name| format!("no module is called {name}")));
    wrong
}

#[test]
fn every_module_of_the_library_has_its_floor() {
    let lib = read("src/lib.rs");
    hold(std::slice::from_ref(&lib), out_of_place);
    assert!(finds(out_of_place, "src/lib.rs", &format!("{}\nmod cellar;\n", lib.text)));
    assert!(finds(out_of_place, "src/lib.rs", &lib.text.replace("pub mod auth;", "")));
}
