//! What the library says when it refuses.

use std::error::Error;
use std::ffi::c_int;
use std::fmt;

use super::ffi::{self, Word};
use super::library::{Buffer, Library};
use crate::limits::{GSS_STATUS_BYTES_MAX, GSS_STATUS_PARTS_MAX};

/// A refusal of the library, with its own words. They name principals, files and times; never a key or a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GssError {
    /// The major status (RFC 2744 section 3.9.1).
    pub major: u32,
    /// The minor status, of the mechanism.
    pub minor: u32,
    text: String,
}

impl GssError {
    /// The words for a status. They are asked for at once and on the thread that got the status: both libraries keep
    /// the words of the last failure by thread.
    pub(super) fn of(library: &Library, major: Word, minor: Word) -> GssError {
        let by_mechanism = if minor == 0 { String::new() } else { words(library, minor, ffi::STATUS_MINOR) };
        let text = match (major & ffi::ERRORS, by_mechanism.is_empty()) {
            // "Unspecified GSS failure" and "No credentials" would add nothing to what the mechanism says.
            (ffi::FAILURE | ffi::NO_CREDENTIALS, false) => by_mechanism,
            (_, true) => words(library, major, ffi::STATUS_MAJOR),
            (_, false) => format!("{}: {by_mechanism}", words(library, major, ffi::STATUS_MAJOR)),
        };
        let text = if text.is_empty() { format!("GSSAPI status {major:#x}, {minor:#x}") } else { text };
        GssError { major, minor, text }
    }

    /// A refusal of our own.
    pub(super) fn ours(major: Word, text: impl Into<String>) -> GssError {
        GssError { major, minor: 0, text: text.into() }
    }
}

impl fmt::Display for GssError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for GssError {}

/// gss_display_status, all parts of it, on one line.
fn words(library: &Library, status: Word, kind: c_int) -> String {
    let mut parts: Vec<String> = Vec::new();
    let (mut minor, mut more) = (0, 0);
    for _ in 0..GSS_STATUS_PARTS_MAX {
        let mut buffer = Buffer::new(library);
        // SAFETY: every pointer is to a live value of the type that the function writes; it keeps none of them.
        let major = unsafe {
            (library.functions.display_status)(
                &mut minor,
                status,
                kind,
                &raw const ffi::KERBEROS,
                &mut more,
                buffer.as_mut_ptr(),
            )
        };
        if major & ffi::ERRORS != 0 {
            break;
        }
        parts.push(one_line(buffer.bytes()));
        if more == 0 {
            break;
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

/// Text without control characters and without an end to its length.
fn one_line(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(GSS_STATUS_BYTES_MAX)];
    let plain = String::from_utf8_lossy(bytes).replace(char::is_control, " ");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A result for a status.
pub(super) fn check(library: &Library, major: Word, minor: Word) -> Result<Word, GssError> {
    match major & ffi::ERRORS {
        0 => Ok(major),
        _ => Err(GssError::of(library, major, minor)),
    }
}

/// A result for the status of a round of the establishment. That its token came before, or is too old, is no error bit,
/// and "fatal during context establishment" all the same (RFC 2744 section 5.1).
pub(super) fn check_round(library: &Library, major: Word, minor: Word) -> Result<Word, GssError> {
    match check(library, major, minor)? & (ffi::DUPLICATE_TOKEN | ffi::OLD_TOKEN) {
        0 => Ok(major),
        _ => Err(GssError::of(library, major, minor)),
    }
}
