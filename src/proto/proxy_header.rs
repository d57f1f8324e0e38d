//! The header of the PROXY protocol, versions 1 and 2, which a load balancer puts in front of what a client sends (HAProxy's
//! proxy-protocol.txt): it says who the client is.
//!
//! Whether anybody's word is taken for that is not decided here.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::proxy_protocol::crc32c;
use super::{Decoded, ProtoError};
use crate::limits::{PROXY_AUTHORITY_MAX, PROXY_HEADER_MAX, PROXY_ID_MAX, PROXY_V1_MAX};

/// What a header of version 1 begins with (section 2.1).
const V1: &[u8] = b"PROXY ";
/// What a header of version 2 begins with (section 2.2).
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and transport, and the length of what follows.
const V2_FIXED: usize = V2.len() + 4;

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Who the client is; `None` where the header speaks of nobody else than whoever connected, or of somebody who has no
    /// address and port of TCP.
    pub client: Option<SocketAddr>,
    /// What the balancer calls the connection (PP2_TYPE_UNIQUE_ID): any bytes.
    pub unique_id: Option<Box<[u8]>>,
    /// The host that the client named to the balancer (PP2_TYPE_AUTHORITY).
    pub authority: Option<Box<str>>,
}

/// What a header is read for.
type HeaderRead<T> = Result<T, &'static str>;

/// Reads a header.
///
/// # Errors
/// [`ProtoError::NoProxyHeader`] where the bytes begin none, [`ProtoError::ProxyHeader`] where one is broken.
pub fn decode(bytes: &[u8]) -> Decoded<ProxyHeader> {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(byte, wanted)| byte == wanted);
    let read = match (begins(V1), begins(V2)) {
        (true, _) => version_1(bytes),
        (false, true) => version_2(bytes),
        (false, false) => return Err(ProtoError::NoProxyHeader),
    };
    if bytes.is_empty() { Ok(None) } else { read.map_err(ProtoError::ProxyHeader) }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 40000 443` and CRLF.
fn version_1(bytes: &[u8]) -> HeaderRead<Option<(ProxyHeader, usize)>> {
    // Section 2.1: 107 bytes at most, the CRLF among them.
    let within = &bytes[..bytes.len().min(PROXY_V1_MAX)];
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        return if within.len() == PROXY_V1_MAX { Err("the line does not end") } else { Ok(None) };
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| "the line is no text")?;
    let client = match line.split(' ').collect::<Vec<_>>()[1..] {
        // "The receiver must ignore anything presented before the CRLF is found".
        ["UNKNOWN", ..] => None,
        ["TCP4", from, to, from_port, to_port] => Some(ends::<Ipv4Addr>(from, to, from_port, to_port)?),
        ["TCP6", from, to, from_port, to_port] => Some(ends::<Ipv6Addr>(from, to, from_port, to_port)?),
        ["TCP4" | "TCP6", ..] => return Err("it has not two addresses and two ports"),
        _ => return Err("an unknown family"),
    };
    Ok(Some((ProxyHeader { client, ..ProxyHeader::default() }, end + 2)))
}

/// The source, where both ends are what they should be.
fn ends<A: FromStr + Into<std::net::IpAddr>>(
    from: &str,
    to: &str,
    from_port: &str,
    to_port: &str,
) -> HeaderRead<SocketAddr> {
    let address = |text: &str| text.parse::<A>().map_err(|_| "an address that is none");
    let port = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse::<u16>().ok().filter(|_| plain).ok_or("a port that is none")
    };
    let (from, from_port) = (address(from)?, port(from_port)?);
    address(to)?;
    port(to_port)?;
    Ok(SocketAddr::new(from.into(), from_port))
}

/// The binary header.
fn version_2(bytes: &[u8]) -> HeaderRead<Option<(ProxyHeader, usize)>> {
    let command = match bytes.get(V2.len()) {
        None => return Ok(None),
        // The version is 2, and the command LOCAL or PROXY: "receivers must drop connections presenting unexpected values".
        Some(0x20) => HeaderCommand::Local,
        Some(0x21) => HeaderCommand::Proxy,
        Some(_) => return Err("an unknown version or command"),
    };
    let Some(fixed) = bytes.get(..V2_FIXED) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([fixed[V2_FIXED - 2], fixed[V2_FIXED - 1]]));
    let used = V2_FIXED + length;
    if used > PROXY_HEADER_MAX {
        return Err("it is too long");
    }
    let Some(header) = bytes.get(..used) else { return Ok(None) };
    match command {
        // "The receiver must accept this connection as valid and must use the real connection endpoints and discard the
        // protocol block including the family which is ignored."
        HeaderCommand::Local => Ok(Some((ProxyHeader::default(), used))),
        HeaderCommand::Proxy => proxied(header, fixed[V2_FIXED - 3]).map(|read| Some((read, used))),
    }
}

enum HeaderCommand {
    Local,
    Proxy,
}

/// A header of command PROXY, with its family and transport.
fn proxied(header: &[u8], kind: u8) -> HeaderRead<ProxyHeader> {
    let block = &header[V2_FIXED..];
    let length = match kind {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Err("an unknown family or transport"),
    };
    let (addresses, _) = block.split_at_checked(length).ok_or("it is too short for its addresses")?;
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    let ip = |length: usize| &addresses[..length];
    let client = match kind {
        0x11 => <[u8; 4]>::try_from(ip(4)).ok().map(|ip| SocketAddr::from((ip, port(8)))),
        0x21 => <[u8; 16]>::try_from(ip(16)).ok().map(|ip| SocketAddr::from((ip, port(32)))),
        // Unspecified, of UDP, or of a unix socket: whoever connected is all that is known.
        _ => None,
    };
    let mut read = ProxyHeader { client, ..ProxyHeader::default() };
    fields(header, V2_FIXED + length, &mut read)?;
    Ok(read)
}

/// Reads the fields behind the addresses (section 2.2.1): type, length, value.
fn fields(header: &[u8], mut at: usize, read: &mut ProxyHeader) -> HeaderRead<()> {
    while at < header.len() {
        let head = header.get(at..at + 3).ok_or("a field that ends too soon")?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (begins, ends) = (at + 3, at + 3 + length);
        let value = header.get(begins..ends).ok_or("a field that ends too soon")?;
        match head[0] {
            0x02 if value.len() > PROXY_AUTHORITY_MAX => return Err("an authority that is too long"),
            0x02 => {
                let text = std::str::from_utf8(value).map_err(|_| "an authority that is no text")?;
                read.authority.get_or_insert_with(|| text.into());
            }
            0x03 => check_sum(header, begins, value)?,
            0x05 if value.len() > PROXY_ID_MAX => return Err("a unique id that is too long"),
            0x05 => drop(read.unique_id.get_or_insert_with(|| value.into())),
            _ => {}
        }
        at = ends;
    }
    Ok(())
}

/// PP2_TYPE_CRC32C: the sum of the whole header, in which it counts as zeros.
fn check_sum(header: &[u8], at: usize, value: &[u8]) -> HeaderRead<()> {
    let told = <[u8; 4]>::try_from(value).map_err(|_| "a checksum that is none")?;
    let summed = [&header[..at], &[0; 4], &header[at + 4..]].concat();
    if crc32c(&summed) == u32::from_be_bytes(told) { Ok(()) } else { Err("a wrong checksum") }
}

#[cfg(test)]
mod tests;
