//! Heads and bodies by hand, at every split.

mod chunks;
mod corpus;
mod heads;
mod responses;

use proptest::prelude::*;

use super::*;

/// The head of a request at every split: the same however its bytes come, and never one too many. What it gives is the head
/// as debugged, where it goes to with what, and how many bytes it has.
fn request(bytes: &[u8]) -> Result<Option<(String, Option<ForwardRequest>, usize)>, HeadError> {
    let whole = at_once(bytes);
    for step in [1, 2, 3, 7] {
        assert_eq!(in_steps(bytes, step), whole, "in steps of {step}: {}", bytes.escape_ascii());
    }
    whole
}

fn at_once(bytes: &[u8]) -> Result<Option<(String, Option<ForwardRequest>, usize)>, HeadError> {
    read(bytes, &mut 0)
}

fn in_steps(bytes: &[u8], step: usize) -> Result<Option<(String, Option<ForwardRequest>, usize)>, HeadError> {
    let mut scanned = 0;
    for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
        match read(&bytes[..end], &mut scanned) {
            Ok(None) => assert_eq!(scanned, end.min(crate::limits::HTTP_HEAD_BYTES_MAX)),
            outcome => return outcome,
        }
    }
    Ok(None)
}

fn read(
    bytes: &[u8],
    scanned: &mut usize,
) -> Result<Option<(String, Option<ForwardRequest>, usize)>, HeadError> {
    let mut room = FieldRoom::new();
    let read = read_request(bytes, scanned, &mut room)?;
    Ok(read.map(|(head, used)| {
        let seen = format!(
            "{} {:?} {:?} {:?} keep {}",
            head.method, head.version, head.target, head.framing, head.keep_alive
        );
        (seen, head.forward(true), used)
    }))
}

/// What an origin is sent of this request.
fn forwarded(bytes: &[u8]) -> String {
    let (_, forward, used) = request(bytes).expect("taken").expect("whole");
    assert_eq!(&bytes[used - 4..used], b"\r\n\r\n");
    String::from_utf8(forward.expect("a request in absolute form").head).expect("text")
}

fn refused(bytes: &[u8]) -> HeadError {
    request(bytes).expect_err(&format!("\"{}\" was taken", bytes.escape_ascii()))
}

/// What heads and bodies are made of, and what breaks them.
const WORDS: &[&[u8]] = &[
    b"GET ",
    b"CONNECT ",
    b"http://a/",
    b"a:1",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"Host: a",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"Connection: x, close",
    b": ",
    b"\0",
    b"\t",
    b"\xff",
    b"5",
    b"0",
    b";",
    b"HTTP/1.1 200 OK",
];

proptest! {
    #[test]
    fn pieces_of_messages_never_panic_and_never_depend_on_the_split(
        words in proptest::collection::vec(0..WORDS.len(), 0..24),
    ) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| WORDS[*word]).copied().collect();
        let _ = request(&bytes);
        let _ = chunks::body(&bytes);
    }

    #[test]
    fn random_bytes_never_panic_and_never_depend_on_the_split(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = request(&bytes);
        let _ = chunks::body(&bytes);
    }
}
