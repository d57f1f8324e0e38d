//! Username and password (RFC 1929).

use super::command::{Command, Output};
use super::facts::Facts;
use super::failure::Failure;
use super::state::{AwaitCredentials, AwaitRequest, Phase, Turn, Verifying};
use crate::auth::Identity;
use crate::proto::userpass::{decode, status};

impl AwaitCredentials {
    pub(super) fn bytes(self, bytes: &[u8], facts: &mut Facts) -> Turn {
        match decode(bytes) {
            Ok(Some((credentials, used))) => {
                facts.claimed_user = Some(String::from_utf8_lossy(&credentials.user).into());
                Turn::Ask(Phase::Verifying(Verifying), used, Command::Verify(credentials))
            }
            Ok(None) => Turn::Incomplete(Phase::Userpass(self)),
            Err(error) => Turn::End(Phase::Userpass(self), Failure::Protocol(error)),
        }
    }
}

impl Verifying {
    pub(super) fn verified(self, identity: Option<Identity>, facts: &mut Facts, output: &mut Output) -> Turn {
        let Some(identity) = identity else {
            return Turn::End(Phase::Verifying(self), Failure::AuthFailed);
        };
        facts.claimed_user = None;
        facts.identity = Some(identity);
        output.extend_from_slice(&status(true));
        Turn::Next(Phase::Request(AwaitRequest), 0)
    }
}
