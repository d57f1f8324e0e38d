//! Bounds of exchanges: requests of HTTP that are relayed one by one.

/// What one read takes while the head of a response is due, in bytes: all of a small response, and little of a long body, for
/// what comes with the head passes through memory once more than the rest.
pub const HTTP_ANSWER_READ_BYTES: usize = 16 * 1024;
/// What one read takes of a request in chunks, in bytes: what the client sends behind the last of them is read with it, and is
/// held until the exchange is over.
pub const HTTP_CHUNKS_READ_BYTES: usize = 16 * 1024;
/// Bytes by which a head may grow on its way, as far as room is made for it: Via, and a line about the connection.
pub const HTTP_HEAD_GROWTH_BYTES: usize = 128;
