//! How success and failure are said in SOCKS5. The only place that maps a failure to a REP (RFC 1928 section 6).

use std::net::SocketAddr;

use super::command::Output;
use super::facts::Facts;
use super::failure::{AssociateError, DialError, Failure};
use super::state::Due;
use crate::dns::DnsError;
use crate::proto::address::Name;
use crate::proto::reply::{Rep, encode, encode_name, failure};
use crate::proto::{ProtoError, greeting, gss, userpass};

/// Writes that the credentials are right (RFC 1929 section 2).
pub(super) fn welcome(output: &mut Output) {
    output.extend_from_slice(&userpass::status(true));
}

/// Writes that a request succeeded, and the BND that its command wants told.
pub(super) fn succeed(bound: SocketAddr, facts: &mut Facts, output: &mut Output) {
    facts.reply = Some(Rep::Succeeded);
    output.extend_from_slice(&encode(Rep::Succeeded, bound));
}

/// Writes that a request succeeded, and the name that its command wants told.
pub(super) fn succeed_with_name(name: &Name, facts: &mut Facts, output: &mut Output) {
    facts.reply = Some(Rep::Succeeded);
    encode_name(Rep::Succeeded, name, output);
}

/// The reply code of a failure (RFC 1928 section 6).
pub(super) fn rep_of(failure: &Failure) -> Rep {
    match failure {
        Failure::Denied(_) | Failure::SourceLimit | Failure::Limit(_) | Failure::Unrecorded => {
            Rep::NotAllowed
        }
        Failure::Dial(error) | Failure::Associate(AssociateError::Through(error)) => rep_of_dial(*error),
        Failure::Dns(DnsError::NotFound | DnsError::NoAddress | DnsError::ServerFailure) => {
            Rep::HostUnreachable
        }
        Failure::Dns(DnsError::Timeout) | Failure::HandshakeTimeout => Rep::TtlExpired,
        Failure::Protocol(ProtoError::Command(_)) | Failure::NotTaken | Failure::NotThrough(_) => {
            Rep::CommandNotSupported
        }
        Failure::Protocol(ProtoError::AddressType(_)) | Failure::Associate(AssociateError::Family) => {
            Rep::AddressTypeNotSupported
        }
        _ => Rep::GeneralFailure,
    }
}

fn rep_of_dial(error: DialError) -> Rep {
    match error {
        DialError::Refused | DialError::SelfConnect => Rep::ConnectionRefused,
        DialError::TimedOut | DialError::NobodyCame => Rep::TtlExpired,
        DialError::HostUnreachable => Rep::HostUnreachable,
        DialError::NetworkUnreachable => Rep::NetworkUnreachable,
        // The type of a name's address was none that the client chose.
        DialError::OtherFamily { by_name: true } => Rep::HostUnreachable,
        DialError::OtherFamily { by_name: false } => Rep::AddressTypeNotSupported,
        DialError::Forbidden | DialError::Ourselves => Rep::NotAllowed,
        // What a parent says of the target goes on as it is.
        DialError::Replied(rep) => rep,
        DialError::NoLocalPort | DialError::Local(_) | DialError::ParentAway => Rep::GeneralFailure,
    }
}

/// Writes what a client is told whose session failed while this was due.
pub(super) fn refuse(due: Due, cause: &Failure, facts: &mut Facts, output: &mut Output) {
    match due {
        Due::Method => match cause {
            Failure::NoMethod
            | Failure::Certificate(_)
            | Failure::Protocol(ProtoError::NotSpoken | ProtoError::NotTls) => {
                output.extend_from_slice(&greeting::selection(None));
            }
            Failure::Protocol(ProtoError::Tls) => output.extend_from_slice(&greeting::TLS_REFUSAL),
            _ => {}
        },
        // RFC 1929 section 2: any status but 00 is a failure, and the connection must be closed behind it.
        Due::Login => output.extend_from_slice(&userpass::status(false)),
        // RFC 1961 section 3.8: the client is told, unless it was the one that gave up.
        Due::Context => {
            if *cause != Failure::Protocol(ProtoError::GssAbort) {
                output.extend_from_slice(&gss::abort());
            }
        }
        Due::Reply => {
            // A request that never came has no reply, nor has a client that is gone.
            let answerable = facts.command.is_some() || matches!(cause, Failure::Protocol(_));
            if answerable && !matches!(cause, Failure::ClientLeft | Failure::ClientReset) {
                let rep = rep_of(cause);
                facts.reply = Some(rep);
                output.extend_from_slice(&failure(rep));
            }
        }
        Due::Nothing => {}
    }
}
