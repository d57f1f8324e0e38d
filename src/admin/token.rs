//! The token that clients over TCP have to show.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A token. Its hash alone is kept, and compared: so the time tells nothing of it, not even its length, and no message has
/// it.
#[derive(Clone)]
pub(super) struct AdminToken([u8; 32]);

impl AdminToken {
    /// The token of this text.
    pub(super) fn of(text: &str) -> AdminToken {
        AdminToken(Sha256::digest(text.as_bytes()).into())
    }
}

impl PartialEq for AdminToken {
    fn eq(&self, other: &AdminToken) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for AdminToken {}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}
