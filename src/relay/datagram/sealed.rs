//! Datagrams of a sealed association: each is one message with a header of RFC 1928 section 7 and its payload inside
//! (RFC 1961 section 5).

use super::association::{Association, World};
use super::drops::{Drop, Drops};
use crate::limits;
use crate::proto::gss::{MessageType, decode};
use crate::proto::udp;
use crate::seal::{Seal, SealError};
use crate::sys::mmsg::{Filled, Inbox};
use std::net::SocketAddr;
use std::ops::Range;

impl Association {
    /// What has come from here on is sealed, and so is what leaves for the client.
    pub fn seal(&mut self, seal: Box<Seal>) {
        self.seal = Some(seal);
    }

    /// Opens the datagrams of one batch, those of the client alone, into `opened`: who sent each, and where it lies there;
    /// and how many were looked at, for a bad one costs as much as a good one.
    pub(super) fn open_batch(
        &mut self,
        inbox: &Inbox,
        rooms: usize,
        opened: &mut Vec<u8>,
        world: &World<'_>,
        drops: &mut Drops,
    ) -> (Vec<(Filled, Range<usize>)>, usize) {
        opened.clear();
        let mut found = Vec::new();
        let mut seen = 0;
        for filled in (0..rooms).map(|at| inbox.filled(at)) {
            if self.sender(&filled, world).is_none() {
                drops.add(Drop::Stranger, filled.datagrams().count());
                continue;
            }
            for datagram in filled.datagrams() {
                seen += 1;
                let start = opened.len();
                match self.open_one(&inbox.memory()[datagram], opened) {
                    true => found.push((filled, start..opened.len())),
                    false => drops.add(Drop::Seal, 1),
                }
            }
        }
        (found, seen)
    }

    fn open_one(&mut self, datagram: &[u8], opened: &mut Vec<u8>) -> bool {
        let Some(seal) = &mut self.seal else { return false };
        match decode(datagram, MessageType::Encapsulated) {
            Ok(Some((token, used))) if used == datagram.len() => seal.open_datagram(token, opened).is_ok(),
            _ => false,
        }
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
