//! What a client of SOCKS4 and 4a sends, and what it is answered.

use std::net::{IpAddr, Ipv4Addr};

use super::error::TalkError;
use super::said::{ClientProtocol, ProxyBound, TalkOutput};
use crate::proto::address::{Host, Target};
use crate::proto::socks4::{ReplyCode, VERSION};
use crate::proto::userpass::Credentials;

/// CD of CONNECT.
const CONNECT: u8 = 0x01;
/// VN, CD, DSTPORT and DSTIP of a reply.
const REPLY: usize = 8;
/// The address that says in 4a that a name follows: 0.0.0.x with x other than 0.
const NAME_FOLLOWS: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);

/// Whether a proxy would take this address for the word that a name follows.
pub(super) fn reads_as_name(protocol: ClientProtocol, ip: IpAddr) -> bool {
    let of_socks4 = matches!(protocol, ClientProtocol::Socks4 | ClientProtocol::Socks4a);
    of_socks4 && matches!(ip.to_canonical(), IpAddr::V4(v4) if v4.octets()[..3] == [0; 3])
}

/// The request, with the name of a login as the user id; there is no place for its password.
///
/// # Errors
/// The user id has a NUL, which would end it.
pub(super) fn request(
    login: Option<&Credentials>,
    target: &Target,
    out: &mut TalkOutput,
) -> Result<(), TalkError> {
    let user = login.map(|login| &login.user[..]).unwrap_or_default();
    if user.contains(&0) {
        return Err(TalkError::Unspeakable("a user id with a NUL"));
    }
    let (address, name) = match &target.host {
        Host::Name(name) => (NAME_FOLLOWS, Some(name.as_str())),
        Host::Ip(ip) => match ip.to_canonical() {
            IpAddr::V4(v4) => (v4, None),
            IpAddr::V6(_) => return Err(TalkError::Unspeakable("an IPv6 address")),
        },
    };
    out.extend([VERSION, CONNECT]);
    out.extend(target.port.to_be_bytes());
    out.extend(address.octets());
    for text in [Some(user), name.map(str::as_bytes)].into_iter().flatten() {
        out.extend_from_slice(text);
        out.push(0);
    }
    Ok(())
}

/// The reply; `None` where it is not whole. One that refuses does so with its second byte.
pub(super) fn reply(input: &[u8]) -> Result<Option<(ProxyBound, usize)>, TalkError> {
    const GRANTED: u8 = ReplyCode::Granted as u8;
    match input {
        [] => return Ok(None),
        // "the version of the reply code and should be 0".
        [version, ..] if *version != 0 => return Err(TalkError::Version(*version)),
        [_, GRANTED, ..] => {}
        // 92: identd was not reached; 93: it says another user.
        [_, 92 | 93, ..] => return Err(TalkError::Login),
        [_] => return Ok(None),
        [_, code, ..] => return Err(TalkError::Rejected(*code)),
    }
    let Some([_, _, high, low, address @ ..]) = input.first_chunk::<REPLY>() else { return Ok(None) };
    let (host, port) = (Host::Ip(Ipv4Addr::from(*address).into()), u16::from_be_bytes([*high, *low]));
    Ok(Some((ProxyBound(Some(Target { host, port })), REPLY)))
}
