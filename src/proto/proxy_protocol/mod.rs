//! The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): what a proxy tells the next one of its client, in
//! front of the client's own bytes. Version 1 is a line of text, version 2 is binary:
//!
//! ```text
//! +-----------+-------------------+-----------------+--------+-----------+-------------------+
//! | signature | version, command  | family, socket  | length | addresses | TLVs              |
//! |    12     |         1         |        1        |   2    |  by family| type 1, length 2, |
//! |           |                   |                 |        |           | value             |
//! +-----------+-------------------+-----------------+--------+-----------+-------------------+
//! ```
//!
//! Whom to believe, and whom to tell, is not decided here.

mod crc32c;
mod read;
mod write;

use crc32c::crc32c;
pub use read::{ProxyHeader, decode};
pub use write::{Tlvs, encode_v1, encode_v2};

/// What version 2 begins with (section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The version in the upper half of its octet, and PROXY, a connection on behalf of a client, in the lower one.
const VERSION_2_PROXY: u8 = 0x21;
/// The same version, and LOCAL, a connection of the sender itself.
const VERSION_2_LOCAL: u8 = 0x20;
/// No address that could be told.
const UNSPEC: u8 = 0x00;
/// TCP over IPv4.
const TCP4: u8 = 0x11;
/// TCP over IPv6.
const TCP6: u8 = 0x21;
/// Signature, version, family and length.
const HEADER_V2: usize = 16;

/// TLV: the host name that the client asked for.
const TYPE_AUTHORITY: u8 = 0x02;
/// TLV: a checksum over the whole header.
const TYPE_CRC32C: u8 = 0x03;
/// TLV: an id of the connection, opaque to whoever gets it.
const TYPE_UNIQUE_ID: u8 = 0x05;
