//! One answer of HTTP/1.1: a head, and a body whose length the head says. What else a server may send is no answer of ours.

use std::io::{self, Read};

use super::error::AnswerError;
use crate::limits::{ANSWER_BODY_BYTES_MAX, ANSWER_FIELDS_MAX, ANSWER_HEAD_BYTES_MAX, ANSWER_READ_BYTES};

/// An answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AdminAnswer {
    /// 200 to 599.
    pub(super) status: u16,
    /// The media type, without its parameters and in lower case.
    pub(super) media: String,
    pub(super) body: Vec<u8>,
}

/// What a head says.
struct AdminHead {
    status: u16,
    media: String,
    body_bytes: usize,
    /// How many bytes it has itself.
    bytes: usize,
}

/// Reads the answer that a connection carries; what follows it is left alone.
///
/// # Errors
/// The connection fails or ends too early, or what comes is no such answer.
pub(super) fn read(connection: &mut impl Read) -> Result<AdminAnswer, AnswerError> {
    let mut came = Vec::new();
    let mut piece = vec![0; ANSWER_READ_BYTES];
    let head = loop {
        if let Some(head) = head(&came)? {
            break head;
        }
        if came.len() >= ANSWER_HEAD_BYTES_MAX {
            return Err(AnswerError::Foreign("the head of its answer has no end".into()));
        }
        match read_some(connection, &mut piece)? {
            0 if came.is_empty() => return Err(AnswerError::Foreign("it hangs up without an answer".into())),
            0 => return Err(AnswerError::Foreign("its answer ends within the head".into())),
            n => came.extend_from_slice(&piece[..n]),
        }
    };
    let mut body = came.split_off(head.bytes);
    while body.len() < head.body_bytes {
        match read_some(connection, &mut piece)? {
            0 => {
                let (has, said) = (body.len(), head.body_bytes);
                return Err(AnswerError::Foreign(format!("its answer ends after {has} of {said} bytes")));
            }
            n => body.extend_from_slice(&piece[..n]),
        }
    }
    body.truncate(head.body_bytes);
    Ok(AdminAnswer { status: head.status, media: head.media, body })
}

/// The next bytes; with a time limit on its socket even a call that a handled signal interrupts is not begun again by
/// the kernel.
fn read_some(connection: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match connection.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The head at the front of these bytes; `None` where there is more to come.
fn head(bytes: &[u8]) -> Result<Option<AdminHead>, AnswerError> {
    let foreign = |what: String| AnswerError::Foreign(what);
    let mut fields = [httparse::EMPTY_HEADER; ANSWER_FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(foreign(format!("what it answers is not HTTP/1.1 ({error})"))),
    };
    let values = |name: &'static str| {
        let named = response.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| String::from_utf8_lossy(field.value).trim().to_owned())
    };
    let status = response.code.unwrap_or_default();
    if !(200..600).contains(&status) {
        return Err(foreign(format!("it answers with status {status}")));
    }
    if let Some(coding) = values("Transfer-Encoding").next() {
        return Err(foreign(format!("its answer has the transfer encoding {coding:?}")));
    }
    let mut lengths = values("Content-Length");
    let said = lengths.next().ok_or_else(|| foreign("its answer does not say how long it is".into()))?;
    let digits = said.bytes().all(|byte| byte.is_ascii_digit());
    let body_bytes = said.parse().ok().filter(|_| digits && lengths.all(|other| other == said));
    let body_bytes = body_bytes.ok_or_else(|| foreign("its answer has no usable Content-Length".into()))?;
    if body_bytes > ANSWER_BODY_BYTES_MAX {
        return Err(AnswerError::TooLong(body_bytes));
    }
    let media = values("Content-Type").next().unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Ok(Some(AdminHead { status, media, body_bytes, bytes: length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its pieces one by one, then the end.
    struct Pieces<'a>(Vec<&'a [u8]>);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            into[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: Application/JSON; charset=utf-8\r\n\
        Content-Length: 2\r\nX-Content-Type-Options: nosniff\r\n\r\n{}";

    #[test]
    fn an_answer_is_the_same_at_every_split() {
        let expected = AdminAnswer { status: 200, media: "application/json".into(), body: b"{}".to_vec() };
        for at in 0..=GOOD.len() {
            let (before, after) = GOOD.split_at(at);
            // An empty piece would be the end.
            let pieces = [before, after].into_iter().filter(|piece| !piece.is_empty()).collect();
            assert_eq!(read(&mut Pieces(pieces)).unwrap(), expected, "split at {at}");
        }
        assert_eq!(read(&mut Pieces(GOOD.chunks(1).collect())).unwrap(), expected);
        let with_more = [GOOD, b"HTTP/1.1 500 no\r\n\r\n"].concat();
        assert_eq!(read(&mut &with_more[..]).unwrap(), expected);
    }

    #[test]
    fn an_answer_cut_short_anywhere_is_none() {
        for at in 0..GOOD.len() {
            assert!(read(&mut &GOOD[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn what_is_no_answer_of_ours_is_said_to_be_none() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(ANSWER_HEAD_BYTES_MAX));
        let crowded = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(ANSWER_FIELDS_MAX + 1));
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", ANSWER_BODY_BYTES_MAX + 1);
        for (bytes, said) in [
            ("", "it hangs up without an answer"),
            ("SSH-2.0-OpenSSH_9.2\r\n", "what it answers is not HTTP/1.1 (invalid HTTP version)"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "its answer ends after 2 of 3 bytes"),
            ("HTTP/1.1 200 OK\r\n", "its answer ends within the head"),
            ("HTTP/1.1 200 OK\r\n\r\nab", "its answer does not say how long it is"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "its answer has the transfer encoding \"chunked\"",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                "its answer has no usable Content-Length",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", "its answer has no usable Content-Length"),
            ("HTTP/1.1 101 Switching\r\n\r\n", "it answers with status 101"),
            (&endless, "the head of its answer has no end"),
            (&crowded, "what it answers is not HTTP/1.1 (too many headers)"),
        ] {
            match read(&mut bytes.as_bytes()) {
                Err(AnswerError::Foreign(what)) => assert_eq!(what, said),
                other => panic!("{bytes:?}: {other:?}"),
            }
        }
        assert!(matches!(read(&mut long.as_bytes()), Err(AnswerError::TooLong(_))));
    }

    #[test]
    fn a_length_that_is_said_twice_alike_is_one_length() {
        let twice = b"HTTP/1.1 503 no\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\na";
        let answer = read(&mut &twice[..]).unwrap();
        assert_eq!((answer.status, &answer.body[..], answer.media.as_str()), (503, &b"a"[..], ""));
    }
}
