//! Messages of GSSAPI authentication (RFC 1961 sections 3, 4 and 5). All of them have one frame:
//!
//! ```text
//! +------+------+------+.......................+
//! + ver  | mtyp | len  |         token         |
//! +------+------+------+.......................+
//! + 0x01 |  1   |  2   | up to 2^16 - 1 octets |
//! +------+------+------+.......................+
//! ```
//!
//! Only `ver | mtyp` X'01FF' is shorter: it says that the other side gives up. Tokens are the mechanism's; nothing is
//! known of them here.

use super::{Decoded, ProtoError};

/// VER of the subnegotiation; not that of SOCKS.
const VERSION: u8 = 0x01;
/// MTYP of the message that ends the subnegotiation.
const ABORT: u8 = 0xff;
/// Bytes before the token.
pub const HEADER: usize = 4;

/// The MTYP octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageType {
    /// A token of the context's establishment (section 3.4 and 3.7).
    Authentication = 0x01,
    /// A sealed octet: the level of protection that is asked for or granted (section 4.3).
    ProtectionLevel = 0x02,
    /// A sealed piece of everything that follows (section 5).
    Encapsulated = 0x03,
}

/// Reads one message of the type that is due; its token, borrowed.
///
/// # Errors
/// [`ProtoError::GssVersion`], [`ProtoError::GssAbort`] and [`ProtoError::GssType`], each on the very byte: a
/// message of another type than is due is never looked into.
pub fn decode(input: &[u8], due: MessageType) -> Decoded<&[u8]> {
    let Some((&version, rest)) = input.split_first() else { return Ok(None) };
    if version != VERSION {
        return Err(ProtoError::GssVersion(version));
    }
    let Some((&kind, rest)) = rest.split_first() else { return Ok(None) };
    match kind {
        ABORT => return Err(ProtoError::GssAbort),
        kind if kind == due as u8 => {}
        other => return Err(ProtoError::GssType(other)),
    }
    let Some((length, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    Ok(rest.get(..length).map(|token| (token, HEADER + length)))
}

/// What stands before a token of `length` bytes.
pub fn header(kind: MessageType, length: u16) -> [u8; HEADER] {
    let [high, low] = length.to_be_bytes();
    [VERSION, kind as u8, high, low]
}

/// The message by which the server gives up; the connection must be closed behind it (section 3.8).
pub const fn abort() -> [u8; 2] {
    [VERSION, ABORT]
}

#[cfg(test)]
mod tests {
    use super::super::splits::{error_at_last_byte, value};
    use super::*;

    fn read(due: MessageType) -> impl Fn(&[u8]) -> Decoded<Vec<u8>> {
        move |input| Ok(decode(input, due)?.map(|(token, used)| (token.to_vec(), used)))
    }

    #[test]
    fn a_message_of_each_type_at_every_split() {
        assert_eq!(value(read(MessageType::Authentication), b"\x01\x01\x00\x05token"), b"token");
        assert_eq!(value(read(MessageType::ProtectionLevel), b"\x01\x02\x00\x01\x02"), b"\x02");
        assert_eq!(
            value(
                read(MessageType::Encapsulated),
                b"\x01\x03\x01\x00".iter().chain([&7; 256]).copied().collect::<Vec<_>>().as_slice()
            ),
            [7; 256]
        );
    }

    #[test]
    fn tokens_may_be_empty_and_as_long_as_the_length_can_say() {
        assert_eq!(value(read(MessageType::Authentication), b"\x01\x01\x00\x00"), b"");
        let longest = [b"\x01\x03\xff\xff".as_slice(), &[0xaa; 65_535]].concat();
        assert_eq!(decode(&longest, MessageType::Encapsulated), Ok(Some((&longest[4..], 65_539))));
        assert_eq!(decode(&longest[..65_538], MessageType::Encapsulated), Ok(None));
    }

    #[test]
    fn another_version_or_type_errs_on_its_byte() {
        let due = MessageType::ProtectionLevel;
        for version in [0x00, 0x02, 0x05, 0xff] {
            assert_eq!(error_at_last_byte(read(due), &[version]), ProtoError::GssVersion(version));
        }
        for kind in [0x00, 0x01, 0x03, 0x04, 0xfe] {
            assert_eq!(error_at_last_byte(read(due), &[1, kind]), ProtoError::GssType(kind));
        }
        assert_eq!(error_at_last_byte(read(due), b"\x01\xff"), ProtoError::GssAbort);
    }

    #[test]
    fn headers_on_the_wire() {
        assert_eq!(header(MessageType::Authentication, 5), *b"\x01\x01\x00\x05");
        assert_eq!(header(MessageType::Encapsulated, 65_535), *b"\x01\x03\xff\xff");
        assert_eq!(abort(), *b"\x01\xff");
    }
}
