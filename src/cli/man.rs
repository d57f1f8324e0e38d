//! `outflow man [DIR]`: the manual, out of the command line itself.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::client::ADDRESS_VARIABLE;
use crate::console::{complain, say};

/// Writes a page for each command into this folder, or the first one to standard output.
pub(super) fn run(command: Command, folder: Option<&Path>) -> ExitCode {
    let pages = pages(command);
    let Some(folder) = folder else {
        return say(pages.first().map(|(_, text)| text.as_str()).unwrap_or_default());
    };
    match write(&pages, folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            complain(&format_args!("outflow: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn write(pages: &[(String, String)], folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (name, text) in pages {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// File names and pages: the command's own first, then those of its subcommands.
fn pages(command: Command) -> Vec<(String, String)> {
    let mut command = command.disable_help_subcommand(true);
    // Only then do subcommands know the names that they are called by.
    command.build();
    let mut pages = Vec::new();
    add(&mut pages, &command);
    pages
}

fn add(pages: &mut Vec<(String, String)>, command: &Command) {
    let man = Man::new(command.clone()).manual("outflow");
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _: io::Result<()> = man.render(&mut page).and_then(|()| closing(command).to_writer(&mut page));
    pages.push((man.get_filename(), String::from_utf8_lossy(&page).into_owned()));
    command.get_subcommands().filter(|inner| !inner.is_hide_set()).for_each(|inner| add(pages, inner));
}

/// The sections that the command line does not know of.
fn closing(command: &Command) -> Roff {
    let mut roff = Roff::new();
    if command.get_arguments().any(|argument| argument.get_id() == "address") {
        roff.control("SH", ["ENVIRONMENT"]);
        roff.control("TP", []).text([roman(ADDRESS_VARIABLE)]);
        roff.text([roman("Where the admin endpoint is, when --admin does not say so.")]);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (code, means) in [
        ("0", "It is done."),
        (
            "1",
            "It is not: a bad configuration, a server that refuses or that nobody can ask, or the answer no.",
        ),
        ("2", "The command line makes no sense."),
    ] {
        roff.control("TP", []).text([roman(code)]);
        roff.text([roman(means)]);
    }
    roff
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn each_command_has_a_page_and_hidden_ones_have_none() {
        let inner = Command::new("inner")
            .about("What is within")
            .arg(Arg::new("address").long("admin").help("Where"));
        let command = Command::new("outer")
            .subcommand(inner.subcommand(Command::new("deep")))
            .subcommand(Command::new("secret").hide(true));
        let pages = pages(command);
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["outer.1", "outer-inner.1", "outer-inner-deep.1"]);
        let has = |nth: usize, words: &str| pages[nth].1.contains(words);
        assert!(has(1, "What is within") && has(1, "OUTFLOW_ADMIN") && !has(0, "OUTFLOW_ADMIN"));
        assert!((0..3).all(|nth| has(nth, "EXIT STATUS")));
    }
}
