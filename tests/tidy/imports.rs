//! Which file uses which: the paths in a crate's code, resolved to the files that define what they name.
//!
//! A path is followed through the modules and through what they re-export. A re-export alone is no use: a module that
//! only passes on what its children define does not depend on them.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// A file and one that it uses.
pub(super) type Edge = (String, String);

/// Words, `::` and single signs of code without comments and literals.
pub(super) fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let in_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if in_word(first) {
            rest.find(|c| !in_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

pub(super) fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// One name that a `use` brings.
struct Used<'a> {
    name: &'a str,
    path: Vec<&'a str>,
    passed_on: bool,
}

/// What a file says of other modules.
struct Uses<'a> {
    used: Vec<Used<'a>>,
    /// Its child modules.
    children: Vec<&'a str>,
    /// Paths of two words at least outside of `use`, and single words.
    paths: Vec<Vec<&'a str>>,
}

impl<'a> Uses<'a> {
    fn of(tokens: &[&'a str]) -> Self {
        let mut uses = Uses { used: Vec::new(), children: Vec::new(), paths: Vec::new() };
        let mut at = 0;
        while at < tokens.len() {
            let next = tokens.get(at + 1).copied().unwrap_or_default();
            if tokens[at] == "use" && next != "<" {
                let passed_on = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
                at = uses.tree(tokens, at + 1, &[], passed_on);
            } else if tokens[at] == "mod" && tokens.get(at + 2) == Some(&";") {
                uses.children.push(next);
                at += 3;
            } else if is_word(tokens[at]) {
                let mut path = vec![tokens[at]];
                while tokens.get(at + 1) == Some(&"::")
                    && tokens.get(at + 2).is_some_and(|word| is_word(word))
                {
                    path.push(tokens[at + 2]);
                    at += 2;
                }
                uses.paths.push(path);
                at += 1;
            } else {
                at += 1;
            }
        }
        uses
    }

    /// Takes in one branch of a `use` that begins at `at`, below `stem`; gives where it ends.
    fn tree(&mut self, tokens: &[&'a str], mut at: usize, stem: &[&'a str], passed_on: bool) -> usize {
        let mut path = stem.to_vec();
        while let Some(&token) = tokens.get(at) {
            match token {
                "{" => {
                    at += 1;
                    while tokens.get(at).is_some_and(|&token| token != "}") {
                        at = self.tree(tokens, at, &path, passed_on);
                        at += usize::from(tokens.get(at) == Some(&","));
                    }
                    return at + 1;
                }
                "}" | "," | ";" => break,
                "as" => {
                    let name = tokens.get(at + 1).copied().unwrap_or_default();
                    self.used.push(Used { name, path, passed_on });
                    return at + 2;
                }
                "self" if !path.is_empty() => at += 1,
                _ => {
                    path.extend((token != "::").then_some(token));
                    at += 1;
                }
            }
        }
        let name = path.last().copied().unwrap_or_default();
        self.used.push(Used { name, path, passed_on });
        at
    }
}

/// What a path leads to.
enum Target {
    /// A module as a whole.
    Module(Vec<String>),
    /// Something that this module's file defines.
    Item(Vec<String>),
}

/// A crate's modules by their path, with what each of their files says.
struct Modules<'a> {
    files: BTreeMap<Vec<String>, (&'a str, Uses<'a>)>,
}

/// Long enough for any chain of re-exports; a chain that is longer leads in a ring.
const HOPS_MAX: usize = 16;

impl Modules<'_> {
    /// Follows `path`, as it stands in the file of `module`.
    fn resolve(&self, module: &[String], path: &[&str], hops: usize) -> Option<Target> {
        if hops == HOPS_MAX {
            return None;
        }
        let (_, uses) = self.files.get(module)?;
        let (first, rest) = path.split_first()?;
        let mut from = match *first {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            child if uses.children.contains(&child) => [module, &[child.to_owned()]].concat(),
            name => {
                let used = uses.used.iter().find(|used| used.name == name && used.path != [name])?;
                return match self.resolve(module, &used.path, hops + 1)? {
                    Target::Module(found) => self.within(found, rest, hops + 1),
                    item @ Target::Item(_) => Some(item),
                };
            }
        };
        let mut rest = rest;
        while let ["super", more @ ..] = rest {
            from.pop()?;
            rest = more;
        }
        self.within(from, rest, hops + 1)
    }

    /// Follows `path` from a module on.
    fn within(&self, mut module: Vec<String>, path: &[&str], hops: usize) -> Option<Target> {
        let mut rest = path;
        while let [word, more @ ..] = rest {
            let child = [&module[..], &[(*word).to_owned()]].concat();
            if !self.files.contains_key(&child) {
                break;
            }
            (module, rest) = (child, more);
        }
        let Some(item) = rest.first() else { return Some(Target::Module(module)) };
        let (_, uses) = self.files.get(&module)?;
        match uses.used.iter().find(|used| used.name == *item) {
            Some(_) => self.resolve(&module, rest, hops + 1),
            None => Some(Target::Item(module)),
        }
    }

    fn edges_of(&self, module: &[String]) -> BTreeSet<Edge> {
        let (file, uses) = &self.files[module];
        let spoken: BTreeSet<&str> = uses.paths.iter().map(|path| path[0]).collect();
        let used = uses.used.iter().filter(|used| !used.passed_on || spoken.contains(used.name));
        let used = used.filter_map(|used| self.resolve(module, &used.path, 0));
        let spoken = uses.paths.iter().filter(|path| path.len() > 1);
        let spoken = spoken.filter_map(|path| self.resolve(module, path, 0));
        let targets = used.chain(spoken).filter_map(|target| match target {
            Target::Item(module) => self.files.get(&module).map(|(file, _)| (*file).to_owned()),
            Target::Module(_) => None,
        });
        targets.filter(|target| target != file).map(|target| ((*file).to_owned(), target)).collect()
    }
}

/// The modules that a file declares for tests alone; nothing below them ships.
fn test_modules(source: &Source) -> Vec<String> {
    let code = source.code();
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let marked = |at: &usize| {
        lines[..*at].iter().rev().take_while(|line| line.starts_with('#')).any(|line| *line == "#[cfg(test)]")
    };
    let names = (0..lines.len()).filter(marked).filter_map(|at| {
        let line = lines[at].strip_suffix(';')?;
        line.rsplit_once("mod ").map(|(_, name)| name.to_owned())
    });
    names.collect()
}

/// The path of a file's module below `root`: `["a", "b"]` for a/b.rs and a/b/mod.rs, none for lib.rs and main.rs.
fn module_of(root: &str, path: &str) -> Option<Vec<String>> {
    let inside = path.strip_prefix(root)?.strip_suffix(".rs")?;
    let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|name| name == "mod") || ["lib", "main"].contains(&inside) {
        module.pop();
    }
    Some(module)
}

/// The files of the crate below `root` whose code ships.
pub(super) fn shipped_files<'a>(
    sources: &'a [Source],
    root: &str,
    top: &str,
) -> Vec<(&'a Source, Vec<String>)> {
    let inside = |source: &&Source| {
        let in_root = source.path.starts_with(root) && source.is_rust();
        in_root
            && (source.path == format!("{root}{top}")
                || !["lib.rs", "main.rs"].contains(&&source.path[root.len()..]))
    };
    let files: Vec<_> = sources
        .iter()
        .filter(inside)
        .filter_map(|source| Some((source, module_of(root, &source.path)?)))
        .collect();
    let tests: BTreeSet<Vec<String>> = files
        .iter()
        .flat_map(|(source, module)| {
            test_modules(source).into_iter().map(|name| [&module[..], &[name]].concat())
        })
        .collect();
    let ships = |(_, module): &(&Source, Vec<String>)| {
        (1..=module.len()).all(|depth| !tests.contains(&module[..depth]))
    };
    files.into_iter().filter(ships).collect()
}

/// Which files of the crate below `root`, whose first file is `top`, use which others.
pub(super) fn edges(sources: &[Source], root: &str, top: &str) -> BTreeSet<Edge> {
    let shipped = shipped_files(sources, root, top);
    let code: Vec<String> = shipped.iter().map(|(source, _)| source.shipped()).collect();
    let files = shipped
        .iter()
        .zip(&code)
        .map(|((source, module), code)| (module.clone(), (source.path.as_str(), Uses::of(&tokens(code)))));
    let modules = Modules { files: files.collect() };
    modules.files.keys().flat_map(|module| modules.edges_of(module)).collect()
}
