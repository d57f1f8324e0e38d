//! Why bytes are no name.

use std::fmt;

use crate::limits::{LABEL_MAX, NAME_MAX};

/// Why the bytes of a name are neither a host name nor an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No byte, or nothing but the root's dot.
    Empty,
    /// More bytes than a name can have; how many there are, at least.
    TooLong(usize),
    /// Two dots in a row, or a dot in front.
    EmptyLabel,
    /// A label over 63 bytes; its length.
    LabelTooLong(usize),
    /// NUL, line ends, escape and their like.
    Control(u8),
    /// An ASCII character that no host name holds.
    Character(u8),
    /// Not ASCII, and nothing that has an ASCII form (UTS #46); or not UTF-8.
    NonAscii,
    /// An IPv6 address with a zone, which means something on one host alone.
    Zone,
    /// It has the form of an address (it ends in a number, or holds a colon) but is none.
    NotAnAddress,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::TooLong(length) => write!(f, "{length} bytes, {NAME_MAX} at most"),
            Self::EmptyLabel => f.write_str("empty label"),
            Self::LabelTooLong(length) => write!(f, "label of {length} bytes, {LABEL_MAX} at most"),
            Self::Control(byte) => write!(f, "control byte {byte:#04x}"),
            Self::Character(byte) => write!(f, "character {:?}", char::from(*byte)),
            Self::NonAscii => f.write_str("not ASCII, and no name that IDNA has an ASCII form for"),
            Self::Zone => f.write_str("address with a zone"),
            Self::NotAnAddress => f.write_str("the form of an address, but none"),
        }
    }
}

impl std::error::Error for NameError {}
