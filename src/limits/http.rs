//! Bounds of HTTP as the relay speaks it.

/// Bytes of a head, its first line included: browsers and servers have 8 to 80 KiB, and cookies fill them.
pub const HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields of a head; real ones have ten to forty.
pub const HTTP_FIELDS_MAX: usize = 100;
/// Digits of a chunk's size: what a number of 64 bits has.
pub const HTTP_CHUNK_DIGITS_MAX: usize = 16;
/// Bytes of the line that begins a chunk, with its extensions, which hardly anybody sends.
pub const HTTP_CHUNK_LINE_BYTES_MAX: usize = 256;
/// Bytes of the trailer fields behind the last chunk, which are read and left out.
pub const HTTP_TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Requests without credentials of one connection that are answered with a challenge, and the connection kept: a client asks
/// once to learn that it has to say who it is.
pub const HTTP_CHALLENGES_MAX: u8 = 3;

const _: () = assert!(
    HTTP_CHUNK_DIGITS_MAX < HTTP_CHUNK_LINE_BYTES_MAX && HTTP_TRAILER_BYTES_MAX < HTTP_HEAD_BYTES_MAX
);
