//! What may stand behind a user's hash in the users file: groups, limits, the last day, whether the user is shut out.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;

use crate::limits::{GROUP_NAME_MAX, USER_GROUPS_MAX, USER_LIMITS_MAX};

/// The words that there are.
const WORDS: [&str; 6] = ["groups", "limits", "egress", "expires", "disabled", "ident"];

/// How many letters a word may be off for another to be offered in its place.
const SLIPS: usize = 2;

/// Letters that an error shows of what was typed.
const SHOWN: usize = 64;

/// What a users file says of a user beside the password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAttributes {
    /// The groups that the user is in, none twice.
    pub groups: Vec<Arc<str>>,
    /// The limits that the user's sessions come under, none twice.
    pub limits: Vec<Arc<str>>,
    /// The pool that the user's sessions leave from, where no rule says another.
    pub egress: Option<Arc<str>>,
    /// The last day on which the user may log in, in UTC; `None`: there is no last one.
    pub expires: Option<Date>,
    /// Whether the user may not log in at all.
    pub disabled: bool,
    /// Whether the name alone lets the user in, where SOCKS4 has no password.
    pub ident: bool,
}

/// What is to be another about a user's attributes: what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeChange {
    /// The groups in place of those that there are.
    pub groups: Option<Vec<Arc<str>>>,
    /// The limits in place of those that there are.
    pub limits: Option<Vec<Arc<str>>>,
    /// The pool in place of the one that there is, or none any more.
    pub egress: Option<Option<Arc<str>>>,
    /// The last day in place of the one that there is, or no last day any more.
    pub expires: Option<Option<Date>>,
    /// Whether the user may not log in.
    pub disabled: Option<bool>,
}

impl AttributeChange {
    /// Whether all stays.
    pub fn is_empty(&self) -> bool {
        *self == AttributeChange::default()
    }
}

impl UserAttributes {
    /// Reads what stands behind the hash: words with blanks between them, such as `groups=staff,night limits=gold
    /// expires=2027-01-31 disabled`. Whether there is such a limit is not known here.
    ///
    /// # Errors
    /// A word that is none of these or stands there twice, a name that [`check_group_name`] refuses, what is no date.
    pub fn parse(text: &str) -> Result<UserAttributes, AttributeError> {
        let mut attributes = UserAttributes::default();
        let mut seen = [false; WORDS.len()];
        for typed in text.split_whitespace() {
            let (word, value) = match typed.split_once('=') {
                Some((word, value)) => (word, Some(value)),
                None => (typed, None),
            };
            let Some(which) = WORDS.iter().position(|known| *known == word) else {
                return Err(AttributeError::Unknown(shown(word), nearest(word)));
            };
            if std::mem::replace(&mut seen[which], true) {
                return Err(AttributeError::Twice(WORDS[which]));
            }
            match (WORDS[which], value) {
                ("groups", Some(value)) => {
                    attributes.groups = read_groups(value.split(',').filter(|_| !value.is_empty()))?;
                }
                ("limits", Some(value)) => {
                    attributes.limits = read_limits(value.split(',').filter(|_| !value.is_empty()))?;
                }
                ("egress", Some(value)) => attributes.egress = Some(read_pool(value)?),
                ("expires", Some(value)) => attributes.expires = Some(read_day(value)?),
                ("disabled", None) => attributes.disabled = true,
                ("disabled", Some(_)) => return Err(AttributeError::Form("disabled")),
                ("ident", None) => attributes.ident = true,
                ("ident", Some(_)) => return Err(AttributeError::Form("ident")),
                ("groups", None) => return Err(AttributeError::Form("groups=NAME,NAME")),
                ("egress", None) => return Err(AttributeError::Form("egress=NAME")),
                ("limits", None) => return Err(AttributeError::Form("limits=NAME,NAME")),
                _ => return Err(AttributeError::Form("expires=YEAR-MONTH-DAY")),
            }
        }
        Ok(attributes)
    }

    /// Whether the user may log in on this day.
    pub fn admit(&self, today: Date) -> bool {
        !self.disabled && self.expires.is_none_or(|last| today <= last)
    }

    /// These with what is to be another.
    #[must_use]
    pub fn with(self, change: &AttributeChange) -> UserAttributes {
        UserAttributes {
            groups: change.groups.clone().unwrap_or(self.groups),
            limits: change.limits.clone().unwrap_or(self.limits),
            egress: change.egress.clone().unwrap_or(self.egress),
            expires: change.expires.unwrap_or(self.expires),
            disabled: change.disabled.unwrap_or(self.disabled),
            ident: self.ident,
        }
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == UserAttributes::default()
    }
}

impl fmt::Display for UserAttributes {
    /// As it is read again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = (!self.groups.is_empty()).then(|| format!("groups={}", self.groups.join(",")));
        let limits = (!self.limits.is_empty()).then(|| format!("limits={}", self.limits.join(",")));
        let egress = self.egress.as_ref().map(|pool| format!("egress={pool}"));
        let expires = self.expires.map(|day| format!("expires={day}"));
        let disabled = self.disabled.then(|| "disabled".to_owned());
        let ident = self.ident.then(|| "ident".to_owned());
        let words: Vec<String> =
            [groups, limits, egress, expires, disabled, ident].into_iter().flatten().collect();
        f.write_str(&words.join(" "))
    }
}

/// The groups of these names.
///
/// # Errors
/// A name that [`check_group_name`] refuses or that stands there twice, or more than `limits::USER_GROUPS_MAX`.
pub fn read_groups<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Arc<str>>, AttributeError> {
    read_names(Members::Groups, names)
}

/// The limits of these names.
///
/// # Errors
/// A name that is none, as with groups, or that stands there twice, or more than `limits::USER_LIMITS_MAX`.
pub fn read_limits<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Arc<str>>, AttributeError> {
    read_names(Members::Limits, names)
}

/// The pool of this name.
///
/// # Errors
/// A name that is none, as with groups.
pub fn read_pool(name: &str) -> Result<Arc<str>, AttributeError> {
    if is_plain(name) { Ok(name.into()) } else { Err(AttributeError::Pool(shown(name))) }
}

fn read_names<'a>(
    of: Members,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Arc<str>>, AttributeError> {
    let mut read: Vec<Arc<str>> = Vec::new();
    for name in names {
        if !is_plain(name) {
            return Err(AttributeError::Name(of, shown(name)));
        }
        if read.iter().any(|other| **other == *name) {
            return Err(AttributeError::NamedTwice(of, shown(name)));
        }
        if read.len() == of.most() {
            return Err(AttributeError::TooMany(of));
        }
        read.push(name.into());
    }
    Ok(read)
}

/// Reads a day: `2027-01-31`.
///
/// # Errors
/// [`AttributeError::Day`].
pub fn read_day(typed: &str) -> Result<Date, AttributeError> {
    // Other forms of ISO 8601 are none of a file that people read.
    let day: Option<Date> = typed.parse().ok();
    day.filter(|day| day.to_string() == typed).ok_or_else(|| AttributeError::Day(shown(typed)))
}

/// Whether a group may be called this.
///
/// # Errors
/// A name that is empty, longer than `limits::GROUP_NAME_MAX` bytes, or holds more than ASCII letters, digits, `-`, `_` and
/// `.`: it stands in files and configurations without quotes.
pub fn check_group_name(name: &str) -> Result<(), AttributeError> {
    if is_plain(name) { Ok(()) } else { Err(AttributeError::Name(Members::Groups, shown(name))) }
}

/// Whether a name can stand in the file and in the configuration without quotes.
fn is_plain(name: &str) -> bool {
    let held = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
    (1..=GROUP_NAME_MAX).contains(&name.len()) && name.chars().all(held)
}

/// The word that was probably meant.
fn nearest(typed: &str) -> Option<&'static str> {
    let typed: String = typed.chars().take(SHOWN).flat_map(char::to_lowercase).collect();
    let off = WORDS.iter().map(|word| (strsim::osa_distance(&typed, word), *word));
    off.filter(|(slips, _)| *slips <= SLIPS).min().map(|(_, word)| word)
}

fn shown(typed: &str) -> String {
    typed.chars().take(SHOWN).collect()
}

/// What users have several of, by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Members {
    /// Groups.
    Groups,
    /// Limits.
    Limits,
}

impl Members {
    fn one(self) -> &'static str {
        match self {
            Members::Groups => "group",
            Members::Limits => "limit",
        }
    }

    fn most(self) -> usize {
        match self {
            Members::Groups => USER_GROUPS_MAX,
            Members::Limits => USER_LIMITS_MAX,
        }
    }
}

/// Why a user's attributes are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeError {
    /// A word that is none, and the one that was probably meant.
    Unknown(String, Option<&'static str>),
    /// A word that stands there twice.
    Twice(&'static str),
    /// A word with a value where it has none, or without one; how it is written.
    Form(&'static str),
    /// What no group and no limit may be called.
    Name(Members, String),
    /// One that is named twice.
    NamedTwice(Members, String),
    /// More of them than a user may have.
    TooMany(Members),
    /// What no pool may be called.
    Pool(String),
    /// What is no day.
    Day(String),
    /// A name that is to be enough, beside a password.
    Ident,
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttributeError::Unknown(typed, nearest) => {
                write!(f, "{typed:?} is none of \"groups=\", \"limits=\", \"egress=\", \"expires=\", \"disabled\", \"ident\"")?;
                nearest.map_or(Ok(()), |word| write!(f, "; did you mean \"{word}\"?"))
            }
            AttributeError::Twice(word) => write!(f, "\"{word}\" stands there twice"),
            AttributeError::Form(form) => write!(f, "expected {form}"),
            AttributeError::Name(of, name) => {
                let one = of.one();
                write!(
                    f,
                    "{name:?} cannot be a {one}: 1 to {GROUP_NAME_MAX} letters, digits, `-`, `_` and `.`"
                )
            }
            AttributeError::Pool(name) => {
                write!(f, "{name:?} cannot be a pool: 1 to {GROUP_NAME_MAX} letters, digits, `-`, `_` and `.`")
            }
            AttributeError::NamedTwice(of, name) => write!(f, "{} {name:?} is named twice", of.one()),
            AttributeError::TooMany(of) => write!(f, "more than {} {}s", of.most(), of.one()),
            AttributeError::Ident => f.write_str(
                "\"ident\" stands beside * in place of a hash: who has a password is not let in by name alone",
            ),
            AttributeError::Day(typed) => write!(f, "{typed:?} is no day: expected YEAR-MONTH-DAY"),
        }
    }
}

impl Error for AttributeError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> UserAttributes {
        UserAttributes::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "",
            "groups=staff",
            "groups=staff,night limits=gold,b expires=2027-01-31 disabled",
            "limits=gold",
            "groups=staff ident",
            "limits=gold egress=carrier expires=2027-01-31",
        ] {
            assert_eq!(parsed(text).to_string(), text);
        }
        assert_eq!(parsed("  disabled\tgroups=b,a "), parsed("groups=b,a disabled"));
        assert_eq!(parsed("groups="), UserAttributes::default());
        let all = parsed("groups=staff,night expires=2027-01-31 disabled");
        assert_eq!(all.groups, ["staff".into(), "night".into()]);
        assert_eq!((all.expires, all.disabled), (Some(jiff::civil::date(2027, 1, 31)), true));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_nearest_word() {
        for (text, expected) in [
            (
                "group=staff",
                "\"group\" is none of \"groups=\", \"limits=\", \"egress=\", \"expires=\", \"disabled\", \"ident\"; did you mean \"groups\"?",
            ),
            ("Disabled", "did you mean \"disabled\"?"),
            (
                "quota=1",
                "\"quota\" is none of \"groups=\", \"limits=\", \"egress=\", \"expires=\", \"disabled\", \"ident\"",
            ),
            ("limit=gold", "did you mean \"limits\"?"),
            ("limits", "expected limits=NAME,NAME"),
            ("limits=a b,c", "\"b,c\" is none of"),
            ("limits=a,a", "limit \"a\" is named twice"),
            ("limits=a:b", "\"a:b\" cannot be a limit"),
            ("disabled disabled", "\"disabled\" stands there twice"),
            ("disabled=no", "expected disabled"),
            ("ident=yes", "expected ident"),
            ("egress", "expected egress=NAME"),
            ("egress=", "\"\" cannot be a pool"),
            ("egres=a", "did you mean \"egress\"?"),
            ("groups", "expected groups=NAME,NAME"),
            ("expires", "expected expires=YEAR-MONTH-DAY"),
            ("expires=", "\"\" is no day"),
            ("expires=2027-02-29", "\"2027-02-29\" is no day: expected YEAR-MONTH-DAY"),
            ("expires=20270131", "is no day"),
            ("expires=2027-01-31T00:00", "is no day"),
            ("groups=a,,b", "\"\" cannot be a group"),
            ("groups=a,b,a", "group \"a\" is named twice"),
            ("groups=a:b", "\"a:b\" cannot be a group"),
        ] {
            let error = UserAttributes::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(!UserAttributes::parse("quota=1").unwrap_err().to_string().contains("mean"));
        let names: Vec<String> = (0..=USER_GROUPS_MAX).map(|n| n.to_string()).collect();
        let count = |names: &[String]| read_groups(names.iter().map(String::as_str)).map(|all| all.len());
        assert_eq!(count(&names[1..]), Ok(USER_GROUPS_MAX));
        assert_eq!(count(&names), Err(AttributeError::TooMany(Members::Groups)));
        let limits = read_limits(names.iter().take(USER_LIMITS_MAX + 1).map(String::as_str));
        assert_eq!(limits, Err(AttributeError::TooMany(Members::Limits)));
        assert!(check_group_name(&"g".repeat(GROUP_NAME_MAX)).is_ok());
        assert!(check_group_name(&"g".repeat(GROUP_NAME_MAX + 1)).is_err());
    }

    #[test]
    fn the_last_day_is_one_on_which_the_user_may_log_in() {
        let day = |day| jiff::civil::date(2027, 1, day);
        let until = parsed("expires=2027-01-30");
        assert!(until.admit(day(29)) && until.admit(day(30)) && !until.admit(day(31)));
        assert!(parsed("groups=a").admit(day(31)) && !parsed("disabled").admit(day(29)));
    }

    #[test]
    fn a_change_leaves_the_rest() {
        let before = parsed("groups=a expires=2027-01-31 disabled");
        let change = AttributeChange { expires: Some(None), ..AttributeChange::default() };
        assert_eq!(before.clone().with(&change).to_string(), "groups=a disabled");
        let change =
            AttributeChange { groups: Some(Vec::new()), disabled: Some(false), ..AttributeChange::default() };
        assert_eq!(before.clone().with(&change).to_string(), "expires=2027-01-31");
        assert_eq!(before.clone().with(&AttributeChange::default()), before);
        assert!(AttributeChange::default().is_empty() && !change.is_empty());
    }
}
