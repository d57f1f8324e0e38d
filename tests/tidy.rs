//! What a reader and the architecture rely on, held over the project's own text: sizes, floors, circles, names, unsafe
//! code, clocks and sockets, markers, dependencies, and the tests that CONFORMANCE.md names.
//!
//! Each rule is a function from a source to its findings, so that each is also seen to fail, on a made-up one.

mod calls;
mod circles;
mod conformance;
mod example;
mod imports;
mod layers;
mod links;
mod manner;
mod names;
mod source;

use std::fs;
use std::path::Path;

use outflow::config::{Config, Flags};

use source::{Source, everything, has_word, indent, read, root, rust};

const LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

type Findings = Vec<String>;

/// Every source passes the rule.
fn hold(sources: &[Source], rule: impl Fn(&Source) -> Findings) {
    let findings: Findings = sources.iter().flat_map(rule).collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// The rule finds something in this text, were it that file.
fn finds(rule: impl Fn(&Source) -> Findings, path: &str, text: &str) -> bool {
    !rule(&Source::new(path, text)).is_empty()
}

/// Lines of `code` that `wrong` holds for, as findings.
fn lines_where(source: &Source, code: &str, what: &str, wrong: impl Fn(&str) -> bool) -> Findings {
    let found = code.lines().enumerate().filter(|(_, line)| wrong(line));
    found.map(|(at, line)| format!("{}:{}: {what}: {}", source.path, at + 1, line.trim())).collect()
}

// ---- sizes

fn long_file(source: &Source) -> Findings {
    let lines = source.text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines, {LINES_MAX} at most", source.path)]
}

/// The lines of the function whose first line is `lines[start]`; rustfmt puts its closing brace at its indent.
fn function_length(lines: &[&str], start: usize) -> usize {
    let at_indent = |line: &str| !line.trim().is_empty() && indent(line) == indent(lines[start]);
    let last = lines[start..].iter().enumerate().position(|(offset, line)| {
        let head = offset == 0
            || line.trim_start().starts_with([')', '}'])
            || line.trim_start().starts_with("where");
        at_indent(line)
            && head
            && (line.trim_start().starts_with('}') || line.trim_end().ends_with([';', '}']))
    });
    last.map_or(lines.len() - start, |offset| offset + 1)
}

/// Whether nothing but qualifiers stands before the line's `fn`.
fn starts_function(line: &str) -> bool {
    let before = line.split("fn ").next().unwrap_or_default();
    let qualifier =
        |word: &str| word.starts_with("pub") || ["const", "async", "unsafe", "extern"].contains(&word);
    has_word(line, "fn ") && before.split_whitespace().all(qualifier)
}

fn long_function(source: &Source) -> Findings {
    let code = source.code();
    let lines: Vec<&str> = code.lines().collect();
    let starts = (0..lines.len()).filter(|&at| starts_function(lines[at]));
    let lengths = starts.map(|at| (at, function_length(&lines, at)));
    let long = lengths.filter(|(_, length)| *length > FUNCTION_LINES_MAX);
    long.map(|(at, length)| format!("{}:{}: a function of {length} lines", source.path, at + 1)).collect()
}

#[test]
fn files_are_short() {
    hold(&rust(), long_file);
    assert!(finds(long_file, "src/a.rs", &"\n".repeat(LINES_MAX + 1)));
    assert!(!finds(long_file, "src/a.rs", &"\n".repeat(LINES_MAX)));
}

#[test]
fn functions_are_short() {
    hold(&rust(), long_function);
    let function = |lines: usize| {
        format!(
            "impl A {{\n    pub(crate) fn f<T>(\n        t: T,\n    ) -> u8 {{\n{}    }}\n}}\n",
            "        g();\n".repeat(lines - 4)
        )
    };
    assert!(finds(long_function, "src/a.rs", &function(FUNCTION_LINES_MAX + 1)));
    assert!(!finds(long_function, "src/a.rs", &function(FUNCTION_LINES_MAX)));
    let short = format!(
        "trait A {{\n    fn f(&self);\n    fn g(\n        &self,\n    ) -> u8;\n}}\n{}",
        "\n".repeat(90)
    );
    assert!(!finds(long_function, "src/a.rs", &short));
}

// ---- the shell: mio, clocks, sockets

fn in_shell(source: &Source, shell: &[&str]) -> bool {
    source.layer().is_none_or(|layer| shell.contains(&layer))
}

fn mio_outside(source: &Source) -> Findings {
    if in_shell(source, &["worker", "admin", "control", "sys"]) {
        return Vec::new();
    }
    lines_where(source, &source.code(), "mio", |line| has_word(line, "mio::") || has_word(line, "use mio"))
}

fn clock_outside(source: &Source) -> Findings {
    if in_shell(source, &["worker", "admin", "control", "sys", "cli"]) || is_test_file(source) {
        return Vec::new();
    }
    let clocks = ["Instant::now", "SystemTime::now", "UNIX_EPOCH.elapsed"];
    lines_where(source, &source.shipped(), "a clock", |line| clocks.iter().any(|clock| has_word(line, clock)))
}

fn socket_outside(source: &Source) -> Findings {
    if in_shell(source, &["worker", "admin", "control", "sys", "cli"]) || is_test_file(source) {
        return Vec::new();
    }
    let sockets = ["TcpStream", "TcpListener", "UdpSocket", "UnixStream", "socket2::"];
    lines_where(source, &source.shipped(), "a socket", |line| {
        sockets.iter().any(|socket| has_word(line, socket))
    })
}

/// A file that is a test module of its own: src/x/tests.rs or below src/x/tests/.
fn is_test_file(source: &Source) -> bool {
    source.path.ends_with("/tests.rs") || source.path.contains("/tests/")
}

#[test]
fn mio_clocks_and_sockets_stay_in_the_shell() {
    let sources = rust();
    hold(&sources, mio_outside);
    hold(&sources, clock_outside);
    hold(&sources, socket_outside);
    assert!(
        finds(mio_outside, "src/relay/a.rs", "use mio::Poll;")
            && !finds(mio_outside, "src/sys/a.rs", "use mio::Poll;")
    );
    assert!(finds(clock_outside, "src/dns/a.rs", "let now = Instant::now();"));
    assert!(!finds(
        clock_outside,
        "src/dns/a.rs",
        "#[cfg(test)]\nmod tests {\n    fn f() { Instant::now(); }\n}"
    ));
    assert!(finds(socket_outside, "src/session/mod.rs", "use std::net::{SocketAddr, TcpStream};"));
    assert!(!finds(socket_outside, "src/session/mod.rs", "use std::net::SocketAddr; // no TcpStream"));
}

// ---- unsafe code

fn unsafe_outside(source: &Source) -> Findings {
    let homes = ["src/sys/", "loadtest/src/sys.rs", "loadtest/src/sys/"];
    if homes.iter().any(|home| source.path.starts_with(home)) {
        return Vec::new();
    }
    lines_where(source, &source.code(), "unsafe", |line| has_word(line, "unsafe"))
}

/// Each `unsafe` has SAFETY in the comment above it, or above the statement that it stands in.
fn unexplained_unsafe(source: &Source) -> Findings {
    let (text, code): (Vec<&str>, String) = (source.text.lines().collect(), source.code());
    let code: Vec<&str> = code.lines().collect();
    let explained = |at: usize| {
        for above in (0..at).rev() {
            let (line, blank) = (text[above].trim(), code[above].trim());
            if line.starts_with("//") && line.to_uppercase().contains("SAFETY") {
                return true;
            }
            let comment = line.starts_with("//") || line.starts_with("#[");
            if line.is_empty() || (!comment && blank.ends_with([';', '{', '}'])) {
                return false;
            }
        }
        false
    };
    let found = (0..code.len()).filter(|&at| has_word(code[at], "unsafe") && !explained(at));
    found
        .map(|at| format!("{}:{}: unsafe without SAFETY: {}", source.path, at + 1, text[at].trim()))
        .collect()
}

#[test]
fn unsafe_code_is_in_sys_and_explained() {
    let sources = rust();
    hold(&sources, unsafe_outside);
    hold(&sources, unexplained_unsafe);
    let naked = "fn f() {\n    let a =\n        unsafe { g() };\n}\n";
    let explained = "fn f() {\n    // SAFETY: g asks for nothing.\n    let a =\n        unsafe { g() };\n}\n";
    assert!(finds(unsafe_outside, "src/relay/a.rs", naked) && !finds(unsafe_outside, "src/sys/a.rs", naked));
    assert!(finds(unsafe_outside, "loadtest/src/main.rs", naked));
    assert!(!finds(unsafe_outside, "src/lib.rs", "#![deny(unsafe_code)] // no unsafe"));
    assert!(
        finds(unexplained_unsafe, "src/sys/a.rs", naked)
            && !finds(unexplained_unsafe, "src/sys/a.rs", explained)
    );
}

// ---- text

fn left_over(source: &Source) -> Findings {
    let macros = ["todo!", "unimplemented!", "dbg!"];
    // Written in halves: this file is read, too.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
    let code = if source.is_rust() { source.code() } else { String::new() };
    let mut found =
        lines_where(source, &code, "left over", |line| macros.iter().any(|name| has_word(line, name)));
    found.extend(lines_where(source, &source.text, "left over", |line| {
        words.iter().any(|word| has_word(line, word))
    }));
    found
}

/// A path of somebody's machine: a home folder, or a folder that work happens to lie in.
fn machine_path(source: &Source) -> Findings {
    let folders = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
        concat!("/tmp", "/wt"),
    ];
    let starts_path = |line: &str, at: usize| {
        !line[..at].ends_with(|c: char| c.is_alphanumeric() || ['_', '-', '.', '}', '*', '/'].contains(&c))
    };
    lines_where(source, &source.text, "a machine's path", |line| {
        folders.iter().any(|folder| line.match_indices(folder).any(|(at, _)| starts_path(line, at)))
    })
}

#[test]
fn nothing_is_left_over() {
    let sources = everything();
    hold(&sources, left_over);
    hold(&sources, machine_path);
    assert!(
        finds(left_over, "src/a.rs", "fn f() { dbg!(1); }")
            && !finds(left_over, "src/a.rs", "// no dbg! here")
    );
    assert!(finds(left_over, "README.md", concat!("a FIX", "ME: later")));
    assert!(finds(machine_path, "README.md", concat!("see /ho", "me/someone/notes")));
    assert!(!finds(machine_path, "README.md", concat!("$HOME, /var/lib/wo", "rk/, target/wo", "rk/")));
}

#[test]
fn the_readme_and_the_checks_name_one_test_command() {
    let (readme, checks) = (read("README.md").text, read(".ci/run").text);
    for command in ["cargo test --workspace", "cargo run --release"] {
        assert!(readme.contains(command), "README.md does not name `{command}`");
    }
    assert!(checks.contains("step cargo test --workspace"), ".ci/run does not run the README's test command");
}

/// Whoever follows the page from the top can run each of its lines.
#[test]
fn the_readme_calls_outflow_before_it_is_installed() {
    let readme = read("README.md").text;
    let installed = readme.find("cargo install --path .").expect("a line that installs it");
    let called = readme.find("\n    outflow ").expect("a line that calls it");
    assert!(installed < called);
}

/// What a page shows as TOML, one block behind the other.
fn toml_of(page: &str) -> String {
    page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// The page of all keys.
const KEYS: &str = "docs/keys.md";

/// The page is written by the keys' own entries.
#[test]
fn the_docs_show_every_key_with_its_default() {
    let reference = Config::reference();
    crate::pages::holds(KEYS, &reference);
    let parsed = Config::parse(&toml_of(&reference), Path::new(KEYS), &Flags::default());
    let defaults = Config::load(None, &Flags::default()).expect("the defaults are valid");
    assert_eq!(parsed.map_err(|problems| problems.to_string()), Ok(defaults));
}

// ---- dependencies

/// Every package that `name` stands on in a Cargo.lock, directly or not.
fn closure(lock: &str, name: &str) -> Vec<String> {
    let lock: toml::Table = lock.parse().expect("Cargo.lock is TOML");
    let packages = lock["package"].as_array().expect("packages");
    let (mut reached, mut next) = (vec![name.to_owned()], 0);
    while let Some(name) = reached.get(next).cloned() {
        next += 1;
        for package in packages.iter().filter(|package| package["name"].as_str() == Some(&name)) {
            let dependencies = package.get("dependencies").and_then(|list| list.as_array());
            for dependency in dependencies.into_iter().flatten().filter_map(|dependency| dependency.as_str())
            {
                let dependency = dependency.split(' ').next().unwrap_or_default().to_owned();
                if !reached.contains(&dependency) {
                    reached.push(dependency);
                }
            }
        }
    }
    reached
}

#[test]
fn no_tokio_in_the_relay() {
    let packages = closure(&fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock"), "outflow");
    assert!(
        packages.contains(&"mio".to_owned()) && packages.len() > 20,
        "the list is too short: {packages:?}"
    );
    assert!(!packages.iter().any(|name| name.starts_with("tokio")), "{packages:?}");
    let lock = "[[package]]\nname = 'outflow'\ndependencies = ['a 1.0']\n[[package]]\nname = 'a'\ndependencies = ['tokio']\n";
    assert!(closure(lock, "outflow").contains(&"tokio".to_owned()));
}
