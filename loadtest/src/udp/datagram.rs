//! One datagram: the header of RFC 1928 section 7, then a payload that says which datagram it is and
//! whose every byte can be checked.
//!
//! ```text
//! RSV RSV FRAG | ATYP ADDR PORT | run (8) association (4) number (8) nanoseconds (8) | pattern
//! ```

use std::net::SocketAddr;

use crate::fault::{Fault, Phase};
use crate::handshake::{decode_address, encode_address};
use crate::payload::Pattern;

/// Run, association, number, time of sending.
pub(crate) const STAMP_BYTES: usize = 8 + 4 + 8 + 8;
/// RSV, RSV, FRAG.
const PREFIX: [u8; 3] = [0; 3];

/// Who sent a datagram, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Differs from run to run: an echo of an earlier run is foreign.
    pub(super) run: u64,
    pub(super) association: u32,
    pub(super) number: u64,
    /// Nanoseconds from the start of the run to the intended start.
    pub(super) at_ns: u64,
}

/// Writes and reads datagrams of one size.
pub(super) struct Codec {
    /// Empty where no server is between.
    header: Vec<u8>,
    target: SocketAddr,
    payload: usize,
    pattern: Pattern,
}

impl Codec {
    /// `payload` bytes each, at least `STAMP_BYTES`, without a header: no server is between.
    pub(super) fn direct(target: SocketAddr, payload: usize) -> Self {
        Self { header: Vec::new(), target, payload, pattern: Pattern::new(payload) }
    }

    /// `payload` bytes each behind a header for `target`, or for `name` in place of its address.
    pub(super) fn relayed(target: SocketAddr, name: Option<&str>, payload: usize) -> Self {
        let mut header = PREFIX.to_vec();
        encode_address(target, name, &mut header);
        Self { header, ..Self::direct(target, payload) }
    }

    /// Bytes of a whole datagram.
    pub(super) fn len(&self) -> usize {
        self.header.len() + self.payload
    }

    /// Fills `out`, which is `len` bytes long.
    pub(super) fn write(&self, stamp: Stamp, out: &mut [u8]) {
        let (header, payload) = out.split_at_mut(self.header.len());
        header.copy_from_slice(&self.header);
        payload[..8].copy_from_slice(&stamp.run.to_be_bytes());
        payload[8..12].copy_from_slice(&stamp.association.to_be_bytes());
        payload[12..20].copy_from_slice(&stamp.number.to_be_bytes());
        payload[20..28].copy_from_slice(&stamp.at_ns.to_be_bytes());
        payload[STAMP_BYTES..].copy_from_slice(self.fill(stamp.number));
    }

    /// The stamp of an echo; `Err` for a header that no server may send and for a byte that differs.
    pub(super) fn read(&self, datagram: &[u8]) -> Result<Stamp, Fault> {
        let payload = &datagram[self.header_len(datagram)?..];
        let wrong = |position| Fault::WrongBytes { position };
        if payload.len() != self.payload {
            return Err(wrong(payload.len().min(self.payload)));
        }
        let number = |from: usize| u64::from_be_bytes(payload[from..from + 8].try_into().expect("8 bytes"));
        let association = u32::from_be_bytes(payload[8..12].try_into().expect("4 bytes"));
        let stamp = Stamp { run: number(0), association, number: number(12), at_ns: number(20) };
        let (got, sent) = (&payload[STAMP_BYTES..], self.fill(stamp.number));
        if got != sent {
            let right = got.iter().zip(sent).take_while(|(one, other)| one == other).count();
            return Err(wrong(STAMP_BYTES + right));
        }
        Ok(stamp)
    }

    /// The header of an echo names where it came from: the target, by its address or as it was asked for.
    fn header_len(&self, datagram: &[u8]) -> Result<usize, Fault> {
        if datagram.starts_with(&self.header) {
            return Ok(self.header.len());
        }
        let malformed = |at: usize| Fault::Malformed(Phase::Data, datagram.get(at).copied().unwrap_or(0));
        if let Some(at) = (0..PREFIX.len()).find(|&at| datagram.get(at) != Some(&0)) {
            return Err(malformed(at));
        }
        let (from, len) = decode_address(&datagram[PREFIX.len()..]).ok_or(malformed(PREFIX.len()))?;
        if from == self.target { Ok(PREFIX.len() + len) } else { Err(Fault::Foreign(from)) }
    }

    fn fill(&self, number: u64) -> &[u8] {
        self.pattern.at((number % (1 << 32)) as usize, self.payload - STAMP_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { run: 1, association: 2, number: 3, at_ns: 4 };

    fn written(relayed: bool, payload: usize) -> (Codec, Vec<u8>) {
        let target = "127.0.0.1:80".parse().expect("an address");
        let codec =
            if relayed { Codec::relayed(target, None, payload) } else { Codec::direct(target, payload) };
        let mut bytes = vec![0xEE; codec.len()];
        codec.write(STAMP, &mut bytes);
        (codec, bytes)
    }

    #[test]
    fn header_stamp_and_pattern() {
        let (codec, bytes) = written(true, STAMP_BYTES + 2);
        assert_eq!(bytes[..10], [0, 0, 0, 1, 127, 0, 0, 1, 0, 80]);
        assert_eq!(bytes[10..18], [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(bytes[22..30], [0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(bytes[38..], [3, 4]);
        assert_eq!(codec.read(&bytes).expect("as written"), STAMP);
        let (direct, bytes) = written(false, STAMP_BYTES);
        assert_eq!((bytes.len(), direct.read(&bytes).expect("as written")), (STAMP_BYTES, STAMP));
    }

    #[test]
    fn a_name_is_asked_for_and_its_address_answers() {
        let codec = Codec::relayed("127.0.0.1:80".parse().expect("an address"), Some("a"), STAMP_BYTES);
        let mut bytes = vec![0xEE; codec.len()];
        codec.write(STAMP, &mut bytes);
        assert_eq!(bytes[..8], [0, 0, 0, 3, 1, b'a', 0, 80]);
        assert_eq!(codec.read(&bytes).expect("the same header"), STAMP);
        let resolved = [&[0, 0, 0, 1, 127, 0, 0, 1, 0, 80], &bytes[7 + 1..]].concat();
        assert_eq!(codec.read(&resolved).expect("the address"), STAMP);
    }

    #[test]
    fn lies_are_named() {
        let (codec, good) = written(true, 100);
        let read = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            codec.read(&bytes).expect_err("a lie")
        };
        assert!(matches!(read(&|b| b[2] = 1), Fault::Malformed(Phase::Data, 1)), "a fragment");
        assert!(matches!(read(&|b| b[3] = 9), Fault::Malformed(Phase::Data, 9)), "an address type");
        assert!(matches!(read(&|b| b[7] = 2), Fault::Foreign(_)), "another source");
        assert!(matches!(read(&|b| b.truncate(4)), Fault::Malformed(..)), "cut in its header");
        assert!(matches!(read(&|b| b.truncate(50)), Fault::WrongBytes { position: 40 }), "cut");
        assert!(matches!(read(&|b| b.push(0)), Fault::WrongBytes { position: 100 }), "longer");
        assert!(matches!(read(&|b| b[60] ^= 1), Fault::WrongBytes { position: 50 }), "a bit");
    }
}
