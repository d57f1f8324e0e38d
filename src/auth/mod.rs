//! Who a client is: the users file, verification and its cost; the acceptance of GSSAPI contexts.
//!
//! Nothing here knows a socket or reads a clock: `now` comes from the caller, verification runs on its
//! own threads, and no password or hash leaves this module in a message or a `Debug` output.

mod admission;
mod cache;
mod dispatch;
mod edit;
mod fair;
mod file;
pub mod gssapi;
mod guesses;
mod pace;
mod secret;
mod turns;
mod users;
mod verifier;

pub use admission::Pending;
pub use cache::{Tag, VerifiedCache};
pub use dispatch::Verified;
pub use edit::{EditError, check_password, hash_password, remove_user, set_user};
pub use file::{concerns, load_users};
pub use guesses::Guesses;
pub use pace::{Pace, Rate};
pub use users::{UserNameError, Users, UsersError, check_name};
pub use verifier::{LoginJob, Verifier};

use std::sync::Arc;

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
