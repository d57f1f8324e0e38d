//! What `[username]` says: which parameters of a session clients may type behind their names or passwords, and how.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::choice::Choice;
use super::entry::tables;
use super::form::{choice, duration, optional, path, text};
use super::list_form::{condition, list};
use super::problem::quoted;
use super::rule_values::own_name;
use crate::auth::username::{OnParameter, ParameterPosition, Separators};
use crate::limits;

tables! {
    /// Parameters of the session in the user name or the password, such as alice-session-x7-ttl-10.
    pub struct UsernameConfig {
        /// Behind {user}, or {password}, in any order: separator, word or words, separator and a kind of value; words as "a|b".
        format: Option<String> = None,
            optional(text(format, String::clone), "\"{user}-session-{session}-ttl-{minutes}-country-{tag:area}-egress-{pool}\""), Reload;
        /// A format that is there already, in place of one.
        preset: Option<UsernamePreset> = None, optional(choice(), "\"dash\""), Reload;
        /// What stands before a word and behind it, or two characters, one for each; "-" where it is left out.
        separator: Option<Separators> = None, optional(text(separators, separators_text), "\"-\""), Reload;
        /// Where clients type them; where it is left out, behind what the format begins with.
        position: Option<ParameterPosition> = None, optional(choice(), "\"user\""), Reload;
        /// What becomes of a word that the format does not have, behind one that it has.
        on_unknown: OnParameter = OnParameter::Refuse, choice(), Reload;
        /// What becomes of a parameter that is typed twice: refuse the login, or have the first count.
        on_duplicate: OnParameter = OnParameter::Refuse, choice(), Reload;
        /// What is typed as a longer time is this one.
        max_ttl: Duration = Duration::from_secs(7 * 86_400), duration(ttl()), Reload;
        /// The pools of [[egress]] that clients choose among, by name or by tags; without it all.
        pools: Vec<Arc<str>> = Vec::new(),
            condition(list(limits::EGRESS_POOLS_MAX, own_name).needs("a pool"), "[\"carrier\", \"home\"]"), Reload;
        /// The file of the key that signs them: without a signature of it no parameter counts; relative to this file.
        ///
        /// Absolute.
        sign: Option<PathBuf> = None, optional(path(), "\"username.key\""), Reload;
    }
}

/// A format that is there already, named after what it looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsernamePreset {
    /// `alice-session-x7-sesstime-10-country-de`.
    Dash,
    /// `customer-alice-sessid-x7-sesstime-10-cc-de`.
    CustomerDash,
    /// `user-alice-session-x7-sessionduration-10-country-de`.
    UserDash,
    /// The password is `secret_session-x7_lifetime-168h_country-de`.
    PasswordUnderscore,
}

impl Choice for UsernamePreset {
    const ALL: &'static [(&'static str, Self)] = &[
        ("dash", Self::Dash),
        ("customer-dash", Self::CustomerDash),
        ("user-dash", Self::UserDash),
        ("password-underscore", Self::PasswordUnderscore),
    ];
}

impl Choice for ParameterPosition {
    const ALL: &'static [(&'static str, Self)] =
        &[("user", Self::User), ("password", Self::Password), ("both", Self::Both)];
}

impl Choice for OnParameter {
    const ALL: &'static [(&'static str, Self)] = &[("refuse", Self::Refuse), ("ignore", Self::Ignore)];
}

/// Characters that may be separators: none that a URL, a shell or HTTP Basic takes for something else.
const SEPARATORS: &[u8] = b"-_.~+=,;*";

fn separators(typed: &str) -> Result<Separators, String> {
    let (lead, joint) = match *typed.as_bytes() {
        [one] => (one, one),
        [lead, joint] => (lead, joint),
        _ => {
            return Err(format!(
                "{} is not one character such as \"-\", nor two such as \"_-\"",
                quoted(typed)
            ));
        }
    };
    match [lead, joint].iter().all(|byte| SEPARATORS.contains(byte)) {
        true => Ok(Separators { lead, joint }),
        false => Err(format!("{} cannot separate: take one of - _ . ~ + = , ; *", quoted(typed))),
    }
}

fn separators_text(Separators { lead, joint }: &Separators) -> String {
    let all = [char::from(*lead), char::from(*joint)];
    all[..if lead == joint { 1 } else { 2 }].iter().collect()
}

/// What of a format can be said before its separators are known.
fn format(typed: &str) -> Result<String, String> {
    match typed.len() <= limits::PARAMETER_FORMAT_MAX {
        true => Ok(typed.to_owned()),
        false => Err(format!("is longer than {} bytes", limits::PARAMETER_FORMAT_MAX)),
    }
}

fn ttl() -> RangeInclusive<Duration> {
    Duration::from_secs(1)..=limits::SESSION_TTL_MAX
}

/// Each key with a value of its own, whether they go together or not.
#[cfg(test)]
pub(super) fn every_key() -> UsernameConfig {
    UsernameConfig {
        format: Some("{user}+s+{session}".to_owned()),
        preset: Some(UsernamePreset::CustomerDash),
        separator: Some(Separators { lead: b'+', joint: b'+' }),
        position: Some(ParameterPosition::Both),
        on_unknown: OnParameter::Ignore,
        on_duplicate: OnParameter::Ignore,
        max_ttl: limits::SESSION_TTL_MAX,
        pools: vec!["nat".into()],
        sign: Some(PathBuf::from("/key")),
    }
}
