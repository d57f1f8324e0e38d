//! Where a head ends, found once for each of its bytes however they come.

use std::mem::MaybeUninit;

use httparse::Header;

use super::error::HeadError;
use crate::limits::{HTTP_FIELDS_MAX, HTTP_HEAD_BYTES_MAX};

/// Room for the fields of one head while it is looked at.
#[derive(Debug)]
pub struct FieldRoom<'b>(pub(super) [MaybeUninit<Header<'b>>; HTTP_FIELDS_MAX]);

impl FieldRoom<'_> {
    /// Room that nothing was written to.
    pub fn new() -> Self {
        FieldRoom([const { MaybeUninit::uninit() }; HTTP_FIELDS_MAX])
    }
}

impl Default for FieldRoom<'_> {
    fn default() -> Self {
        FieldRoom::new()
    }
}

/// How many bytes the head at the front has, once its empty line is there. `scanned` bytes have been looked at before; it is
/// set to how many have been now.
///
/// # Errors
/// [`HeadError::LineEnd`] (RFC 9112 section 2.2 lets a recipient take LF alone, and who stands behind us may not),
/// [`HeadError::Control`] and [`HeadError::TooLong`], each with its very byte.
pub(super) fn find_end(bytes: &[u8], scanned: &mut usize) -> Result<Option<usize>, HeadError> {
    let end = bytes.len().min(HTTP_HEAD_BYTES_MAX);
    let mut behind_cr = *scanned > 0 && bytes.get(*scanned - 1) == Some(&b'\r');
    for at in *scanned..end {
        let byte = bytes[at];
        match byte {
            b'\n' if behind_cr => {
                if bytes[..at].ends_with(b"\r\n\r") {
                    return Ok(Some(at + 1));
                }
            }
            b'\n' => return Err(HeadError::LineEnd),
            _ if behind_cr => return Err(HeadError::LineEnd),
            b'\r' | b'\t' | b' '..=b'~' | 0x80.. => {}
            control => return Err(HeadError::Control(control)),
        }
        behind_cr = byte == b'\r';
    }
    *scanned = end;
    if end == HTTP_HEAD_BYTES_MAX { Err(HeadError::TooLong) } else { Ok(None) }
}
