//! Username/password authentication (RFC 1929 section 2):
//!
//! ```text
//! +-----+------+----------+------+----------+      +-----+--------+
//! | VER | ULEN |  UNAME   | PLEN |  PASSWD  |  ->  | VER | STATUS |
//! |  1  |  1   | 1 to 255 |  1   | 1 to 255 |      |  1  |   1    |
//! +-----+------+----------+------+----------+      +-----+--------+
//! ```
//!
//! Names and passwords are bytes: NUL and what is not UTF-8 pass through unchanged. Nothing is compared here.

use std::fmt;

use zeroize::Zeroizing;

use super::{Decoded, ProtoError};
use crate::limits::USERPASS_MAX;

/// VER of the subnegotiation; not that of SOCKS.
pub const LOGIN_VERSION: u8 = 0x01;
const SUCCESS: u8 = 0x00;
/// Any other value than 0 is a failure, after which the server must close.
const FAILURE: u8 = 0x01;

const _: () = assert!(USERPASS_MAX == 3 + 2 * u8::MAX as usize);

/// What a client says of itself. Deliberately not comparable: a password is only ever compared in constant
/// time, by the authentication.
#[derive(Clone)]
pub struct Credentials {
    /// 1 to 255 bytes of any value.
    pub user: Vec<u8>,
    /// 1 to 255 bytes of any value, wiped when dropped; `None`: the name alone, which no message of RFC 1929 can say.
    pub password: Option<Zeroizing<Vec<u8>>>,
}

impl Credentials {
    /// The password, where there is one.
    pub fn password(&self) -> Option<&[u8]> {
        self.password.as_deref().map(Vec::as_slice)
    }
}

impl fmt::Debug for Credentials {
    /// Shows the user, escaped, and of the password not even its length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &format_args!("\"{}\"", self.user.escape_ascii()))
            .finish_non_exhaustive()
    }
}

/// Reads a username/password request. The caller wipes its own buffer.
///
/// # Errors
/// [`ProtoError::UserpassVersion`], [`ProtoError::EmptyUser`] and [`ProtoError::EmptyPassword`], each on the
/// very byte.
pub fn decode(input: &[u8]) -> Decoded<Credentials> {
    let Some((&version, rest)) = input.split_first() else { return Ok(None) };
    if version != LOGIN_VERSION {
        return Err(ProtoError::UserpassVersion(version));
    }
    let Some((user, rest)) = counted(rest, ProtoError::EmptyUser)? else { return Ok(None) };
    let Some((password, rest)) = counted(rest, ProtoError::EmptyPassword)? else { return Ok(None) };
    let password = Some(Zeroizing::new(password.to_vec()));
    let credentials = Credentials { user: user.to_vec(), password };
    Ok(Some((credentials, input.len() - rest.len())))
}

/// A field and what follows it; `None` when more must arrive first.
type Field<'a> = Option<(&'a [u8], &'a [u8])>;

/// A length octet and as many bytes.
fn counted(input: &[u8], if_empty: ProtoError) -> Result<Field<'_>, ProtoError> {
    match input.split_first() {
        None => Ok(None),
        Some((0, _)) => Err(if_empty),
        Some((&length, rest)) => Ok(rest.split_at_checked(usize::from(length))),
    }
}

/// The answer: 01 00 lets the client go on, 01 01 precedes our close.
pub fn status(ok: bool) -> [u8; 2] {
    [LOGIN_VERSION, if ok { SUCCESS } else { FAILURE }]
}

#[cfg(test)]
mod tests {
    use super::super::splits::{error_at_last_byte, value};
    use super::*;

    type Pair = (Vec<u8>, Vec<u8>);

    fn pair(input: &[u8]) -> Decoded<Pair> {
        Ok(decode(input)?
            .map(|(read, used)| ((read.user, read.password.expect("a password").to_vec()), used)))
    }

    #[test]
    fn user_and_password_at_every_split() {
        assert_eq!(value(pair, b"\x01\x05alice\x06secret"), (b"alice".to_vec(), b"secret".to_vec()));
        assert_eq!(value(pair, b"\x01\x01u\x01p"), (b"u".to_vec(), b"p".to_vec()));
    }

    #[test]
    fn lengths_of_255_fit() {
        let message = [b"\x01\xff".as_slice(), &[b'u'; 255], b"\xff", &[b'p'; 255]].concat();
        assert_eq!(message.len(), USERPASS_MAX);
        assert_eq!(value(pair, &message), (vec![b'u'; 255], vec![b'p'; 255]));
    }

    #[test]
    fn nul_and_bytes_that_are_not_utf8_pass_unchanged() {
        let read = value(pair, b"\x01\x03a\x00b\x04\xff\xfe\x00\x80");
        assert_eq!(read, (b"a\x00b".to_vec(), b"\xff\xfe\x00\x80".to_vec()));
    }

    #[test]
    fn another_version_errs_on_its_byte() {
        for other in [0x00, 0x02, 0x05, 0xff] {
            assert_eq!(error_at_last_byte(pair, &[other]), ProtoError::UserpassVersion(other));
        }
        // A CONNECT where the subnegotiation is due.
        let connect = b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50";
        assert_eq!(pair(connect), Err(ProtoError::UserpassVersion(5)));
    }

    #[test]
    fn zero_lengths_err_on_their_byte() {
        assert_eq!(error_at_last_byte(pair, b"\x01\x00"), ProtoError::EmptyUser);
        assert_eq!(error_at_last_byte(pair, b"\x01\x02me\x00"), ProtoError::EmptyPassword);
    }

    #[test]
    fn debug_shows_no_password_and_escapes_the_user() {
        let (read, _) = decode(b"\x01\x04a\r\n\"\x06secret").unwrap().unwrap();
        assert_eq!(format!("{read:?}"), r#"Credentials { user: "a\r\n\"", .. }"#);
    }

    #[test]
    fn statuses_on_the_wire() {
        assert_eq!(status(true), *b"\x01\x00");
        assert_eq!(status(false), *b"\x01\x01");
    }
}
