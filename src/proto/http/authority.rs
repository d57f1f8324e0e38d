//! Hosts and ports as HTTP has them (RFC 9110 section 4.2, RFC 9112 section 3.2).

use super::error::HeadError;
use crate::proto::address::{Host, Target};
use crate::proto::name_error::NameError;

/// A host and port; without a port `default` is meant.
///
/// # Errors
/// [`HeadError::Userinfo`], [`HeadError::Port`] (also for an empty one, which is read in two ways), [`HeadError::NoPort`]
/// where there is no default, [`HeadError::HostName`].
pub(super) fn parse(text: &[u8], default: Option<u16>) -> Result<Target, HeadError> {
    if text.contains(&b'@') {
        return Err(HeadError::Userinfo);
    }
    let (host, port) = split(text);
    let port = match port {
        Some(digits) => port_of(digits)?,
        None => default.ok_or(HeadError::NoPort)?,
    };
    // Other bytes than these are no URI's, though they may be mapped to a name.
    let host = if host.is_ascii() { Host::parse(host) } else { Err(NameError::NonAscii) };
    Ok(Target { host: host.map_err(HeadError::HostName)?, port })
}

/// Host in front, and what stands behind the colon.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let begin = match text.first() {
        Some(b'[') => text.iter().position(|byte| *byte == b']').unwrap_or(0),
        _ => 0,
    };
    match text[begin..].iter().position(|byte| *byte == b':') {
        Some(at) => (&text[..begin + at], Some(&text[begin + at + 1..])),
        None => (text, None),
    }
}

fn port_of(digits: &[u8]) -> Result<u16, HeadError> {
    let digits = std::str::from_utf8(digits).map_err(|_| HeadError::Port)?;
    // `parse` would take a sign.
    let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(port) if plain && port != 0 => Ok(port),
        _ => Err(HeadError::Port),
    }
}
