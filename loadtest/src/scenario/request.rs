//! What clients of the origin's page service send: a request that says how long its answer shall be, and
//! before it, where TLS is played, a first message of a ClientHello's size and shape.

use std::io::{self, Write};

use crate::fault::Fault;
use crate::fleet::data_fault;

/// What browsers' ClientHellos are padded to (RFC 7685), record header included.
pub(crate) const HELLO_BYTES: usize = 517;
/// The origin's answer to a hello: the size of a ServerHello with a chain of two certificates.
pub(crate) const FLIGHT_BYTES: usize = 3_700;
/// Type handshake, version 3.1, and the record's length follows (RFC 8446 section 5.1).
const RECORD: [u8; 3] = [0x16, 3, 1];
const RECORD_HEADER_BYTES: usize = 5;

/// A first message: the header of a TLS record and a body that means nothing.
pub(crate) fn hello() -> [u8; HELLO_BYTES] {
    let mut hello = [0x5A; HELLO_BYTES];
    hello[..3].copy_from_slice(&RECORD);
    hello[3..RECORD_HEADER_BYTES]
        .copy_from_slice(&((HELLO_BYTES - RECORD_HEADER_BYTES) as u16).to_be_bytes());
    hello
}

/// Whether `bytes` begin as a hello, and if so, whether all of it is there.
pub(crate) fn is_whole_hello(bytes: &[u8]) -> Option<bool> {
    let known = bytes.len().min(RECORD.len());
    (known > 0 && bytes[..known] == RECORD[..known]).then(|| {
        bytes.get(3..RECORD_HEADER_BYTES).is_some_and(|length| {
            bytes.len() >= RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([length[0], length[1]]))
        })
    })
}

/// Writes `GET /ANSWER` with a header line that pads it to `len` bytes.
pub(crate) fn compose(answer: usize, len: usize, out: &mut Vec<u8>) {
    out.clear();
    write!(out, "GET /{answer} HTTP/1.0\r\nX-Pad: ").expect("a Vec takes it");
    out.resize(len - 4, b'p');
    out.extend_from_slice(b"\r\n\r\n");
}

/// Sends a message that the send buffer has room for, as it has at the start of a session.
pub(crate) fn send_whole<W: Write>(stream: &mut W, message: &[u8]) -> Result<(), Fault> {
    match stream.write(message) {
        Ok(sent) if sent == message.len() => Ok(()),
        Ok(_) => Err(data_fault(io::ErrorKind::WriteZero.into())),
        Err(error) => Err(data_fault(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_known_by_its_first_bytes_and_whole_by_its_length() {
        let hello = hello();
        assert_eq!(hello[..6], [0x16, 3, 1, 2, 0, 0x5A]);
        assert_eq!(is_whole_hello(&hello), Some(true));
        for part in [1, 3, 4, 5, 516] {
            assert_eq!(is_whole_hello(&hello[..part]), Some(false), "{part} bytes");
        }
        assert_eq!(is_whole_hello(b"GET /"), None);
        assert_eq!(is_whole_hello(b""), None);
    }

    #[test]
    fn a_request_is_padded() {
        let mut out = Vec::new();
        compose(5000, 64, &mut out);
        assert_eq!(out.len(), 64);
        assert!(out.starts_with(b"GET /5000 HTTP/1.0\r\n") && out.ends_with(b"pp\r\n\r\n"));
    }
}
