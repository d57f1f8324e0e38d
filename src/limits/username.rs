//! Bounds of session parameters, which clients type behind their names.

use std::time::Duration;

/// Words that a format has for its parameters, other words for the same among them: each word that a client types is looked
/// up in their list by halves.
pub const PARAMETER_WORDS_MAX: usize = 64;
/// Bytes of one such word.
pub const PARAMETER_WORD_MAX: usize = 32;
/// Bytes of a parameter's value: a key of 64 letters and digits is one that nobody guesses.
pub const PARAMETER_VALUE_MAX: usize = 64;
/// Tags that a format tells apart: what was typed is kept for each of them while a name is read.
pub const PARAMETER_TAGS_MAX: usize = 8;
/// Bytes of a tag's name.
pub const PARAMETER_TAG_MAX: usize = 32;
/// Digits of a time as it is typed: more are no time that anybody means, and nine fit any unit.
pub const PARAMETER_TIME_DIGITS: usize = 9;
/// Bytes of a format: it may have all of the words.
pub const PARAMETER_FORMAT_MAX: usize = 4_096;
/// The longest time that a session may be given: what is longer is an account of its own.
pub const SESSION_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Bytes of a signature, of the 32 that SHA-256 gives: 2^128 guesses, each of which costs a login, and 32 digits to type.
pub const SIGNATURE_BYTES: usize = 16;
/// Fewest bytes of the key that signs: as many as its hash has (RFC 2104 section 3).
pub const SIGNATURE_KEY_MIN: usize = 32;
/// Bytes of the file of that key.
pub const SIGNATURE_KEY_FILE_MAX: u64 = 1 << 20;

const _: () = assert!(PARAMETER_FORMAT_MAX > PARAMETER_WORDS_MAX * (PARAMETER_WORD_MAX + 2));
const _: () = assert!(PARAMETER_TAGS_MAX < u8::MAX as usize);
