//! The client's side of RFC 1928 up to the CONNECT reply, written as real clients write it: greeting,
//! wait, request, wait. It reads exactly the bytes of each answer, so that data which follow the reply
//! at once stay in the socket, and it makes no read of which it knows that nothing can be there.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use crate::fault::{Fault, Phase};

/// VER of RFC 1928.
const VERSION: u8 = 5;
/// VER of RFC 1929.
const PASSWORD_VERSION: u8 = 1;
/// The longest answer: VER REP RSV ATYP, LEN and 255 bytes of name, port.
const LONGEST_ANSWER: usize = 4 + 1 + 255 + 2;

/// The three messages of every session of a run, encoded once.
pub(crate) struct Messages {
    greeting: Vec<u8>,
    password: Option<Vec<u8>>,
    request: Vec<u8>,
}

impl Messages {
    /// Encodes a CONNECT to `target`, by `name` (ATYP 3) where one is given, with method password when
    /// `credentials` are given.
    ///
    /// The name and both parts of `credentials` are 1 to 255 bytes long (RFC 1928 section 5, RFC 1929
    /// section 2); the command line has checked that.
    pub(crate) fn connect(target: SocketAddr, name: Option<&str>, credentials: Option<(&str, &str)>) -> Self {
        let password = credentials.map(|(user, secret)| {
            let mut message = vec![PASSWORD_VERSION, user.len() as u8];
            message.extend_from_slice(user.as_bytes());
            message.push(secret.len() as u8);
            message.extend_from_slice(secret.as_bytes());
            message
        });
        let method = if password.is_some() { 2 } else { 0 };
        let mut request = vec![VERSION, 1, 0];
        match (name, target) {
            (Some(name), _) => {
                request.extend_from_slice(&[3, name.len() as u8]);
                request.extend_from_slice(name.as_bytes());
            }
            (None, SocketAddr::V4(v4)) => {
                request.push(1);
                request.extend_from_slice(&v4.ip().octets());
            }
            (None, SocketAddr::V6(v6)) => {
                request.push(4);
                request.extend_from_slice(&v6.ip().octets());
            }
        }
        request.extend_from_slice(&target.port().to_be_bytes());
        Self { greeting: vec![VERSION, 1, method], password, request }
    }
}

/// What the client does next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Greet,
    AwaitMethod,
    AwaitStatus,
    AwaitReply,
}

/// One session's progress through the handshake.
pub(crate) struct Handshake {
    step: Step,
    have: usize,
    answer: [u8; LONGEST_ANSWER],
}

impl Handshake {
    pub(crate) fn new() -> Self {
        Self { step: Step::Greet, have: 0, answer: [0; LONGEST_ANSWER] }
    }

    /// The part of the session that a fault belongs to.
    pub(crate) fn phase(&self) -> Phase {
        match self.step {
            Step::Greet | Step::AwaitMethod => Phase::Greeting,
            Step::AwaitStatus => Phase::Password,
            Step::AwaitReply => Phase::Request,
        }
    }

    /// Goes as far as the socket allows; `true` once the success reply has been read.
    pub(crate) fn advance<S: Read + Write>(
        &mut self,
        stream: &mut S,
        messages: &Messages,
    ) -> Result<bool, Fault> {
        match self.step {
            Step::Greet => {
                if self.send(stream, &messages.greeting)? {
                    self.step = Step::AwaitMethod;
                }
                Ok(false)
            }
            Step::AwaitMethod => {
                if !self.receive(stream, 2)? {
                    return Ok(false);
                }
                self.expect_version(VERSION)?;
                if self.answer[1] != messages.greeting[2] {
                    return Err(Fault::Method(self.answer[1]));
                }
                match &messages.password {
                    Some(password) => self.ask(stream, password, Step::AwaitStatus),
                    None => self.ask(stream, &messages.request, Step::AwaitReply),
                }
            }
            Step::AwaitStatus => {
                if !self.receive(stream, 2)? {
                    return Ok(false);
                }
                self.expect_version(PASSWORD_VERSION)?;
                if self.answer[1] != 0 {
                    return Err(Fault::Password(self.answer[1]));
                }
                self.ask(stream, &messages.request, Step::AwaitReply)
            }
            Step::AwaitReply => self.read_reply(stream),
        }
    }

    /// Sends the next message; its answer comes with a later event.
    fn ask<S: Write>(&mut self, stream: &mut S, message: &[u8], then: Step) -> Result<bool, Fault> {
        if !self.send(stream, message)? {
            // An empty send buffer takes a few hundred bytes; a server's window of 0 does not change that.
            return Err(Fault::Socket(self.phase(), io::ErrorKind::WouldBlock.into()));
        }
        self.step = then;
        self.have = 0;
        Ok(false)
    }

    fn read_reply<S: Read>(&mut self, stream: &mut S) -> Result<bool, Fault> {
        // Five bytes tell the length, and no reply is shorter than eight.
        if !self.receive(stream, 5)? {
            return Ok(false);
        }
        self.expect_version(VERSION)?;
        if self.answer[1] != 0 {
            return Err(Fault::Reply(self.answer[1]));
        }
        let whole = match self.answer[3] {
            1 => 4 + 4 + 2,
            3 => 4 + 1 + usize::from(self.answer[4]) + 2,
            4 => 4 + 16 + 2,
            other => return Err(Fault::Malformed(Phase::Request, other)),
        };
        self.receive(stream, whole)
    }

    fn expect_version(&self, version: u8) -> Result<(), Fault> {
        let found = self.answer[0];
        if found == version { Ok(()) } else { Err(Fault::Malformed(self.phase(), found)) }
    }

    /// `false` while the connection is not established.
    fn send<S: Write>(&self, stream: &mut S, message: &[u8]) -> Result<bool, Fault> {
        match stream.write(message) {
            Ok(sent) if sent == message.len() => Ok(true),
            Ok(_) => Err(Fault::Socket(self.phase(), io::ErrorKind::WriteZero.into())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(Fault::socket(self.phase(), error)),
        }
    }

    /// Reads until `need` bytes of the answer are here, never beyond them.
    fn receive<S: Read>(&mut self, stream: &mut S, need: usize) -> Result<bool, Fault> {
        while self.have < need {
            match stream.read(&mut self.answer[self.have..need]) {
                Ok(0) => return Err(Fault::Closed(self.phase())),
                Ok(count) => self.have += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::socket(self.phase(), error)),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A server that gives its answers one byte a read and keeps what it was sent.
    struct Script {
        answers: VecDeque<u8>,
        sent: Vec<u8>,
        starved: bool,
    }

    impl Read for Script {
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

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.sent.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn converse(answers: &[u8], credentials: Option<(&str, &str)>) -> (Result<(), Fault>, Vec<u8>, usize) {
        let messages = Messages::connect("127.0.0.1:80".parse().expect("an address"), None, credentials);
        let mut script =
            Script { answers: answers.iter().copied().collect(), sent: Vec::new(), starved: false };
        let mut handshake = Handshake::new();
        for _ in 0..1000 {
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
    fn refusals_are_named() {
        let refused = |answers: &[u8]| converse(answers, None).0.expect_err("a refusal");
        assert!(matches!(refused(&[5, 0xFF]), Fault::Method(0xFF)));
        assert!(matches!(refused(&[4, 0]), Fault::Malformed(Phase::Greeting, 4)));
        assert!(matches!(refused(&[5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0]), Fault::Reply(2)));
        assert!(matches!(refused(&[5, 0, 5, 0, 0, 9, 0, 0]), Fault::Malformed(Phase::Request, 9)));
        assert!(matches!(refused(&[5, 0, 5]), Fault::Closed(Phase::Request)));
    }
}
