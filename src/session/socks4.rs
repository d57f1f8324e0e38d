//! How success and failure are said in SOCKS4.

use std::net::SocketAddr;

use super::command::Output;
use super::facts::Facts;
use super::failure::Failure;
use super::socks5::rep_of;
use super::state::Due;
use crate::proto::reply::Rep;
use crate::proto::socks4::{ReplyCode, failure, reply};

/// Writes that a request succeeded, and the address that its command wants told.
pub(super) fn succeed(bound: SocketAddr, facts: &mut Facts, output: &mut Output) {
    facts.reply = Some(Rep::Succeeded);
    facts.status = Some(ReplyCode::Granted as u16);
    output.extend_from_slice(&reply(ReplyCode::Granted, bound));
}

/// Writes what a client is told whose session failed while this was due. Metrics have the cause in SOCKS5's words, of
/// which there are more.
pub(super) fn refuse(due: Due, cause: &Failure, facts: &mut Facts, output: &mut Output) {
    // A request that never came has no reply, nor has a client that is gone.
    let answerable = facts.command.is_some() || matches!(cause, Failure::Protocol(_));
    if due == Due::Nothing || !answerable || matches!(cause, Failure::ClientLeft | Failure::ClientReset) {
        return;
    }
    facts.reply = Some(rep_of(cause));
    let code = match cause {
        Failure::AuthFailed | Failure::Parameters(_) => ReplyCode::UserRefused,
        _ => ReplyCode::Rejected,
    };
    facts.status = Some(code as u16);
    output.extend_from_slice(&failure(code));
}
