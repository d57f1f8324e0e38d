//! Links between the pages of the tree, as a forge shows them: the file is there, and so is the heading.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::source::{Source, everything, read, root};

/// The lines of a page without its blocks of code, and without what stands in backticks.
fn words(page: &str) -> Vec<String> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        let code = fence || fenced || line.starts_with("    ");
        lines.push(if code { String::new() } else { without_code(line) });
    }
    lines
}

fn without_code(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    parts.iter().step_by(2).copied().collect::<Vec<_>>().join("``")
}

/// What each line links to: the target of `[text](target)` and of `![text](target)`.
fn links(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in words(page).iter().enumerate() {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        found.extend(targets.map(|(target, _)| (at + 1, target.to_owned())));
    }
    found
}

/// The places that a page has: its headings, as forges and mdBook make names of them.
fn places(page: &str) -> Vec<String> {
    let mut fenced = false;
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut found = Vec::new();
    for line in page.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let text = line.trim_start_matches('#');
        if fenced || text.len() == line.len() || !text.starts_with(' ') {
            continue;
        }
        let kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
        let name: String = text.trim().to_lowercase().chars().filter(kept).collect();
        let name = name.replace(' ', "-");
        let before = seen.entry(name.clone()).or_default();
        found.push(if *before == 0 { name } else { format!("{name}-{before}") });
        *before += 1;
    }
    found
}

/// The path below the project's root that a link of the page at `from` leads to; `None` where it leads out.
fn followed(from: &str, link: &str) -> Option<PathBuf> {
    let mut path = Path::new(from).parent()?.to_path_buf();
    for part in Path::new(link).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            _ => return None,
        }
    }
    Some(path)
}

/// Links of the page that lead nowhere. What leads to another site is not followed.
fn broken_links(source: &Source) -> Vec<String> {
    let wrong = |link: &str| {
        if link.starts_with("https://") || link.starts_with("http://") {
            return false;
        }
        let (file, place) = link.split_once('#').unwrap_or((link, ""));
        let there = |path: &PathBuf| root().join(path).exists();
        let page = match followed(&source.path, file).filter(there) {
            _ if file.is_empty() => source.text.clone(),
            Some(_) if place.is_empty() => return link.ends_with('#'),
            Some(path) => read(path.to_str().expect("UTF-8")).text,
            None => return true,
        };
        !places(&page).iter().any(|name| name == place)
    };
    let links = links(&source.text).into_iter().filter(|(_, link)| wrong(link));
    links.map(|(line, link)| format!("{}:{line}: {link} leads nowhere", source.path)).collect()
}

fn pages() -> Vec<Source> {
    everything().into_iter().filter(|source| source.path.ends_with(".md")).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    super::hold(&pages, broken_links);
    let count: usize = pages.iter().map(|page| links(&page.text).len()).sum();
    assert!(count > 50, "only {count} links found: the reading is broken");
    let broken = |text: &str| super::finds(broken_links, "docs/a.md", text);
    for link in ["gone.md", "start.md#gone", "#gone", "../../README.md", "#", "/README.md", "start.md#"] {
        assert!(broken(&format!("# A\n\nsee [it]({link})")), "{link}");
    }
    for link in ["start.md", "../README.md#how-fast", "#a-b-c", "#a-b-c-1", "https://example.com/", "top.svg"]
    {
        assert!(!broken(&format!("# `A` b, C!\n\n# a b c\n\nsee [it]({link})")), "{link}");
    }
    assert!(!broken("    [it](gone.md)\n\n`[it](gone.md)`\n\n```\n[it](gone.md)\n```\n"));
}

/// The site has every page of docs/.
#[test]
fn no_page_is_left_out_of_the_site() {
    let summary = read("docs/SUMMARY.md");
    let listed: Vec<PathBuf> =
        links(&summary.text).iter().filter_map(|(_, link)| followed(&summary.path, link)).collect();
    let of_site = |page: &Source| {
        page.path.starts_with("docs/") || !page.path.contains('/') || page.path == "packaging/README.md"
    };
    let left_out: Vec<String> = pages()
        .into_iter()
        .filter(|page| of_site(page) && page.path != summary.path)
        .map(|page| page.path)
        .filter(|path| !listed.iter().any(|one| one == Path::new(path)))
        .collect();
    assert_eq!(left_out, Vec::<String>::new());
}
