//! What a client of an HTTP proxy sends for a tunnel, and what it is answered (RFC 9110 section 9.3.6).

use std::io::Write;

use super::error::{StatusCause, TalkError};
use super::said::{Fed, ProxyBound, TalkOutput, Talked};
use crate::limits::{PARENT_HEAD_BYTES_MAX, PARENT_INTERIM_MAX};
use crate::proto::address::Target;
use crate::proto::http::{HeadError, TunnelAnswer, write_credentials};
use crate::proto::userpass::Credentials;

/// The request: authority form, and Host alike (RFC 9112 section 3.2.3). Via and whatever else tells of the client are left out.
///
/// # Errors
/// The name of the login has a colon, which would end it (RFC 7617 section 2): what is in front of it might be another's.
pub(super) fn request(
    login: Option<&Credentials>,
    target: &Target,
    out: &mut TalkOutput,
) -> Result<(), TalkError> {
    if login.is_some_and(|login| login.user.contains(&b':')) {
        return Err(TalkError::Unspeakable("a name with a colon"));
    }
    // Writing to memory does not fail.
    let _ = write!(&mut **out, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(login) = login {
        out.extend_from_slice(b"Proxy-Authorization: Basic ");
        write_credentials(login, out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The head of a response, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct TunnelReading {
    /// How many of the bytes were looked at.
    scanned: usize,
    /// Interim responses before it.
    interim: u8,
}

impl TunnelReading {
    /// Takes a response where it is whole. Any 2xx is a tunnel, and what follows its head is of the target, whatever the head
    /// says of a body (RFC 9110 section 9.3.6); of another the body is not read.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<Option<Fed>, TalkError> {
        let head = &input[..input.len().min(PARENT_HEAD_BYTES_MAX)];
        let Some((TunnelAnswer { status, error }, used)) =
            TunnelAnswer::read(head, &mut self.scanned).map_err(TalkError::Head)?
        else {
            return match head.len() == PARENT_HEAD_BYTES_MAX {
                true => Err(TalkError::Head(HeadError::TooLong)),
                false => Ok(None),
            };
        };
        match status {
            // RFC 9110 section 15.2: any number of them may come before; 101 was not asked for.
            100 | 102..=199 if self.interim < PARENT_INTERIM_MAX => {
                *self = TunnelReading { scanned: 0, interim: self.interim + 1 };
                Ok(Some((used, Talked::Pending)))
            }
            100..=199 => Err(TalkError::Head(HeadError::Unasked)),
            200..=299 => Ok(Some((used, Talked::Done(ProxyBound::default())))),
            407 => Err(TalkError::Login),
            status => Err(TalkError::Status(status, error.as_deref().and_then(cause_of))),
        }
    }
}

/// What an error of Proxy-Status means to a client (RFC 9209 section 2.3).
fn cause_of(error: &str) -> Option<StatusCause> {
    Some(match error {
        "dns_error" | "destination_not_found" | "destination_unavailable" => StatusCause::Name,
        "dns_timeout" | "connection_timeout" | "connection_read_timeout" | "http_response_timeout" => {
            StatusCause::TimedOut
        }
        "connection_refused" | "connection_terminated" => StatusCause::Refused,
        "destination_ip_unroutable" => StatusCause::Unroutable,
        "destination_ip_prohibited"
        | "http_request_denied"
        | "http_request_error"
        | "proxy_loop_detected" => StatusCause::Prohibited,
        "proxy_internal_error" | "proxy_configuration_error" | "proxy_internal_response" => {
            StatusCause::Proxy
        }
        _ => return None,
    })
}
