//! What a client of SOCKS5 sends, and what it is answered (RFC 1928, RFC 1929).

use std::net::IpAddr;

use super::error::TalkError;
use super::said::{ProxyBound, TalkOutput};
use crate::proto::VERSION;
use crate::proto::address::{ATYP_IPV4, ATYP_IPV6, ATYP_NAME, Host, Target};
use crate::proto::greeting::Method;
use crate::proto::reply::Rep;
use crate::proto::request::RequestCommand;
use crate::proto::userpass::{Credentials, LOGIN_VERSION};

/// VER and METHOD.
pub(super) const METHOD_BYTES: usize = 2;
/// VER and STATUS.
pub(super) const STATUS_BYTES: usize = 2;
/// "NO ACCEPTABLE METHODS" (RFC 1928 section 3).
const NO_ACCEPTABLE: u8 = 0xff;
/// VER, REP, RSV and ATYP.
const HEADER: usize = 4;

/// A method that the proxy chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChosenMethod {
    Nothing,
    Password,
}

/// The greeting: no authentication, and a password where there is one. A proxy that lets everybody in need not be told it.
pub(super) fn greet(has_login: bool, out: &mut TalkOutput) {
    match has_login {
        true => out.extend([VERSION, 2, Method::None.code(), Method::Password.code()]),
        false => out.extend([VERSION, 1, Method::None.code()]),
    }
}

/// The method that was chosen; `None` where it is not whole.
pub(super) fn method(input: &[u8], has_login: bool) -> Result<Option<ChosenMethod>, TalkError> {
    let Some(&version) = input.first() else { return Ok(None) };
    if version != VERSION {
        return Err(TalkError::Version(version));
    }
    match input.get(1) {
        None => Ok(None),
        Some(0x00) => Ok(Some(ChosenMethod::Nothing)),
        Some(&code) if has_login && code == Method::Password.code() => Ok(Some(ChosenMethod::Password)),
        Some(&NO_ACCEPTABLE) => Err(TalkError::NoMethod),
        Some(&code) => Err(TalkError::Method(code)),
    }
}

/// The login (RFC 1929 section 2). An empty password, which the letter of the RFC does not have, is sent as one: proxies that go by
/// the name alone take it.
///
/// # Errors
/// A name or password that its length octet cannot say: cut there it might be another's.
pub(super) fn login(credentials: &Credentials, out: &mut TalkOutput) -> Result<(), TalkError> {
    let parts = [&credentials.user[..], credentials.password().unwrap_or_default()];
    let [Ok(user), Ok(password)] = parts.map(|part| u8::try_from(part.len())) else {
        return Err(TalkError::Unspeakable("a login of more than 255 bytes"));
    };
    out.push(LOGIN_VERSION);
    for (length, part) in [user, password].into_iter().zip(parts) {
        out.push(length);
        out.extend_from_slice(part);
    }
    Ok(())
}

/// Whether the login was taken; `false` where the answer is not whole. RFC 1929 section 2: any status but 0 refuses it.
pub(super) fn logged_in(input: &[u8]) -> Result<bool, TalkError> {
    match input {
        [] => Ok(false),
        // Some say the version of SOCKS here.
        [version, ..] if ![LOGIN_VERSION, VERSION].contains(version) => Err(TalkError::Version(*version)),
        [_] => Ok(false),
        [_, 0, ..] => Ok(true),
        [_, _, ..] => Err(TalkError::Login),
    }
}

/// The request (RFC 1928 section 4). An IPv4-mapped address is sent as the IPv4 address that it is.
pub(super) fn request(command: RequestCommand, target: &Target, out: &mut TalkOutput) {
    out.extend([VERSION, command.code(), 0]);
    match &target.host {
        Host::Ip(ip) => match ip.to_canonical() {
            IpAddr::V4(v4) => {
                out.push(ATYP_IPV4);
                out.extend(v4.octets());
            }
            IpAddr::V6(v6) => {
                out.push(ATYP_IPV6);
                out.extend(v6.octets());
            }
        },
        Host::Name(name) => {
            // A canonical name is shorter than a length octet can say.
            out.extend([ATYP_NAME, u8::try_from(name.as_str().len()).unwrap_or_default()]);
            out.extend_from_slice(name.as_str().as_bytes());
        }
    }
    out.extend(target.port.to_be_bytes());
}

/// The reply (RFC 1928 section 6); `None` where it is not whole. One that refuses does so with its second byte: some proxies
/// send no more, and what follows has no meaning. RSV is not looked at.
pub(super) fn reply(input: &[u8]) -> Result<Option<(ProxyBound, usize)>, TalkError> {
    let Some(&version) = input.first() else { return Ok(None) };
    if version != VERSION {
        return Err(TalkError::Version(version));
    }
    match input.get(1) {
        None => return Ok(None),
        Some(0) => {}
        Some(&code) => return Err(refused(code)),
    }
    let Some(&kind) = input.get(HEADER - 1) else { return Ok(None) };
    let rest = &input[HEADER..];
    let length = match kind {
        ATYP_IPV4 => 4,
        ATYP_IPV6 => 16,
        ATYP_NAME => match rest.first() {
            Some(length) => 1 + usize::from(*length),
            None => return Ok(None),
        },
        other => return Err(TalkError::AddressType(other)),
    };
    let Some((address, port)) = rest.get(..length + 2).and_then(|bytes| bytes.split_last_chunk::<2>()) else {
        return Ok(None);
    };
    let host = match kind {
        ATYP_IPV4 => address.first_chunk::<4>().map(|octets| Host::Ip((*octets).into())),
        ATYP_IPV6 => address.first_chunk::<16>().map(|octets| Host::Ip((*octets).into())),
        // A tunnel stands whatever its other end is called.
        _ => Host::parse(&address[1..]).ok(),
    };
    let port = u16::from_be_bytes(*port);
    Ok(Some((ProxyBound(host.map(|host| Target { host, port })), HEADER + length + 2)))
}

fn refused(code: u8) -> TalkError {
    let all = [
        Rep::GeneralFailure,
        Rep::NotAllowed,
        Rep::NetworkUnreachable,
        Rep::HostUnreachable,
        Rep::ConnectionRefused,
        Rep::TtlExpired,
        Rep::CommandNotSupported,
        Rep::AddressTypeNotSupported,
    ];
    all.into_iter().find(|rep| rep.code() == code).map_or(TalkError::UnknownReply(code), TalkError::Refused)
}
