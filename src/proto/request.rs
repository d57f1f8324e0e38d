//! The request (RFC 1928 section 4):
//!
//! ```text
//! +-----+-----+-------+------+----------+----------+
//! | VER | CMD |  RSV  | ATYP | DST.ADDR | DST.PORT |
//! |  1  |  1  | X'00' |  1   | variable |    2     |
//! +-----+-----+-------+------+----------+----------+
//! ```
//!
//! Fields are judged in this order, each as soon as it is whole, so a bad one has the same error whatever
//! came with it. Whether we serve the command is not decided here.

use super::address::{self, Target};
use super::{Decoded, ProtoError, VERSION};
use crate::limits::{NAME_TYPED_MAX, REQUEST_MAX};

/// VER, CMD and RSV, which stand before the address.
const HEADER: usize = 3;

const _: () = assert!(REQUEST_MAX == HEADER + 1 + 1 + NAME_TYPED_MAX + 2);

/// The CMD octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RequestCommand {
    /// Connect to the target.
    Connect = 0x01,
    /// Accept one connection on the client's behalf.
    Bind = 0x02,
    /// Relay datagrams while the control connection lives.
    UdpAssociate = 0x03,
    /// Tell the address of a name (Tor's socks-extensions.txt).
    Resolve = 0xf0,
    /// Tell the name of an address (Tor's socks-extensions.txt).
    ResolvePtr = 0xf1,
}

impl RequestCommand {
    fn from_code(code: u8) -> Result<Self, ProtoError> {
        match code {
            0x01 => Ok(Self::Connect),
            0x02 => Ok(Self::Bind),
            0x03 => Ok(Self::UdpAssociate),
            0xf0 => Ok(Self::Resolve),
            0xf1 => Ok(Self::ResolvePtr),
            other => Err(ProtoError::Command(other)),
        }
    }

    /// The CMD octet.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The command as rules know it: whoever may ask for the address of a name may ask for the name of an address.
    #[must_use]
    pub fn as_judged(self) -> RequestCommand {
        match self {
            Self::ResolvePtr => Self::Resolve,
            other => other,
        }
    }
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub command: RequestCommand,
    /// With whom. The port is not 0 for CONNECT, and means nothing for RESOLVE; for BIND and UDP ASSOCIATE all zeros say
    /// "not known yet".
    pub target: Target,
}

/// Reads a request.
///
/// # Errors
/// [`ProtoError::Version`], [`ProtoError::Command`], [`ProtoError::Reserved`], [`ProtoError::AddressType`],
/// [`ProtoError::Name`], and [`ProtoError::PortZero`] for CONNECT; the first in the order of the fields.
pub fn decode(input: &[u8]) -> Decoded<Request> {
    let Some(&version) = input.first() else { return Ok(None) };
    if version != VERSION {
        return Err(ProtoError::Version(version));
    }
    let Some(&code) = input.get(1) else { return Ok(None) };
    let command = RequestCommand::from_code(code)?;
    let Some(&reserved) = input.get(2) else { return Ok(None) };
    if reserved != 0 {
        return Err(ProtoError::Reserved(reserved));
    }
    let Some((target, used)) = address::decode(&input[HEADER..])? else { return Ok(None) };
    if target.port == 0 && command == RequestCommand::Connect {
        return Err(ProtoError::PortZero);
    }
    Ok(Some((Request { command, target }, HEADER + used)))
}

#[cfg(test)]
mod tests {
    use super::super::splits::{error_at_last_byte, every_split, value};
    use super::super::{Host, NameError};
    use super::*;

    /// The command and the target as a person would write it.
    fn read(message: &[u8]) -> (RequestCommand, String) {
        let request = value(decode, message);
        (request.command, request.target.to_string())
    }

    #[test]
    fn an_ipv4_target_at_every_split() {
        let asked = read(b"\x05\x01\x00\x01\xc0\x00\x02\x07\x01\xbb");
        assert_eq!(asked, (RequestCommand::Connect, "192.0.2.7:443".into()));
    }

    #[test]
    fn an_ipv6_target_at_every_split() {
        let asked = read(b"\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50");
        assert_eq!(asked, (RequestCommand::Connect, "[2001:db8::1]:80".into()));
    }

    #[test]
    fn a_named_target_at_every_split() {
        let asked = read(b"\x05\x01\x00\x03\x0bexample.com\x00\x50");
        assert_eq!(asked, (RequestCommand::Connect, "example.com:80".into()));
    }

    #[test]
    fn an_address_sent_as_a_name_is_an_address() {
        let request = value(decode, b"\x05\x01\x00\x03\x060x7f.1\x00\x50");
        assert_eq!(request.target.host, Host::Ip([127, 0, 0, 1].into()));
    }

    #[test]
    fn the_longest_request_fits() {
        let mut message = b"\x05\x01\x00\x03\xff".to_vec();
        message.extend([b'0'; 252]);
        message.extend(b"127\x1f\x90");
        assert_eq!(message.len(), REQUEST_MAX);
        // Octal 0127, which is 87: an address of 255 digits.
        assert_eq!(read(&message), (RequestCommand::Connect, "0.0.0.87:8080".into()));
    }

    #[test]
    fn bind_and_udp_associate_may_leave_all_zero() {
        assert_eq!(read(b"\x05\x02\x00\x01\0\0\0\0\0\0"), (RequestCommand::Bind, "0.0.0.0:0".into()));
        assert_eq!(read(b"\x05\x03\x00\x01\0\0\0\0\0\0"), (RequestCommand::UdpAssociate, "0.0.0.0:0".into()));
    }

    #[test]
    fn tors_commands_at_every_split() {
        let asked = read(b"\x05\xf0\x00\x03\x0bexample.com\x00\x00");
        assert_eq!(asked, (RequestCommand::Resolve, "example.com:0".into()));
        let asked = read(b"\x05\xf1\x00\x01\xc0\x00\x02\x07\x00\x00");
        assert_eq!(asked, (RequestCommand::ResolvePtr, "192.0.2.7:0".into()));
    }

    #[test]
    fn port_zero_of_a_connect_is_refused_with_its_last_byte() {
        let messages: [&[u8]; 3] = [
            b"\x05\x01\x00\x01\x01\x02\x03\x04\x00\x00",
            b"\x05\x01\x00\x03\x01a\x00\x00",
            b"\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x00",
        ];
        for message in messages {
            assert_eq!(error_at_last_byte(decode, message), ProtoError::PortZero);
        }
        // A zero in one half of the port is no port 0.
        assert_eq!(read(b"\x05\x01\x00\x01\x01\x02\x03\x04\x01\x00").1, "1.2.3.4:256");
        assert_eq!(read(b"\x05\x01\x00\x01\x01\x02\x03\x04\x00\x01").1, "1.2.3.4:1");
    }

    #[test]
    fn each_bad_field_errs_on_its_byte() {
        for version in [0x00, 0x01, 0x04, 0x06, 0xff] {
            assert_eq!(error_at_last_byte(decode, &[version]), ProtoError::Version(version));
        }
        for command in [0x00, 0x04, 0xef, 0xf2, 0xff] {
            assert_eq!(error_at_last_byte(decode, &[5, command]), ProtoError::Command(command));
        }
        for reserved in [0x01, 0xff] {
            assert_eq!(error_at_last_byte(decode, &[5, 1, reserved]), ProtoError::Reserved(reserved));
        }
        for kind in [0x00, 0x02, 0x05, 0xff] {
            assert_eq!(error_at_last_byte(decode, &[5, 1, 0, kind]), ProtoError::AddressType(kind));
        }
    }

    #[test]
    fn the_first_bad_field_in_order_wins() {
        assert_eq!(every_split(decode, &[4, 9, 9, 9]), Err(ProtoError::Version(4)));
        assert_eq!(every_split(decode, &[5, 9, 9, 9]), Err(ProtoError::Command(9)));
        assert_eq!(every_split(decode, &[5, 1, 9, 9]), Err(ProtoError::Reserved(9)));
        let bad_name_at_port_zero = b"\x05\x01\x00\x03\x02a \x00\x00";
        assert_eq!(every_split(decode, bad_name_at_port_zero), Err(NameError::Character(b' ').into()));
    }

    #[test]
    fn a_name_of_length_zero_errs_on_the_length() {
        assert_eq!(error_at_last_byte(decode, b"\x05\x01\x00\x03\x00"), NameError::Empty.into());
    }

    #[test]
    fn a_bad_name_errs_before_the_port_is_there() {
        assert_eq!(error_at_last_byte(decode, b"\x05\x01\x00\x03\x03a\x00b"), NameError::Control(0).into());
    }
}
