//! The project's files as the checks read them: text, and Rust code without its comments and strings.

use std::fs;
use std::path::{Path, PathBuf};

/// One file; `path` is relative to the project's root.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The code alone: what stands in comments, strings and characters is blank, lines stay where they are.
    pub(super) fn code(&self) -> String {
        blank(&self.text)
    }

    /// The code that ships: without items marked `#[cfg(test)]`.
    pub(super) fn shipped(&self) -> String {
        without_tests(&self.code())
    }

    /// The layer that a file of the library belongs to: `session` for src/session/mod.rs and below.
    pub(super) fn layer(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split('/').next()?.trim_end_matches(".rs"))
    }
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn read(path: &str) -> Source {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Source::new(path, &text)
}

/// Every text file of the project; what is built, fetched or generated does not count.
pub(super) fn everything() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("its entry can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if [".git", "target", "node_modules", "__pycache__", "Cargo.lock"].contains(&name) {
                continue;
            }
            if path.is_dir() { folders.push(path) } else { found.extend(text_file(path)) }
        }
    }
    assert!(found.len() > 20, "only {} files found: the walk is broken", found.len());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

pub(super) fn rust() -> Vec<Source> {
    everything().into_iter().filter(Source::is_rust).collect()
}

fn text_file(path: PathBuf) -> Option<Source> {
    let text = fs::read_to_string(&path).ok()?;
    Some(Source::new(path.strip_prefix(root()).ok()?.to_str()?, &text))
}

/// Whether `word` stands in `line` with no letter, digit or underscore beside it.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(part_of_word);
        let after = line[at + word.len()..].chars().next().is_some_and(part_of_word);
        let inside = before && word.starts_with(part_of_word) || after && word.ends_with(part_of_word);
        !inside
    })
}

pub(super) fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Blanks comments, string and character literals.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// The end of the comment or literal that starts at `at`, or `at` where none does.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if next(1) == '/' => (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len()),
        '/' if next(1) == '*' => block_comment_end(chars, at),
        '"' => quoted_end(chars, at, '"'),
        'r' if !in_word && (next(1) == '"' || next(1) == '#') => raw_end(chars, at + 1).unwrap_or(at),
        'b' if !in_word && next(1) == 'r' => raw_end(chars, at + 2).unwrap_or(at),
        // A lifetime has no quote after its first character.
        '\'' if next(1) == '\\' || next(2) == '\'' => quoted_end(chars, at, '\''),
        _ => at,
    }
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// `hashes` is where the number signs of a raw string start.
fn raw_end(chars: &[char], hashes: usize) -> Option<usize> {
    let count = chars[hashes..].iter().take_while(|&&c| c == '#').count();
    if chars.get(hashes + count) != Some(&'"') {
        return None;
    }
    let closes = |&i: &usize| {
        chars[i] == '"' && chars[i + 1..].iter().take(count).filter(|&&c| c == '#').count() == count
    };
    Some((hashes + count + 1..chars.len()).find(closes).map_or(chars.len(), |i| i + 1 + count))
}

/// Blanks each item under a `#[cfg(test)]`: from the attribute to the closing brace or semicolon of its indent.
fn without_tests(code: &str) -> String {
    let mut out = Vec::new();
    let mut inside: Option<usize> = None;
    for line in code.lines() {
        if inside.is_none() && line.trim_start().starts_with("#[cfg(test)]") {
            inside = Some(indent(line));
        }
        out.push(if inside.is_some() { "" } else { line });
        let ends = line.trim_start().starts_with('}') || line.trim_end().ends_with([';', '}']);
        if inside == Some(indent(line)) && ends {
            inside = None;
        }
    }
    out.join("\n")
}

#[test]
fn blanks_comments_and_literals_but_no_code() {
    let code = |text: &str| Source::new("a.rs", text).code();
    assert_eq!(code("a /* b /* c */ d */ e // f\ng"), "a                   e     \ng");
    assert_eq!(code(r#"f("x \" y", 'z', '\'', b"u")"#), "f(        ,    ,     , b   )");
    assert_eq!(code("r#\"a \" b\"# + br\"c\" + r\"d\""), "           +       +     ");
    assert_eq!(code("fn f<'a>(x: &'a str, r: u8)"), "fn f<'a>(x: &'a str, r: u8)");
}

#[test]
fn leaves_out_what_only_tests_compile() {
    let text =
        "use a;\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nfn g() {}\n#[cfg(test)]\nmod more;\nfn h() {}";
    let shipped = Source::new("a.rs", text).shipped();
    assert!(shipped.contains("use a") && shipped.contains("fn g") && shipped.contains("fn h"));
    assert!(!shipped.contains("fn f") && !shipped.contains("mod more"));
}

#[test]
fn finds_words_and_not_their_parts() {
    assert!(has_word("an unsafe block", "unsafe") && has_word("mio::Poll", "mio::"));
    assert!(!has_word("deny(unsafe_code)", "unsafe") && !has_word("my_mio::Poll", "mio::"));
}
