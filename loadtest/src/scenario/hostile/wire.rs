//! What hostile clients write, all at once.

use std::net::SocketAddr;

use crate::handshake::encode_address;

/// Greeting with method none (RFC 1928 section 3).
const GREETING: [u8; 3] = [5, 1, 0];
/// The answers to a greeting and to a request with an IPv4 address.
pub(crate) const METHOD_AND_REPLY: usize = 2 + 10;
/// CMD (RFC 1928 section 4).
pub(crate) const CONNECT: u8 = 1;
pub(crate) const BIND: u8 = 2;

/// Greeting and request for an address, or for a name in its place.
pub(crate) fn session(command: u8, target: SocketAddr, name: Option<&str>) -> Vec<u8> {
    let mut bytes = GREETING.to_vec();
    bytes.extend_from_slice(&[5, command, 0]);
    encode_address(target, name, &mut bytes);
    bytes
}

/// Greeting with method password, and a login (RFC 1929 section 2); both words are at most 255 bytes long.
pub(crate) fn login(user: &str, password: &str) -> Vec<u8> {
    let mut bytes = vec![5, 1, 2, 1, user.len() as u8];
    bytes.extend_from_slice(user.as_bytes());
    bytes.push(password.len() as u8);
    bytes.extend_from_slice(password.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_and_a_login_in_one_piece() {
        let target = "127.0.0.1:258".parse().expect("an address");
        assert_eq!(session(CONNECT, target, None), [5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 1, 2]);
        assert_eq!(session(BIND, target, Some("ab")), [5, 1, 0, 5, 2, 0, 3, 2, b'a', b'b', 1, 2]);
        assert_eq!(login("u", "pw"), [5, 1, 2, 1, 1, b'u', 2, b'p', b'w']);
    }
}
