//! What the endpoint has the control thread do, and what comes of it.

use std::fmt;

use zeroize::Zeroizing;

use crate::auth::{AttributeChange, UserAttributes};
use crate::config::{Choice, KeyChange, Level, Problems};
use crate::worker::Reply;

/// A change of the running server.
#[derive(Debug)]
pub enum Order {
    /// Read the configuration anew and go by it; with `dry_run` only say what that would change.
    Reload {
        /// Whether nothing is to change.
        dry_run: bool,
    },
    /// Close to new clients; with `exit` end once no session is left, at the latest after `timeouts.drain`.
    Drain {
        /// Whether the process is to end.
        exit: bool,
    },
    /// Open to clients again.
    Undrain,
    /// Log from this level on.
    SetLevel(Level),
    /// Tell who the users are.
    ListUsers,
    /// Add a user, or give one another password or other attributes.
    SetUser {
        /// The user's name.
        name: String,
        /// The new password; `None`: the user is there and keeps his.
        password: Option<Zeroizing<Vec<u8>>>,
        /// The attributes that are to be others.
        attributes: AttributeChange,
        /// Whether the user's sessions end.
        revoke: bool,
    },
    /// Remove a user.
    RemoveUser {
        /// The user's name.
        name: String,
        /// Whether the user's sessions end.
        revoke: bool,
    },
    /// Have nothing used of a quota any more.
    ResetQuota {
        /// The limit that has it.
        limit: String,
        /// Whose use, as text; `None`: everybody's.
        holder: Option<String>,
    },
}

/// Who gave an order: for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(pub String);

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An order on its way to the control thread.
#[derive(Debug)]
pub struct OrderLetter {
    /// What is to be done.
    pub order: Order,
    /// Who wants it.
    pub by: Actor,
    /// Where the outcome goes, once.
    pub reply: Reply<Result<Done, OrderError>>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// The configuration was read; what it changes, or would.
    Reload(ReloadReport),
    /// The listeners are closed, with so many sessions left.
    Draining {
        /// Sessions that are there.
        sessions: u64,
    },
    /// The listeners are open, with so many sessions there.
    Serving {
        /// Sessions that are there.
        sessions: u64,
    },
    /// The level of the log is another.
    Level {
        /// What it is now.
        level: Level,
        /// What it was.
        was: Level,
    },
    /// The users, sorted by their names.
    Users(Vec<(String, UserAttributes)>),
    /// A user was added, or has another password or other attributes.
    UserSet {
        /// The user's name.
        name: String,
        /// Whether there was none of the name.
        added: bool,
        /// Sessions that were ended.
        ended: u64,
    },
    /// A user was removed.
    UserRemoved {
        /// The user's name.
        name: String,
        /// Sessions that were ended.
        ended: u64,
    },
    /// Nothing is used of a quota any more.
    QuotaReset {
        /// The limit that has it.
        limit: String,
        /// Whose use; `None`: everybody's.
        holder: Option<String>,
        /// Accounts that had used something.
        accounts: u64,
        /// What it was of one holder, in bytes.
        bytes: Option<u64>,
        /// Whether it is on disk, too.
        kept: bool,
    },
}

impl fmt::Display for Done {
    /// For the log: no secrets, and what a client may read of it stands in the answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Done::Reload(report) => report.fmt(f),
            Done::Draining { sessions } => write!(f, "draining, sessions: {sessions}"),
            Done::Serving { sessions } => write!(f, "serving, sessions: {sessions}"),
            Done::Level { level, was } => {
                write!(f, "the log's level is {}, it was {}", level.name(), was.name())
            }
            Done::Users(users) => write!(f, "users listed: {}", users.len()),
            Done::UserSet { name, added, ended } => {
                let what = if *added { "added" } else { "changed" };
                write!(f, "user {name:?} was {what}, sessions ended: {ended}")
            }
            Done::UserRemoved { name, ended } => {
                write!(f, "user {name:?} was removed, sessions ended: {ended}")
            }
            Done::QuotaReset { limit, holder, accounts, bytes, kept } => {
                let whose = holder.as_deref().unwrap_or("everybody");
                write!(f, "the quota of limit {limit:?} was reset for {whose:?}, accounts: {accounts}")?;
                bytes.map_or(Ok(()), |bytes| write!(f, ", bytes: {bytes}"))?;
                f.write_str(if *kept { "" } else { "; it is not on disk yet" })
            }
        }
    }
}

/// What a reload changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReloadReport {
    /// Whether it was done, and not only tried.
    pub applied: bool,
    /// Every key whose value is another.
    pub changes: Vec<KeyChange>,
    /// What has changed of the files that keys name: lists, users and certificates.
    pub files: Vec<String>,
    /// What works otherwise than was written, or may fail later.
    pub warnings: Vec<String>,
}

impl fmt::Display for ReloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.applied {
            "the configuration was read anew: "
        } else {
            "a reload would change: "
        })?;
        if self.changes.is_empty() {
            f.write_str("no key has changed")?;
        }
        for (nth, change) in self.changes.iter().enumerate() {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            let (from, to) = (value(&change.from), value(&change.to));
            let comma = if nth > 0 { ", " } else { "" };
            let waits = if change.taken { "" } else { " (waits for a restart)" };
            match change.hidden {
                true => write!(f, "{comma}{}: another password{waits}", change.key)?,
                false => write!(f, "{comma}{} from {from} to {to}{waits}", change.key)?,
            }
        }
        self.files.iter().try_for_each(|file| write!(f, "; {file}"))
    }
}

/// Why an order was not carried out. Nothing has changed then.
#[derive(Clone, Debug)]
pub enum OrderError {
    /// The configuration cannot be used.
    Config(Problems),
    /// There is no such thing: a user, a users file.
    NotFound(String),
    /// What was asked for is not right in itself.
    Invalid(String),
    /// It cannot be done as things are: another is under way, an address is taken, the end is near.
    Conflict(String),
    /// The machine refused.
    Failed(String),
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OrderError::Config(problems) => write!(f, "the configuration cannot be used: {problems}"),
            OrderError::NotFound(what)
            | OrderError::Invalid(what)
            | OrderError::Conflict(what)
            | OrderError::Failed(what) => f.write_str(what),
        }
    }
}
