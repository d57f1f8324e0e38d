//! Bodies in chunks, at every split.

use super::*;
use crate::limits::HTTP_TRAILER_BYTES_MAX;

/// The data of a body, what of it goes on where chunks do, and how many bytes it has; absent where more has to come.
pub(super) type BodyRead = Result<(Vec<u8>, Vec<u8>, Option<usize>), ChunkError>;

fn pieces<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> BodyRead {
    let mut reader = ChunkReader::new();
    let (mut data, mut passed, mut used) = (Vec::new(), Vec::new(), 0);
    for mut part in parts {
        loop {
            let left = reader.data_left();
            let (count, goes_on) = match reader.next(part)? {
                ChunkPiece::More => break,
                ChunkPiece::Data(count) => {
                    assert_eq!(reader.data_left(), left - count as u64);
                    data.extend_from_slice(&part[..count]);
                    (count, true)
                }
                ChunkPiece::Line(count) | ChunkPiece::End(count) => (count, true),
                ChunkPiece::Dropped(count) => (count, false),
            };
            assert!(count > 0 && count <= part.len());
            passed.extend_from_slice(if goes_on { &part[..count] } else { b"" });
            used += count;
            part = &part[count..];
        }
        if reader.is_over() {
            return Ok((data, passed, Some(used)));
        }
        assert!(part.is_empty(), "bytes were left");
    }
    Ok((data, passed, None))
}

pub(super) fn body(bytes: &[u8]) -> BodyRead {
    let whole = pieces([bytes]);
    for at in 0..=bytes.len() {
        let (front, rest) = bytes.split_at(at);
        assert_eq!(pieces([front, rest]), whole, "split at {at}: {}", bytes.escape_ascii());
    }
    assert_eq!(pieces(bytes.chunks(1)), whole, "byte by byte: {}", bytes.escape_ascii());
    whole
}

#[test]
fn a_body_is_its_data_and_ends_behind_its_last_line() {
    let bytes = b"5\r\nhello\r\n00A;x=\"y z\"\r\n 0\r\n\r\nmore\r\n0\r\n\r\nGET /";
    let (data, passed, used) = body(bytes).unwrap();
    assert_eq!(data, b"hello 0\r\n\r\nmore");
    // Extensions are left out.
    assert_eq!(passed, b"5\r\nhello\r\n00A\r\n 0\r\n\r\nmore\r\n0\r\n\r\n");
    assert_eq!(used, Some(bytes.len() - 5));
    assert_eq!(body(b"0\r\n\r\n").unwrap(), (vec![], b"0\r\n\r\n".to_vec(), Some(5)));
    assert_eq!(body(b"5\r\nhe").unwrap(), (b"he".to_vec(), b"5\r\nhe".to_vec(), None));
}

#[test]
fn trailer_fields_are_left_out() {
    let bytes = b"1\r\na\r\n0\r\nContent-Length: 5\r\nX:\t\xff\r\n\r\nbehind";
    assert_eq!(body(bytes).unwrap(), (b"a".to_vec(), b"1\r\na\r\n0\r\n\r\n".to_vec(), Some(bytes.len() - 6)));
    let long = |filling: usize| [b"0\r\nX: ".as_slice(), &vec![b'x'; filling], b"\r\n\r\n"].concat();
    assert!(pieces([&long(HTTP_TRAILER_BYTES_MAX - 5)[..]]).is_ok());
    assert_eq!(pieces([&long(HTTP_TRAILER_BYTES_MAX)[..]]), Err(ChunkError::TrailerTooLong));
}

#[test]
fn data_may_be_moved_unseen() {
    let mut reader = ChunkReader::new();
    assert_eq!(reader.next(b"10\r\nab"), Ok(ChunkPiece::Line(4)));
    assert_eq!(reader.data_left(), 16);
    reader.skip(10);
    assert_eq!(reader.next(b"cdefgh\r\n0"), Ok(ChunkPiece::Data(6)));
    assert_eq!(reader.data_left(), 0);
    assert_eq!(reader.next(b"\r\n0\r\n\r\n"), Ok(ChunkPiece::Line(5)));
    assert_eq!(reader.next(b"\r\nX"), Ok(ChunkPiece::End(2)));
    assert_eq!(reader.next(b"X"), Ok(ChunkPiece::More));
}

/// What smugglers send: each was once taken by a server that stood before another which read it otherwise.
#[test]
fn a_body_that_is_read_in_two_ways_is_refused() {
    for (bytes, error) in [
        (&b"\r\n"[..], ChunkError::Size),
        (b"x\r\n", ChunkError::Size),
        (b" 5\r\nhello\r\n", ChunkError::Size),
        (b"5 \r\nhello\r\n", ChunkError::Size),
        (b"5 ;x\r\n", ChunkError::Size),
        (b"0x5\r\nhello\r\n", ChunkError::Size),
        (b"+5\r\nhello\r\n", ChunkError::Size),
        (b"-1\r\n", ChunkError::Size),
        (b"5_0\r\n", ChunkError::Size),
        (b"8000000000000000\r\n", ChunkError::Size),
        (b"ffffffffffffffff\r\n", ChunkError::Size),
        (b"10000000000000005\r\n", ChunkError::Size),
        (b"00000000000000005\r\n", ChunkError::Size),
        (b";x\r\n", ChunkError::Size),
        (b"5\nhello\r\n", ChunkError::LineEnd),
        (b"5\rhello\r\n", ChunkError::LineEnd),
        (b"5;a\nhello\r\n", ChunkError::LineEnd),
        (b"5;a\rb\r\nhello\r\n", ChunkError::LineEnd),
        (b"5;a\0b\r\n", ChunkError::Extension(0)),
        (b"5\r\nhello\n0\r\n\r\n", ChunkError::LineEnd),
        (b"5\r\nhello0\r\n\r\n", ChunkError::LineEnd),
        (b"5\r\nhello\r0", ChunkError::LineEnd),
        (b"5\r\nhelloX\r\n", ChunkError::LineEnd),
        (b"0\r\n\n", ChunkError::Trailer),
        (b"0\r\n\rX", ChunkError::LineEnd),
        (b"0\r\nX: 1\n\r\n", ChunkError::LineEnd),
        (b"0\r\nX: 1\rY", ChunkError::LineEnd),
        (b"0\r\n X: 1\r\n\r\n", ChunkError::Trailer),
        (b"0\r\nX : 1\r\n\r\n", ChunkError::Trailer),
        (b"0\r\nX\r\n\r\n", ChunkError::Trailer),
        (b"0\r\n: 1\r\n\r\n", ChunkError::Trailer),
        (b"0\r\nX: \0\r\n\r\n", ChunkError::Trailer),
        (b"0\r\nGET / HTTP/1.1\r\n\r\n", ChunkError::Trailer),
    ] {
        assert_eq!(body(bytes), Err(error), "{}", bytes.escape_ascii());
    }
    assert_eq!(pieces([&[b"5;".as_slice(), &[b'x'; 300]].concat()[..]]), Err(ChunkError::LineTooLong));
    assert_eq!(body(b"7fffffffffffffff\r\n").map(|read| read.2), Ok(None));
}
