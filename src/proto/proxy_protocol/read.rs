//! Headers that a load balancer sends us: they say who a client is.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{
    HEADER_V2, SIGNATURE, TCP4, TCP6, TYPE_AUTHORITY, TYPE_CRC32C, TYPE_UNIQUE_ID, UNSPEC, VERSION_2_LOCAL,
    VERSION_2_PROXY, crc32c,
};
use crate::limits::{PROXY_AUTHORITY_MAX, PROXY_HEADER_MAX, PROXY_ID_MAX, PROXY_V1_MAX};
use crate::proto::{Decoded, ProtoError};

/// What a header of version 1 begins with (section 2.1).
const V1: &[u8] = b"PROXY ";
/// UDP, and sockets of the unix family: their addresses are passed over.
const UDP4: u8 = 0x12;
const UDP6: u8 = 0x22;
const UNIX_STREAM: u8 = 0x31;
const UNIX_DATAGRAM: u8 = 0x32;

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
    let read = match (begins(V1), begins(&SIGNATURE)) {
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
    let command = match bytes.get(SIGNATURE.len()) {
        None => return Ok(None),
        // The version is 2, and the command LOCAL or PROXY: "receivers must drop connections presenting unexpected values".
        Some(&VERSION_2_LOCAL) => HeaderCommand::Local,
        Some(&VERSION_2_PROXY) => HeaderCommand::Proxy,
        Some(_) => return Err("an unknown version or command"),
    };
    let Some(fixed) = bytes.get(..HEADER_V2) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([fixed[HEADER_V2 - 2], fixed[HEADER_V2 - 1]]));
    let used = HEADER_V2 + length;
    if used > PROXY_HEADER_MAX {
        return Err("it is too long");
    }
    let Some(header) = bytes.get(..used) else { return Ok(None) };
    match command {
        // "The receiver must accept this connection as valid and must use the real connection endpoints and discard the
        // protocol block including the family which is ignored."
        HeaderCommand::Local => Ok(Some((ProxyHeader::default(), used))),
        HeaderCommand::Proxy => proxied(header, fixed[HEADER_V2 - 3]).map(|read| Some((read, used))),
    }
}

enum HeaderCommand {
    Local,
    Proxy,
}

/// A header of command PROXY, with its family and transport.
fn proxied(header: &[u8], kind: u8) -> HeaderRead<ProxyHeader> {
    let block = &header[HEADER_V2..];
    let length = match kind {
        UNSPEC => 0,
        TCP4 | UDP4 => 12,
        TCP6 | UDP6 => 36,
        UNIX_STREAM | UNIX_DATAGRAM => 216,
        _ => return Err("an unknown family or transport"),
    };
    let (addresses, _) = block.split_at_checked(length).ok_or("it is too short for its addresses")?;
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    let ip = |length: usize| &addresses[..length];
    let client = match kind {
        TCP4 => <[u8; 4]>::try_from(ip(4)).ok().map(|ip| SocketAddr::from((ip, port(8)))),
        TCP6 => <[u8; 16]>::try_from(ip(16)).ok().map(|ip| SocketAddr::from((ip, port(32)))),
        // Unspecified, of UDP, or of a unix socket: whoever connected is all that is known.
        _ => None,
    };
    let mut read = ProxyHeader { client, ..ProxyHeader::default() };
    fields(header, HEADER_V2 + length, &mut read)?;
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
            TYPE_AUTHORITY if value.len() > PROXY_AUTHORITY_MAX => {
                return Err("an authority that is too long");
            }
            TYPE_AUTHORITY => {
                let text = std::str::from_utf8(value).map_err(|_| "an authority that is no text")?;
                read.authority.get_or_insert_with(|| text.into());
            }
            TYPE_CRC32C => check_sum(header, begins, value)?,
            TYPE_UNIQUE_ID if value.len() > PROXY_ID_MAX => return Err("a unique id that is too long"),
            TYPE_UNIQUE_ID => drop(read.unique_id.get_or_insert_with(|| value.into())),
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
