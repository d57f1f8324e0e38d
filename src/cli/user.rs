//! `outflow user add|set|remove|verify NAME --file FILE`, `outflow user list --file FILE`.
//!
//! The password comes from a prompt without echo, or as one line of standard input when that is not
//! a terminal; it is never an argument, which every process could read.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueHint};
use jiff::civil::Date;
use zeroize::Zeroizing;

use crate::auth::{
    AttributeChange, AttributeError, Users, change_user, check_name, check_password, hash_password, read_day,
    read_groups, read_limits, read_pool, remove_user, set_user,
};
use crate::console::{complain, say};
use crate::limits::PASSWORD_MAX;
use crate::sys::terminal::Hidden;
use crate::worker::today;

/// What to do with a user of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserAction {
    /// Set the user's password, adding the user and creating the file as needed.
    Add,
    /// Remove the user; an error if there is none.
    Remove,
    /// Say whether a password is the user's.
    Verify,
}

/// What is to be another about a user.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("attributes").required(true).multiple(true))]
pub(super) struct UserSetArgs {
    /// The user's name
    name: String,
    /// The users file
    #[arg(long, value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The groups that the user is in from now on, with commas between them; "" for none
    #[arg(long, value_name = "NAME,…", value_parser = groups_of, group = "attributes")]
    groups: Option<NameList>,
    /// The limits that the user's sessions come under from now on, with commas between them; "" for none
    #[arg(long, value_name = "NAME,…", value_parser = limits_of, group = "attributes")]
    limits: Option<NameList>,
    /// The pool of [[egress]] that the user's sessions leave from, where no rule says another; "" for none
    #[arg(long, value_name = "NAME", value_parser = UserPool::read, group = "attributes")]
    egress: Option<UserPool>,
    /// The last day, in UTC, on which the user may log in, such as 2027-01-31; or never
    #[arg(long, value_name = "DAY|never", value_parser = LastDay::read, group = "attributes")]
    expires: Option<LastDay>,
    /// Let the user log in no more; sessions go on
    #[arg(long, group = "attributes")]
    disable: bool,
    /// Let the user log in again
    #[arg(long, conflicts_with = "disable", group = "attributes")]
    enable: bool,
}

/// Behind a type of its own: clap takes a bare `Vec` for a flag that is repeated.
type NameList = Arc<[Arc<str>]>;

fn groups_of(typed: &str) -> Result<NameList, AttributeError> {
    read_groups(typed.split(',').filter(|_| !typed.is_empty())).map(NameList::from)
}

fn limits_of(typed: &str) -> Result<NameList, AttributeError> {
    read_limits(typed.split(',').filter(|_| !typed.is_empty())).map(NameList::from)
}

/// The pool of a user; `None`: there is none.
#[derive(Clone, Debug)]
struct UserPool(Option<Arc<str>>);

impl UserPool {
    fn read(typed: &str) -> Result<UserPool, AttributeError> {
        if typed.is_empty() { Ok(UserPool(None)) } else { read_pool(typed).map(|name| UserPool(Some(name))) }
    }
}

/// The last day of a user; `None`: there is none.
#[derive(Clone, Copy, Debug)]
struct LastDay(Option<Date>);

impl LastDay {
    fn read(typed: &str) -> Result<LastDay, AttributeError> {
        if typed == "never" { Ok(LastDay(None)) } else { read_day(typed).map(|day| LastDay(Some(day))) }
    }
}

/// Changes the attributes of a user. Exit code 0 if that was done, 1 otherwise, with the reason on standard error.
pub(super) fn set(args: &UserSetArgs) -> ExitCode {
    let UserSetArgs { name, file, groups, limits, egress, expires, disable, enable } = args;
    let change = AttributeChange {
        groups: groups.as_ref().map(|groups| groups.to_vec()),
        limits: limits.as_ref().map(|limits| limits.to_vec()),
        egress: egress.clone().map(|UserPool(pool)| pool),
        expires: expires.map(|LastDay(day)| day),
        disabled: (*disable || *enable).then_some(*disable),
    };
    let changed = change_user(file, name, None, &change);
    tell(changed.map(|_| format!("changed user {name}")).map_err(|error| in_file(file, error)))
}

fn in_file(file: &Path, error: impl Error) -> Box<dyn Error> {
    format!("{}: {error}", file.display()).into()
}

/// Performs `action` for user `name` in `file`. Exit code 0 if it was done (for `Verify`: if the
/// password is right), 1 otherwise, with the reason on standard error.
pub(super) fn run(action: UserAction, name: &str, file: &Path) -> ExitCode {
    tell(perform(action, name, file))
}

/// Says what was done, or why it was not.
fn tell(outcome: Result<String, Box<dyn Error>>) -> ExitCode {
    match outcome {
        Ok(done) => {
            // The deed counts; nobody need read the words.
            let _ = say(&format!("{done}\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format_args!("outflow: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints the names in `file`, one a line, with the attributes of those who have any behind a colon, which no name has.
pub(super) fn list(file: &Path) -> ExitCode {
    match Users::load(file) {
        Ok(users) => {
            let line = |name: &str| match users.attributes(name).filter(|attributes| !attributes.is_empty()) {
                Some(attributes) => format!("{name}:{attributes}\n"),
                None => format!("{name}\n"),
            };
            say(&users.names().into_iter().map(line).collect::<String>())
        }
        Err(error) => {
            complain(&format_args!("outflow: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(action: UserAction, name: &str, file: &Path) -> Result<String, Box<dyn Error>> {
    check_name(name)?;
    match action {
        UserAction::Add => {
            let hash = hash_password(&password(true)?)?;
            let replaced = set_user(file, name, &hash).map_err(|error| in_file(file, error))?;
            Ok(format!("{} user {name}", if replaced { "changed" } else { "added" }))
        }
        UserAction::Remove => {
            remove_user(file, name).map_err(|error| in_file(file, error))?;
            Ok(format!("removed user {name}"))
        }
        UserAction::Verify => {
            let users = Users::load(file)?;
            let password = password(false)?;
            check_password(&password)?;
            match users.verify(name.as_bytes(), &password, today()) {
                Some(_) => Ok(format!("the password of user {name} is right")),
                None => Err(format!("no user {name} who may log in with this password").into()),
            }
        }
    }
}

/// Asks for the password, twice to be sure if `confirm`; without a terminal, reads it as a line.
fn password(confirm: bool) -> Result<Zeroizing<Vec<u8>>, Box<dyn Error>> {
    let input = io::stdin();
    if !input.is_terminal() {
        return Ok(read_line(input.lock())?);
    }
    // Nothing may be typed between the prompt and the end of the echo.
    let _hidden = Hidden::new(input.as_fd())?;
    let terminal = File::from(input.as_fd().try_clone_to_owned()?);
    let mut lines = BufReader::with_capacity(1, &terminal);
    let mut ask = |prompt: &str| {
        // A terminal that was opened for reading alone.
        (&terminal).write_all(prompt.as_bytes()).or_else(|_| io::stderr().write_all(prompt.as_bytes()))?;
        read_line(&mut lines)
    };
    let typed = ask("Password: ")?;
    check_password(&typed)?;
    if confirm && *ask("Again: ")? != *typed {
        return Err("the passwords differ".into());
    }
    Ok(typed)
}

/// One line without its line feed and the carriage return before it. Of a longer line than any
/// password it returns enough for the length check to refuse it.
fn read_line(input: impl BufRead) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let longest = PASSWORD_MAX + 3;
    let mut line = Zeroizing::new(Vec::with_capacity(longest));
    input.take(longest as u64).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_without_its_end() {
        let cases: [(&[u8], &[u8]); 8] = [
            (b"secret\n", b"secret"),
            (b"secret\r\n", b"secret"),
            (b"secret", b"secret"),
            (b" a b \nnext\n", b" a b "),
            (b"\xff\0\n", b"\xff\0"),
            (b"a\r\r\n", b"a\r"),
            (b"\n", b""),
            (b"", b""),
        ];
        for (input, expected) in cases {
            assert_eq!(&read_line(input).unwrap()[..], expected, "{input:?}");
        }
    }

    #[test]
    fn the_longest_password_passes_and_a_longer_one_does_not() {
        for (length, ok) in [(255, true), (256, false), (257, false), (300, false), (100_000, false)] {
            for end in ["", "\n", "\r\n"] {
                let input = [&vec![b'p'; length][..], end.as_bytes()].concat();
                let line = read_line(&input[..]).unwrap();
                assert_eq!(check_password(&line).is_ok(), ok, "{length} {end:?}");
            }
        }
    }

    #[test]
    fn a_name_that_the_file_cannot_hold_is_refused_before_anything_is_asked() {
        for action in [UserAction::Add, UserAction::Remove, UserAction::Verify] {
            for name in ["", "a:b", "a\nb"] {
                assert_eq!(run(action, name, Path::new("/nonexistent/users")), ExitCode::FAILURE);
            }
        }
    }
}
