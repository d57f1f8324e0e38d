//! One request and its answer of HTTP/1.1, seen from the client of a proxy: what is sent, and an answer that is read
//! piece by piece and checked byte by byte.

use std::net::SocketAddr;

use crate::fault::Fault;
use crate::handshake::request::{authority, basic};
use crate::payload::Pattern;

/// Fields of a head, and its bytes.
const FIELDS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Whom to ask, and for what.
pub(crate) struct Asked<'a> {
    pub(crate) target: SocketAddr,
    pub(crate) name: Option<&'a str>,
    /// The proxy's.
    pub(crate) credentials: Option<(&'a str, &'a str)>,
    /// With no proxy between, the target is asked in origin form (RFC 9112 section 3.2.1).
    pub(crate) direct: bool,
    pub(crate) size: usize,
}

impl Asked<'_> {
    /// The request, in absolute form for a proxy (RFC 9112 section 3.2.2).
    pub(crate) fn request(&self) -> Vec<u8> {
        let host = authority(self.target, self.name);
        let origin = if self.direct { String::new() } else { format!("http://{host}") };
        let mut head = format!("GET {origin}/{} HTTP/1.1\r\nHost: {host}\r\n", self.size);
        if let Some((user, password)) = self.credentials {
            head.push_str(&format!("Proxy-Authorization: {}\r\n", basic(user, password)));
        }
        head.push_str("User-Agent: outflow-load\r\nAccept: */*\r\n\r\n");
        head.into_bytes()
    }
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Partly,
    /// All of it is here, and whether another request may follow on this connection.
    Whole {
        kept: bool,
    },
}

/// The answer that is being read.
#[derive(Default)]
pub(crate) struct Exchange {
    /// The head, while that is not all here.
    head: Vec<u8>,
    body: Option<AnswerBody>,
}

/// What the head has said of it.
#[derive(Clone, Copy)]
struct AnswerBody {
    at: usize,
    kept: bool,
}

impl Exchange {
    /// Whether nothing of the answer is here.
    pub(crate) fn is_untouched(&self) -> bool {
        self.head.is_empty() && self.body.is_none()
    }

    /// Takes the next bytes of an answer that has to be `size` bytes of `pattern`.
    pub(crate) fn take(&mut self, bytes: &[u8], size: usize, pattern: &Pattern) -> Result<Answered, Fault> {
        if let Some(body) = self.body {
            return self.take_body(body, bytes, size, pattern);
        }
        // Nearly always the whole head is in the first piece: it is then read where it lies.
        let (head, before) = if self.head.is_empty() {
            (read_head(bytes, size)?, 0)
        } else {
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            (read_head(&self.head, size)?, before)
        };
        match head {
            None if before == 0 => self.head.extend_from_slice(bytes),
            None => {}
            Some((len, kept)) => {
                self.head.clear();
                return self.take_body(AnswerBody { at: 0, kept }, &bytes[len - before..], size, pattern);
            }
        }
        if self.head.len() > HEAD_BYTES_MAX {
            Err(Fault::Answer("its head does not end"))
        } else {
            Ok(Answered::Partly)
        }
    }

    fn take_body(
        &mut self,
        mut body: AnswerBody,
        mut bytes: &[u8],
        size: usize,
        pattern: &Pattern,
    ) -> Result<Answered, Fault> {
        if bytes.len() > size - body.at {
            return Err(Fault::Unexpected);
        }
        while !bytes.is_empty() {
            let expected = pattern.at(body.at, bytes.len());
            if bytes[..expected.len()] != *expected {
                return Err(Fault::WrongBytes { position: body.at });
            }
            body.at += expected.len();
            bytes = &bytes[expected.len()..];
        }
        if body.at < size {
            self.body = Some(body);
            return Ok(Answered::Partly);
        }
        self.body = None;
        Ok(Answered::Whole { kept: body.kept })
    }
}

/// The length of the head and whether the connection is kept; `None` while it is not all here.
fn read_head(bytes: &[u8], size: usize) -> Result<Option<(usize, bool)>, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut fields);
    let parsed = answer.parse(bytes).map_err(|_| Fault::Answer("it is no head of HTTP/1"))?;
    let httparse::Status::Complete(len) = parsed else { return Ok(None) };
    match answer.code {
        Some(200) => {}
        other => return Err(Fault::Status(other.unwrap_or_default())),
    }
    let value = |name: &str| {
        let found = answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.and_then(|field| std::str::from_utf8(field.value).ok())
    };
    let length = value("Content-Length").and_then(|text| text.trim().parse::<usize>().ok());
    match length {
        None => return Err(Fault::Answer("it has no Content-Length")),
        Some(length) if length != size => {
            return Err(Fault::Answer("it has another length than was asked for"));
        }
        Some(_) => {}
    }
    let connection = value("Connection").or(value("Proxy-Connection")).unwrap_or_default();
    let says = |word: &str| connection.split(',').any(|option| option.trim().eq_ignore_ascii_case(word));
    // RFC 9112 section 9.3.
    let kept = !says("close") && (answer.version == Some(1) || says("keep-alive"));
    Ok(Some((len, kept)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &str, size: usize) -> Vec<u8> {
        [format!("{head}Content-Length: {size}\r\n\r\n").as_bytes(), Pattern::new(size).at(0, size)].concat()
    }

    #[test]
    fn every_split_of_an_answer_gives_the_same() {
        let whole = answer("HTTP/1.1 200 OK\r\nVia: 1.1 x\r\n", 300);
        for cut in 1..whole.len() {
            let mut exchange = Exchange::default();
            let pattern = Pattern::new(1000);
            assert_eq!(exchange.take(&whole[..cut], 300, &pattern).expect("good"), Answered::Partly, "{cut}");
            assert!(!exchange.is_untouched());
            let end = exchange.take(&whole[cut..], 300, &pattern).expect("good");
            assert_eq!(end, Answered::Whole { kept: true }, "{cut}");
            assert!(exchange.is_untouched());
        }
    }

    #[test]
    fn what_is_no_good_answer_is_named() {
        let take = |bytes: &[u8]| Exchange::default().take(bytes, 3, &Pattern::new(9));
        assert!(matches!(take(b"HTTP/1.1 403 No\r\n\r\n"), Err(Fault::Status(403))));
        assert!(matches!(take(b"HTTP/1.1 200 OK\r\n\r\n"), Err(Fault::Answer(_))));
        assert!(matches!(take(&answer("HTTP/1.1 200 OK\r\n", 4)), Err(Fault::Answer(_))));
        assert!(matches!(take(&[5, 0xFF]), Err(Fault::Answer(_))));
        let mut wrong = answer("HTTP/1.1 200 OK\r\n", 3);
        *wrong.last_mut().expect("bytes") ^= 1;
        assert!(matches!(take(&wrong), Err(Fault::WrongBytes { position: 0 })));
        let more = [answer("HTTP/1.1 200 OK\r\n", 3), vec![0]].concat();
        assert!(matches!(take(&more), Err(Fault::Unexpected)));
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; HEAD_BYTES_MAX]].concat();
        assert!(matches!(take(&endless), Err(Fault::Answer(_))));
    }

    #[test]
    fn a_connection_is_kept_as_rfc_9112_says() {
        let kept =
            |head: &str| Exchange::default().take(&answer(head, 1), 1, &Pattern::new(1)).expect("good");
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: Close\r\n", false),
            ("HTTP/1.0 200 OK\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: x, keep-alive\r\n", true),
            ("HTTP/1.0 200 OK\r\nProxy-Connection: keep-alive\r\n", true),
        ] {
            assert_eq!(kept(head), Answered::Whole { kept: expected }, "{head}");
        }
    }

    #[test]
    fn a_proxy_is_asked_in_absolute_form() {
        let target = "127.0.0.1:80".parse().expect("an address");
        let asked =
            Asked { target, name: Some("a.test"), credentials: Some(("u", "p")), direct: false, size: 7 };
        let text = String::from_utf8(asked.request()).expect("text");
        assert!(text.starts_with(
            "GET http://a.test:80/7 HTTP/1.1\r\nHost: a.test:80\r\nProxy-Authorization: Basic dTpw\r\n"
        ));
        let direct = Asked { name: None, credentials: None, direct: true, ..asked };
        assert!(direct.request().starts_with(b"GET /7 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"));
    }
}
