//! The users file: `NAME:HASH` lines with attributes behind some of them, read once, then asked who a pair of credentials
//! belongs to.
//!
//! A whole file is taken or refused: one bad line is an error that names file and line, never the hash.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use zeroize::Zeroizing;

use super::attributes::{AttributeError, UserAttributes};
use super::secret::{Memory, Secret, SecretError, Work};
use super::{Identity, ValidLogin};
use crate::limits::{USER_NAME_MAX, USERS_FILE_MAX};
use crate::sys::files::read_secret;

/// What stands in place of the hash of a user without a password, as in shadow(5).
pub(super) const NO_PASSWORD: &str = "*";

/// The users of one file, immutable.
#[derive(Debug)]
pub struct Users {
    by_name: HashMap<Arc<str>, Account>,
    /// What a login of an unknown user is compared with: as costly as the costliest of the file.
    unknown: Secret,
}

/// What the file says of a user.
#[derive(Debug)]
struct Account {
    /// `None`: no password lets this user in.
    secret: Option<Secret>,
    attributes: UserAttributes,
    /// The line that it stands on, from 1.
    line: usize,
}

impl Users {
    /// Reads the users file at `path`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is larger than `limits::USERS_FILE_MAX`, is not UTF-8, or as
    /// [`Users::parse`] does.
    pub fn load(path: &Path) -> Result<Users, UsersError> {
        let bytes = read_file(path).map_err(|error| UsersError::new(path, None, Cause::Read(error)))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Users::parse(text, path),
            Err(error) => {
                let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
                Err(UsersError::new(path, Some(line), Cause::NotUtf8))
            }
        }
    }

    /// Reads the text of a users file: one `NAME:HASH` or `NAME:HASH:ATTRIBUTES` a line, blank lines and
    /// lines that begin with `#` aside. HASH is an argon2id PHC string or bcrypt as htpasswd -B writes it,
    /// neither of which has a colon, or `*` for a user without a password; ATTRIBUTES are what [`UserAttributes::parse`] reads. `origin` is the file
    /// that errors name.
    ///
    /// # Errors
    ///
    /// Fails on a line without a colon, a name that [`check_name`] refuses, a name given twice, a hash
    /// of another format, a hash whose parameters are outside of `limits`, and attributes that are none.
    pub fn parse(text: &str, origin: &Path) -> Result<Users, UsersError> {
        let mut by_name = HashMap::new();
        let mut first_lines: HashMap<Arc<str>, usize> = HashMap::new();
        for UserLine { line, name, secret } in entries(text) {
            let fail = |cause| UsersError::new(origin, Some(line), cause);
            let (hash, attributes) = secret.ok_or_else(|| fail(Cause::NoColon))?;
            check_name(name).map_err(|error| fail(Cause::Name(error)))?;
            let name: Arc<str> = name.into();
            if let Some(&first) = first_lines.get(&name) {
                return Err(fail(Cause::Duplicate { name, first }));
            }
            let secret = (hash != NO_PASSWORD).then(|| Secret::parse(hash)).transpose();
            let secret = secret.map_err(|error| fail(Cause::Hash { name: Arc::clone(&name), error }))?;
            // Behind a hash that is one: nothing of it can be a password.
            let attributes = UserAttributes::parse(attributes.unwrap_or_default())
                .map_err(|error| fail(Cause::Attributes { name: Arc::clone(&name), error }))?;
            if attributes.ident && secret.is_some() {
                return Err(fail(Cause::Attributes { name, error: AttributeError::Ident }));
            }
            first_lines.insert(Arc::clone(&name), line);
            by_name.insert(name, Account { secret, attributes, line });
        }
        let works = by_name.values().filter_map(|account: &Account| Some(account.secret.as_ref()?.work()));
        let costliest = works.max_by_key(|work| work.estimate_us());
        Ok(Users { by_name, unknown: Secret::dummy(costliest.unwrap_or_else(Work::default)) })
    }

    /// Whose credentials these are on this day, in UTC: exactly this user with exactly this password, or `None`.
    ///
    /// Slow on purpose: it computes the user's hash, and for an unknown user (or an empty password,
    /// which RFC 1929 cannot carry) the same work against a hash that stands for nothing. Names
    /// are not secret, so their lookup need not be constant in time; comparing the hashes is. Who is disabled or
    /// whose last day is over costs what a wrong password does.
    pub fn verify(&self, user: &[u8], password: &[u8], today: Date) -> Option<Identity> {
        self.verify_in(&mut Memory::default(), user, password, today).map(|admitted| admitted.identity)
    }

    /// Whose credentials these are, as [`Users::verify`] says, and until when; it computes in memory that the caller
    /// keeps.
    pub(super) fn verify_in(
        &self,
        memory: &mut Memory,
        user: &[u8],
        password: &[u8],
        today: Date,
    ) -> Option<ValidLogin> {
        let known = std::str::from_utf8(user).ok().and_then(|name| self.by_name.get_key_value(name));
        let own = known.and_then(|(_, account)| account.secret.as_ref());
        let matches =
            own.unwrap_or(&self.unknown).matches(password, memory) & !password.is_empty() & own.is_some();
        let (name, Account { attributes, .. }) = known.filter(|_| matches)?;
        let identity = Identity::User(Arc::clone(name));
        attributes.admit(today).then_some(ValidLogin { identity, last_day: attributes.expires })
    }

    /// Who goes by this name alone on this day, in UTC: a user without a password whose line says so, or `None`.
    pub(super) fn named(&self, user: &[u8], today: Date) -> Option<ValidLogin> {
        let known = std::str::from_utf8(user).ok().and_then(|name| self.by_name.get_key_value(name));
        let (name, Account { attributes, secret, .. }) = known?;
        let identity = Identity::User(Arc::clone(name));
        let admitted = attributes.ident && secret.is_none() && attributes.admit(today);
        admitted.then_some(ValidLogin { identity, last_day: attributes.expires })
    }

    /// The users who are not in `new`, or have another hash or other attributes there.
    pub fn changed_in(&self, new: &Users) -> HashSet<Arc<str>> {
        let differs = |name: &Arc<str>, account: &Account| {
            new.by_name.get(name).is_none_or(|other| {
                let same = match (&account.secret, &other.secret) {
                    (Some(secret), Some(other)) => secret.is(other),
                    (before, after) => before.is_none() && after.is_none(),
                };
                !same || account.attributes != other.attributes
            })
        };
        let changed = self.by_name.iter().filter(|(name, account)| differs(name, account));
        changed.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// What the file says of a user beside the password; `None` where there is no such user.
    pub fn attributes(&self, name: &str) -> Option<&UserAttributes> {
        self.by_name.get(name).map(|account| &account.attributes)
    }

    /// The groups that the file puts users in, and who is in each, sorted.
    pub fn groups(&self) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
        let mut groups: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
        for (name, account) in &self.by_name {
            for group in &account.attributes.groups {
                groups.entry(Arc::clone(group)).or_default().push(Arc::clone(name));
            }
        }
        groups.values_mut().for_each(|members| members.sort_unstable());
        groups
    }

    /// The users to whom the file gives limits, each with the names of these.
    pub fn limits(&self) -> impl Iterator<Item = (&Arc<str>, &[Arc<str>])> {
        let all = self.by_name.iter().map(|(name, account)| (name, &account.attributes.limits[..]));
        all.filter(|(_, limits)| !limits.is_empty())
    }

    /// The users whom the file gives a pool, each with its name.
    pub fn pools(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.by_name.iter().filter_map(|(name, account)| Some((name, account.attributes.egress.as_ref()?)))
    }

    /// Whether each pool that the file names is one; `check` says what is wrong with a name. `origin` is the file that the
    /// error names.
    ///
    /// # Errors
    /// The first line that names another.
    pub fn check_pools(
        &self,
        origin: &Path,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<(), UsersError> {
        let wrong = |(name, account): (&Arc<str>, &Account)| {
            let what = check(account.attributes.egress.as_ref()?).err()?;
            Some((account.line, name.clone(), what))
        };
        match self.by_name.iter().filter_map(wrong).min() {
            Some((line, name, what)) => Err(UsersError::new(origin, Some(line), Cause::Limit { name, what })),
            None => Ok(()),
        }
    }

    /// Whether each limit that the file names is one; `check` says what is wrong with a name. `origin` is the file that the
    /// error names.
    ///
    /// # Errors
    /// The first line that names another.
    pub fn check_limits(
        &self,
        origin: &Path,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<(), UsersError> {
        let wrong = |(name, account): (&Arc<str>, &Account)| {
            let what = account.attributes.limits.iter().find_map(|limit| check(limit).err())?;
            Some((account.line, name.clone(), what))
        };
        match self.by_name.iter().filter_map(wrong).min() {
            Some((line, name, what)) => Err(UsersError::new(origin, Some(line), Cause::Limit { name, what })),
            None => Ok(()),
        }
    }

    /// The names of all users, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.by_name.keys().map(|name| &**name).collect();
        names.sort_unstable();
        names
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is no user at all.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// A line that holds an entry.
pub(super) struct UserLine<'a> {
    /// Its number, from 1.
    pub(super) line: usize,
    pub(super) name: &'a str,
    /// The hash, and the attributes where there is a second colon; `None` where there is not even one.
    pub(super) secret: Option<(&'a str, Option<&'a str>)>,
}

/// The lines that hold an entry.
pub(super) fn entries(text: &str) -> impl Iterator<Item = UserLine<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate();
    lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')).map(entry)
}

fn entry((index, line): (usize, &str)) -> UserLine<'_> {
    let (name, rest) = line.split_once(':').map_or((line, None), |(name, rest)| (name, Some(rest)));
    let secret = rest.map(|rest| match rest.split_once(':') {
        Some((hash, attributes)) => (hash, Some(attributes.trim())),
        None => (rest.trim_end(), None),
    });
    UserLine { line: index + 1, name, secret }
}

/// The bytes of a users file, wiped when dropped.
pub(super) fn read_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    read_secret(path, USERS_FILE_MAX)
}

/// Whether `name` can stand in a users file and in a login (RFC 1929 section 2: 1 to 255 bytes).
///
/// # Errors
///
/// Refuses a name that is empty, longer than 255 bytes, begins with `#`, begins or ends with white
/// space, or holds a colon or a control character: the file could not hold it, or nobody could see it.
pub fn check_name(name: &str) -> Result<(), UserNameError> {
    if name.is_empty() {
        Err(UserNameError::Empty)
    } else if name.len() > USER_NAME_MAX {
        Err(UserNameError::TooLong(name.len()))
    } else if name.contains(':') {
        Err(UserNameError::Colon)
    } else if name.chars().any(char::is_control) {
        Err(UserNameError::Control)
    } else if name.starts_with('#') || name.trim() != name {
        Err(UserNameError::Edge)
    } else {
        Ok(())
    }
}

/// Why a user name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserNameError {
    /// No name at all.
    Empty,
    /// Longer than 255 bytes; holds its length in bytes.
    TooLong(usize),
    /// A colon, which ends the name in the file.
    Colon,
    /// A control character.
    Control,
    /// Begins with `#`, or begins or ends with white space.
    Edge,
}

impl fmt::Display for UserNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserNameError::Empty => f.write_str("the user name is empty"),
            UserNameError::TooLong(length) => {
                write!(f, "the user name has {length} bytes, at most 255 can be sent")
            }
            UserNameError::Colon => f.write_str("the user name holds a colon"),
            UserNameError::Control => f.write_str("the user name holds a control character"),
            UserNameError::Edge => f.write_str("the user name begins with # or has white space at an end"),
        }
    }
}

impl Error for UserNameError {}

/// Why a users file is refused: names the file and the line, never a hash.
#[derive(Debug)]
pub struct UsersError {
    path: PathBuf,
    line: Option<usize>,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Read(io::Error),
    NotUtf8,
    NoColon,
    Name(UserNameError),
    Duplicate { name: Arc<str>, first: usize },
    Hash { name: Arc<str>, error: SecretError },
    Attributes { name: Arc<str>, error: AttributeError },
    Limit { name: Arc<str>, what: String },
}

impl UsersError {
    fn new(path: &Path, line: Option<usize>, cause: Cause) -> UsersError {
        UsersError { path: path.to_owned(), line, cause }
    }

    /// The line at fault, from 1, or `None` if the file could not be read.
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for UsersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        match &self.cause {
            Cause::Read(error) => write!(f, " cannot read the users file: {error}"),
            Cause::NotUtf8 => f.write_str(" not UTF-8"),
            Cause::NoColon => f.write_str(" expected NAME:HASH"),
            Cause::Name(error) => write!(f, " {error}"),
            Cause::Duplicate { name, first } => write!(f, " user {name:?} stands on line {first} already"),
            Cause::Hash { name, error } => write!(f, " user {name:?}: {error}"),
            Cause::Attributes { name, error } => write!(f, " user {name:?}: {error}"),
            Cause::Limit { name, what } => write!(f, " user {name:?}: {what}"),
        }
    }
}

impl Error for UsersError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Read(error) => Some(error),
            Cause::Name(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
