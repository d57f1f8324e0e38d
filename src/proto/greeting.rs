//! The greeting and the choice of a method (RFC 1928 section 3):
//!
//! ```text
//! +-----+----------+----------+      +-----+--------+
//! | VER | NMETHODS | METHODS  |  ->  | VER | METHOD |
//! |  1  |    1     | 0 to 255 |      |  1  |   1    |
//! +-----+----------+----------+      +-----+--------+
//! ```
//!
//! Which of the offered methods is taken is not decided here.

use super::{Decoded, ProtoError, VERSION};
use crate::limits::GREETING_MAX;

/// "NO ACCEPTABLE METHODS" (RFC 1928 section 3): the client must close.
const NO_ACCEPTABLE: u8 = 0xff;
/// VER and NMETHODS.
const HEADER: usize = 2;

/// The type of the record that a client of TLS begins with (RFC 8446 section 5.1).
pub const TLS_HANDSHAKE: u8 = 0x16;
/// A fatal alert, handshake_failure (RFC 8446 section 6.2), in a record of the version that all understand.
pub const TLS_REFUSAL: [u8; 7] = [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28];

const _: () = assert!(GREETING_MAX == HEADER + u8::MAX as usize);

/// The methods that outflow knows, by their code (RFC 1928 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// NO AUTHENTICATION REQUIRED.
    None = 0x00,
    /// GSSAPI (RFC 1961).
    Gssapi = 0x01,
    /// USERNAME/PASSWORD (RFC 1929).
    Password = 0x02,
}

impl Method {
    /// The METHOD octet.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// The methods that a client offered: order and duplicates carry no meaning, unknown codes are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MethodSet {
    bits: [u64; 4],
}

impl MethodSet {
    /// The set of these METHOD octets.
    pub fn from_codes(codes: &[u8]) -> Self {
        let mut set = Self::default();
        for &code in codes {
            set.bits[usize::from(code / 64)] |= 1 << (code % 64);
        }
        set
    }

    /// Whether the client offered `method`.
    pub fn contains(&self, method: Method) -> bool {
        self.contains_code(method.code())
    }

    /// Whether the client offered the METHOD octet `code`, known to us or not.
    pub fn contains_code(&self, code: u8) -> bool {
        self.bits[usize::from(code / 64)] & (1 << (code % 64)) != 0
    }

    /// Whether the client offered nothing: NMETHODS was 0, and 05 FF is the only answer.
    pub fn is_empty(&self) -> bool {
        self.bits == [0; 4]
    }
}

/// The first message of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// What the client offers; may be empty.
    pub methods: MethodSet,
}

/// Whether a client that begins with this byte speaks SOCKS5.
///
/// # Errors
/// [`ProtoError::Http`], [`ProtoError::Tls`] or [`ProtoError::Version`].
pub fn check_version(first: u8) -> Result<(), ProtoError> {
    match first {
        VERSION => Ok(()),
        // RFC 9110 section 9.1: methods are tokens, and all that there are begin with a capital letter.
        letter @ b'A'..=b'Z' => Err(ProtoError::Http(letter)),
        TLS_HANDSHAKE => Err(ProtoError::Tls),
        other => Err(ProtoError::Version(other)),
    }
}

/// Reads a greeting. NMETHODS 0 is a greeting with nothing in it, as it is answered (05 FF), not an error.
///
/// # Errors
/// What [`check_version`] says of the first byte.
pub fn decode(input: &[u8]) -> Decoded<Greeting> {
    let Some(&version) = input.first() else { return Ok(None) };
    check_version(version)?;
    let Some(&count) = input.get(1) else { return Ok(None) };
    let used = HEADER + usize::from(count);
    let Some(codes) = input.get(HEADER..used) else { return Ok(None) };
    Ok(Some((Greeting { methods: MethodSet::from_codes(codes) }, used)))
}

/// The answer to a greeting: the method taken, or 05 FF when none of the offered ones is acceptable.
pub fn selection(method: Option<Method>) -> [u8; 2] {
    [VERSION, method.map_or(NO_ACCEPTABLE, Method::code)]
}

#[cfg(test)]
mod tests {
    use super::super::splits::{error_at_last_byte, value};
    use super::*;

    fn methods(message: &[u8]) -> MethodSet {
        value(decode, message).methods
    }

    #[test]
    fn offered_methods_are_seen_at_every_split() {
        let curl = methods(b"\x05\x02\x00\x02");
        assert!(curl.contains(Method::None) && curl.contains(Method::Password));
        assert!(!curl.contains(Method::Gssapi) && !curl.is_empty());
        assert!(methods(b"\x05\x01\x01").contains(Method::Gssapi));
    }

    #[test]
    fn no_methods_is_an_empty_greeting() {
        assert!(methods(b"\x05\x00").is_empty());
    }

    #[test]
    fn duplicates_count_once() {
        assert_eq!(methods(b"\x05\x04\x02\x02\x02\x02"), methods(b"\x05\x01\x02"));
    }

    #[test]
    fn unknown_methods_are_kept_and_are_none_of_ours() {
        let set = methods(b"\x05\x03\x03\x80\xfe");
        assert!(!set.is_empty());
        for ours in [Method::None, Method::Gssapi, Method::Password] {
            assert!(!set.contains(ours));
        }
        assert!([0x03, 0x80, 0xfe].into_iter().all(|code| set.contains_code(code)));
        assert!(!set.contains_code(0x40) && !set.contains_code(0xff));
    }

    #[test]
    fn two_hundred_and_fifty_five_methods_fit() {
        let mut message = vec![0x05, 0xff];
        message.extend(0x01..=0xff_u8);
        assert_eq!(message.len(), GREETING_MAX);
        let set = methods(&message);
        assert!(!set.contains(Method::None) && set.contains(Method::Password) && set.contains_code(0xff));
    }

    #[test]
    fn a_wrong_first_byte_errs_at_once() {
        for letter in b'A'..=b'Z' {
            assert_eq!(error_at_last_byte(decode, &[letter]), ProtoError::Http(letter));
        }
        assert_eq!(error_at_last_byte(decode, &[0x16]), ProtoError::Tls);
        for other in [0x00, 0x01, 0x04, 0x06, 0x17, 0xff] {
            assert_eq!(error_at_last_byte(decode, &[other]), ProtoError::Version(other));
        }
        assert_eq!(decode(b"GET / HTTP/1.1\r\n"), Err(ProtoError::Http(b'G')));
    }

    #[test]
    fn selections_on_the_wire() {
        assert_eq!(selection(Some(Method::None)), *b"\x05\x00");
        assert_eq!(selection(Some(Method::Gssapi)), *b"\x05\x01");
        assert_eq!(selection(Some(Method::Password)), *b"\x05\x02");
        assert_eq!(selection(None), *b"\x05\xff");
    }
}
