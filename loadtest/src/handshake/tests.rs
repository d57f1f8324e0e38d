use std::collections::VecDeque;

use super::*;

/// A server that gives its answers one byte a read and keeps what it was sent.
struct ScriptedServer {
    answers: VecDeque<u8>,
    sent: Vec<u8>,
    starved: bool,
}

impl Read for ScriptedServer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.starved = !self.starved;
        match (self.starved, self.answers.pop_front()) {
            (false, Some(byte)) => {
                buffer[0] = byte;
                Ok(1)
            }
            (true, Some(byte)) => {
                self.answers.push_front(byte);
                Err(io::ErrorKind::WouldBlock.into())
            }
            (_, None) => Ok(0),
        }
    }
}

impl Write for ScriptedServer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn converse(answers: &[u8], credentials: Option<(&str, &str)>) -> (Result<(), Fault>, Vec<u8>, usize) {
    converse_by(Protocol::Socks5, answers, credentials)
}

fn converse_by(
    protocol: Protocol,
    answers: &[u8],
    credentials: Option<(&str, &str)>,
) -> (Result<(), Fault>, Vec<u8>, usize) {
    let target = "127.0.0.1:80".parse().expect("an address");
    let messages = Messages::of(protocol, target, None, credentials).expect("it can be said");
    let mut script =
        ScriptedServer { answers: answers.iter().copied().collect(), sent: Vec::new(), starved: false };
    let mut handshake = Handshake::new();
    for _ in 0..10_000 {
        match handshake.advance(&mut script, &messages) {
            Ok(true) => return (Ok(()), script.sent, script.answers.len()),
            Ok(false) => {}
            Err(fault) => return (Err(fault), script.sent, script.answers.len()),
        }
    }
    panic!("the handshake does not end");
}

#[test]
fn early_data_stay_in_the_socket() {
    let (outcome, sent, left) = converse(&[5, 0, 5, 0, 0, 1, 127, 0, 0, 1, 0, 80, b'X', b'Y'], None);
    assert!(outcome.is_ok());
    assert_eq!(sent, [5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 80]);
    assert_eq!(left, 2);
}

#[test]
fn password_then_a_reply_with_a_name() {
    let answers = [5, 2, 1, 0, 5, 0, 0, 3, 2, b'a', b'b', 0, 80];
    let (outcome, sent, left) = converse(&answers, Some(("u", "pw")));
    assert!(outcome.is_ok());
    assert_eq!(sent[..8], [5, 1, 2, 1, 1, b'u', 2, b'p']);
    assert_eq!(left, 0);
}

#[test]
fn a_name_stands_for_the_address() {
    let target = "127.0.0.1:258".parse().expect("an address");
    let messages = Messages::connect(target, Some("a.b"), None);
    assert_eq!(messages.request, [5, 1, 0, 3, 3, b'a', b'.', b'b', 1, 2]);
    let longest = Messages::connect(target, Some(&"n".repeat(255)), None).request;
    assert_eq!((longest[4], longest.len()), (255, 4 + 1 + 255 + 2));
}

#[test]
fn an_association_gives_its_address() {
    let messages = Messages::associate("127.0.0.1:1080".parse().expect("an address"), None);
    assert_eq!(messages.request, [5, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
    let answers = [5, 0, 5, 0, 0, 1, 127, 0, 0, 9, 0x12, 0x34];
    let mut script = ScriptedServer { answers: answers.into(), sent: Vec::new(), starved: false };
    let mut handshake = Handshake::new();
    while !handshake.advance(&mut script, &messages).expect("good answers") {}
    assert_eq!(handshake.bound().expect("an address").to_string(), "127.0.0.9:4660");
}

#[test]
fn addresses_as_rfc_1928_writes_them() {
    let v6 = [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80, 0xFF];
    assert_eq!(decode_address(&v6), Some(("[::1]:80".parse().expect("an address"), 19)));
    assert_eq!(decode_address(&v6[..18]), None);
    assert_eq!(decode_address(&[3, 1, b'a', 0, 80]), None);
    let mut out = Vec::new();
    encode_address("[::1]:80".parse().expect("an address"), None, &mut out);
    assert_eq!(out, v6[..19]);
}

#[test]
fn refusals_are_named() {
    let refused = |answers: &[u8]| converse(answers, None).0.expect_err("a refusal");
    assert!(matches!(refused(&[5, 0xFF]), Fault::Method(0xFF)));
    assert!(matches!(refused(&[4, 0]), Fault::Malformed(Phase::Greeting, 4)));
    assert!(matches!(refused(&[5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0]), Fault::Reply(2)));
    assert!(matches!(refused(&[5, 0, 5, 0, 0, 9, 0, 0]), Fault::Malformed(Phase::Request, 9)));
    assert!(matches!(refused(&[5, 0, 5]), Fault::Closed(Phase::Request)));
}

#[test]
fn socks4_is_one_question_and_one_answer() {
    let (outcome, sent, left) = converse_by(Protocol::Socks4, &[0, 90, 0, 0, 0, 0, 0, 0, b'X'], None);
    assert!(outcome.is_ok());
    assert_eq!(sent, [4, 1, 0, 80, 127, 0, 0, 1, 0]);
    assert_eq!(left, 1);
    let refused = |answers: &[u8]| converse_by(Protocol::Socks4, answers, None).0.expect_err("a refusal");
    assert!(matches!(refused(&[0, 91, 0, 0, 0, 0, 0, 0]), Fault::Rejected(91)));
    assert!(matches!(refused(&[4, 90, 0, 0, 0, 0, 0, 0]), Fault::Malformed(Phase::Request, 4)));
    assert!(matches!(refused(&[0, 90, 0]), Fault::Closed(Phase::Request)));
    let six = "[::1]:80".parse().expect("an address");
    assert!(Messages::of(Protocol::Socks4, six, None, None).is_err());
    let four = "127.0.0.1:80".parse().expect("an address");
    assert!(Messages::of(Protocol::Socks4, four, None, Some(("u", "pw"))).is_err());
}

#[test]
fn an_http_answer_is_read_to_the_end_of_its_head() {
    let good = b"HTTP/1.1 200 Connection established\r\n\r\n";
    let (outcome, sent, left) = converse_by(Protocol::Http, good, None);
    assert!(outcome.is_ok());
    assert_eq!(sent, b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n");
    assert_eq!(left, 0);
    let refused = |answers: &[u8]| converse_by(Protocol::Http, answers, None).0.expect_err("a refusal");
    assert!(matches!(refused(b"HTTP/1.1 403 Forbidden\r\n"), Fault::Status(403)));
    assert!(matches!(refused(&[5, 0xFF]), Fault::Malformed(Phase::Request, 5)));
    assert!(matches!(refused(&good[..20]), Fault::Closed(Phase::Request)));
    let endless = [good[..37].to_vec(), vec![b'x'; LONGEST_ANSWER]].concat();
    assert!(matches!(refused(&endless), Fault::Malformed(Phase::Request, b'H')));
}

#[test]
fn data_that_come_with_an_http_answer_are_counted() {
    let messages = Messages::of(Protocol::Http, "127.0.0.1:80".parse().expect("an address"), None, None);
    let mut handshake = Handshake::new();
    let mut out = Vec::new();
    handshake.send(&mut out, &messages.expect("it can be said").greeting).expect("a Vec takes it");
    let mut answer = &b"HTTP/1.1 200 OK\r\n\r\nabc"[..];
    assert!(handshake.read_head(&mut answer).expect("a good answer"));
    assert_eq!(handshake.early(), 3);
}
