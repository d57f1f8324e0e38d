//! The page of all commands, and the command lines that the other pages have one type.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use super::{holds, pages};
use crate::support::relay::{binary, run_to_exit};

/// The help of a command, as the program prints it.
fn help(words: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.args(words).arg("--help").env_clear();
    let output = run_to_exit(command);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The commands below one, by its help: their names stand two blanks from the margin.
fn commands(help: &str) -> impl Iterator<Item = &str> {
    let list = help.split_once("Commands:\n").map_or("", |(_, list)| list);
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help")
}

/// The part of the page for a command, and for those below it.
fn command_page(words: &[&str]) -> String {
    let help = help(words);
    let name: String = words.iter().map(|word| format!(" {word}")).collect();
    let mut page = format!("\n## `outflow{name}`\n\n```text\n{}\n```\n", help.trim_end());
    for inner in commands(&help) {
        page += &command_page(&[words, &[inner]].concat());
    }
    page
}

#[test]
fn the_docs_show_every_command() {
    let page = command_page(&[]);
    assert!(page.matches("\n## ").count() > 20, "the reading is broken: {page}");
    holds("docs/commands.md", &page);
}

/// Every call of the program that a page shows, on a line of its own or in backticks: what stands behind its name, up to a comment or
/// another command.
fn calls(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in page.lines() {
        let spans = line.split('`').skip(1).step_by(2).filter_map(|span| span.strip_prefix("outflow "));
        let typed = line.strip_prefix("    ").into_iter().flat_map(|line| line.split(" && "));
        let typed = typed.filter_map(|call| call.rsplit(" -- ").next()?.strip_prefix("outflow "));
        found.extend(
            spans
                .chain(typed)
                .filter_map(|call| {
                    [" #", "|", ">", "<", ";", " &"].iter().try_fold(call, |call, end| call.split(end).next())
                })
                .map(str::trim),
        );
    }
    found
}

/// What of a call the program does not know: a command, or a flag of it.
fn unknown(call: &str, helps: &mut HashMap<String, String>) -> Option<String> {
    let mut command: Vec<&str> = Vec::new();
    let mut only_commands = true;
    for word in call.split_whitespace().map(|word| word.trim_matches(['[', ']'])) {
        let text = helps.entry(command.join(" ")).or_insert_with(|| help(&command)).clone();
        let flag = word.split('=').next().unwrap_or_default();
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-');
        if flag.starts_with("--") {
            only_commands = false;
            if !text.split(flag).skip(1).any(ends) {
                return Some(format!("outflow {call}: {flag} is no flag of it"));
            }
        } else if only_commands && commands(&text).any(|name| name == word) {
            command.push(word);
        } else if only_commands && commands(&text).next().is_some() {
            return Some(format!("outflow {call}: {word} is no command"));
        } else {
            only_commands = false;
        }
    }
    None
}

/// A page had one type what a later version does not know.
#[test]
fn every_call_that_a_page_shows_is_known() {
    let (mut helps, mut count, mut wrong) = (HashMap::new(), 0, Vec::new());
    for page in pages().into_iter().filter(|page| !page.ends_with("docs/commands.md")) {
        let text = fs::read_to_string(&page).expect("the page can be read");
        for call in calls(&text) {
            count += 1;
            wrong.extend(unknown(call, &mut helps).map(|what| format!("{}: {what}", page.display())));
        }
    }
    assert!(count > 100, "{count} calls: the reading is broken");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    let page =
        "    a && outflow b --c   # d\n`outflow e` and `outflow-load f`\n    x -- outflow g > h\noutflow i\n";
    assert_eq!(calls(page), ["b --c", "e", "g"]);
    for call in ["serve", "user ad x", "--takeovr", "user add x --fil y", "quota shw"] {
        assert!(unknown(call, &mut helps).is_some(), "{call}");
    }
    for call in ["user add x --file=y", "--listen 127.0.0.1:0 --workers 3", "quota show --user x"] {
        assert_eq!(unknown(call, &mut helps), None);
    }
}
