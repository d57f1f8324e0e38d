//! The signature by which an operator vouches for parameters: HMAC with SHA-256 (RFC 2104, FIPS 180-4), cut to its first
//! [`SIGNATURE_BYTES`] bytes and typed as hexadecimal digits in lower case.

use std::fmt;

use ring::hmac;
use subtle::ConstantTimeEq;

use super::fault::ParameterFault;
use crate::limits::{SIGNATURE_BYTES, SIGNATURE_KEY_MIN};

/// A key that signs.
#[derive(Clone)]
pub struct SignatureKey(hmac::Key);

/// Shows nothing.
impl fmt::Debug for SignatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignatureKey")
    }
}

impl SignatureKey {
    /// The key that a file holds: its bytes, without a line feed at the end. Absent where it is too short to be one.
    pub fn of_file(bytes: &[u8]) -> Option<SignatureKey> {
        let key = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        (key.len() >= SIGNATURE_KEY_MIN).then(|| SignatureKey(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// Whether another key signs the same: what each signs tells it, for neither can be looked at.
    pub fn signs_as(&self, other: &SignatureKey) -> bool {
        let tag = |key: &SignatureKey| hmac::sign(&key.0, b"outflow");
        bool::from(tag(self).as_ref().ct_eq(tag(other).as_ref()))
    }

    /// Whether these are the digits of the signature of a text, which is given in parts.
    ///
    /// # Errors
    /// [`ParameterFault::Signature`]; how much of it is right takes no part in how long that takes.
    pub(super) fn check(&self, text: [&[u8]; 3], digits: &[u8]) -> Result<(), ParameterFault> {
        let typed = bytes_of(digits).ok_or(ParameterFault::Signature)?;
        let mut context = hmac::Context::with_key(&self.0);
        text.iter().for_each(|part| context.update(part));
        let tag = context.sign();
        match bool::from(tag.as_ref()[..SIGNATURE_BYTES].ct_eq(&typed)) {
            true => Ok(()),
            false => Err(ParameterFault::Signature),
        }
    }
}

fn bytes_of(digits: &[u8]) -> Option<[u8; SIGNATURE_BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; SIGNATURE_BYTES];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
