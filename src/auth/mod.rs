//! Who a client is: the users file, verification and its cost; the acceptance of GSSAPI contexts.
//!
//! Nothing here knows a socket or reads a clock: `now` comes from the caller, verification runs on its
//! own threads, and no password or hash leaves this module in a message or a `Debug` output.

mod admission;
mod attributes;
mod cache;
mod dispatch;
mod edit;
mod fair;
mod file;
pub mod gssapi;
mod guesses;
mod pace;
mod parameters;
mod secret;
mod turns;
pub mod username;
mod users;
mod verifier;

pub use admission::Pending;
pub use attributes::{
    AttributeChange, AttributeError, UserAttributes, check_group_name, read_day, read_groups, read_limits,
    read_pool,
};
pub use cache::{Tag, VerifiedCache};
pub use dispatch::Verified;
pub use edit::{EditError, change_user, check_password, hash_password, remove_user, set_user};
pub use file::{concerns, load_users};
pub use guesses::Guesses;
pub use pace::{Pace, Rate};
pub use parameters::SessionParameters;
pub use users::{UserNameError, Users, UsersError, check_name};
pub use verifier::{LoginJob, Verifier};

use std::sync::Arc;
use std::time::Instant;

use jiff::civil::Date;

/// Who a session acts for, once its authentication method has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Method `none` (RFC 1928 section 3, X'00'): nobody in particular.
    Anonymous,
    /// A user of the users file, by the name that stands there, or of Kerberos, by the principal's (see [`gssapi`]).
    User(Arc<str>),
}

impl Identity {
    /// The user's name, or `None` for an anonymous client.
    pub fn user(&self) -> Option<&Arc<str>> {
        match self {
            Identity::Anonymous => None,
            Identity::User(name) => Some(name),
        }
    }
}

/// What says how late it is: nothing here reads a clock by itself.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// For ages and waits.
    pub now: fn() -> Instant,
    /// The day, in UTC.
    pub today: fn() -> Date,
}

/// A login that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidLogin {
    /// Whose it is.
    pub identity: Identity,
    /// The last day, in UTC, on which it is; `None`: there is no last one.
    pub last_day: Option<Date>,
}

impl From<Identity> for ValidLogin {
    fn from(identity: Identity) -> ValidLogin {
        ValidLogin { identity, last_day: None }
    }
}
