//! Datagrams of a sealed association: each is one message with a header of RFC 1928 section 7 and its payload inside
//! (RFC 1961 section 5).

use std::net::SocketAddr;
use std::ops::Range;

use super::drops::Drop;
use crate::limits;
use crate::proto::gss::{MessageType, decode};
use crate::proto::udp;
use crate::seal::{Seal, SealError};

/// Appends what the message in a datagram of the client's holds to `opened`; false where it is not one of its messages.
pub(super) fn open_one(seal: &mut Seal, datagram: &[u8], opened: &mut Vec<u8>) -> bool {
    match decode(datagram, MessageType::Encapsulated) {
        Ok(Some((token, used))) if used == datagram.len() => seal.open_datagram(token, opened).is_ok(),
        _ => false,
    }
}

/// Appends the message with a datagram of `peer` to `out`; where it lies there.
pub(super) fn seal_one(
    seal: &mut Seal,
    peer: SocketAddr,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<Range<usize>, Drop> {
    let mut header = [0; limits::UDP_HEADER_MAX];
    let len = udp::encode(peer, &mut header);
    let plain = [&header[..len], payload].concat();
    let start = out.len();
    match seal.seal_one(&plain, out) {
        Ok(()) => Ok(start..out.len()),
        Err(SealError::TooLong) => Err(Drop::Oversize),
        Err(_) => Err(Drop::Seal),
    }
}
