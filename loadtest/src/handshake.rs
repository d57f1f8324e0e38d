//! The client's side of RFC 1928 up to the reply, written as real clients write it: greeting,
//! wait, request, wait. It reads exactly the bytes of each answer, so that data which follow the reply
//! at once stay in the socket, and it makes no read of which it knows that nothing can be there.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::fault::{Fault, Phase};

/// VER of RFC 1928.
const VERSION: u8 = 5;
/// VER of RFC 1929.
const PASSWORD_VERSION: u8 = 1;
/// CMD of RFC 1928 section 4.
const CONNECT: u8 = 1;
const UDP_ASSOCIATE: u8 = 3;
/// VER REP RSV ATYP, an IPv4 address and a port: the form of almost every reply.
const USUAL_REPLY: usize = 4 + 4 + 2;
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
        Self::new(CONNECT, target, name, credentials)
    }

    /// Encodes a UDP ASSOCIATE for `server`. The client leaves its own address open, as nearly all do: zeros
    /// (RFC 1928 section 4).
    pub(crate) fn associate(server: SocketAddr, credentials: Option<(&str, &str)>) -> Self {
        let any: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        Self::new(UDP_ASSOCIATE, SocketAddr::new(any, 0), None, credentials)
    }

    fn new(command: u8, address: SocketAddr, name: Option<&str>, credentials: Option<(&str, &str)>) -> Self {
        let password = credentials.map(|(user, secret)| {
            let mut message = vec![PASSWORD_VERSION, user.len() as u8];
            message.extend_from_slice(user.as_bytes());
            message.push(secret.len() as u8);
            message.extend_from_slice(secret.as_bytes());
            message
        });
        let method = if password.is_some() { 2 } else { 0 };
        let mut request = vec![VERSION, command, 0];
        encode_address(address, name, &mut request);
        Self { greeting: vec![VERSION, 1, method], password, request }
    }
}

/// ATYP, address and port (RFC 1928 section 5); a `name` of 1 to 255 bytes stands for the address.
pub(crate) fn encode_address(address: SocketAddr, name: Option<&str>, out: &mut Vec<u8>) {
    match (name, address.ip()) {
        (Some(name), _) => {
            out.extend_from_slice(&[3, name.len() as u8]);
            out.extend_from_slice(name.as_bytes());
        }
        (None, IpAddr::V4(v4)) => {
            out.push(1);
            out.extend_from_slice(&v4.octets());
        }
        (None, IpAddr::V6(v6)) => {
            out.push(4);
            out.extend_from_slice(&v6.octets());
        }
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// The address and port at the start of `bytes`, which begin with ATYP, and how long they are. `None` for
/// a name or for too few bytes.
pub(crate) fn decode_address(bytes: &[u8]) -> Option<(SocketAddr, usize)> {
    let (ip, len): (IpAddr, usize) = match bytes.first()? {
        1 => (<[u8; 4]>::try_from(bytes.get(1..5)?).ok()?.into(), 5),
        4 => (<[u8; 16]>::try_from(bytes.get(1..17)?).ok()?.into(), 17),
        _ => return None,
    };
    let port = u16::from_be_bytes(bytes.get(len..len + 2)?.try_into().ok()?);
    Some((SocketAddr::new(ip, port), len + 2))
}

/// What the client does next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HandshakeStep {
    Greet,
    AwaitMethod,
    AwaitStatus,
    AwaitReply,
}

/// One session's progress through the handshake.
pub(crate) struct Handshake {
    step: HandshakeStep,
    have: usize,
    answer: [u8; LONGEST_ANSWER],
}

impl Handshake {
    pub(crate) fn new() -> Self {
        Self { step: HandshakeStep::Greet, have: 0, answer: [0; LONGEST_ANSWER] }
    }

    /// The part of the session that a fault belongs to.
    pub(crate) fn phase(&self) -> Phase {
        match self.step {
            HandshakeStep::Greet | HandshakeStep::AwaitMethod => Phase::Greeting,
            HandshakeStep::AwaitStatus => Phase::Password,
            HandshakeStep::AwaitReply => Phase::Request,
        }
    }

    /// BND of the reply, once that has been read: for UDP ASSOCIATE where the datagrams go. A name is no
    /// answer to that.
    pub(crate) fn bound(&self) -> Result<SocketAddr, Fault> {
        let (bound, _) =
            decode_address(&self.answer[3..]).ok_or(Fault::Malformed(Phase::Request, self.answer[3]))?;
        Ok(bound)
    }

    /// Goes as far as the socket allows; `true` once the success reply has been read.
    pub(crate) fn advance<S: Read + Write>(
        &mut self,
        stream: &mut S,
        messages: &Messages,
    ) -> Result<bool, Fault> {
        match self.step {
            HandshakeStep::Greet => {
                if self.send(stream, &messages.greeting)? {
                    self.step = HandshakeStep::AwaitMethod;
                }
                Ok(false)
            }
            HandshakeStep::AwaitMethod => {
                if !self.receive(stream, 2)? {
                    return Ok(false);
                }
                self.expect_version(VERSION)?;
                if self.answer[1] != messages.greeting[2] {
                    return Err(Fault::Method(self.answer[1]));
                }
                match &messages.password {
                    Some(password) => self.ask(stream, password, HandshakeStep::AwaitStatus),
                    None => self.ask(stream, &messages.request, HandshakeStep::AwaitReply),
                }
            }
            HandshakeStep::AwaitStatus => {
                if !self.receive(stream, 2)? {
                    return Ok(false);
                }
                self.expect_version(PASSWORD_VERSION)?;
                if self.answer[1] != 0 {
                    return Err(Fault::Password(self.answer[1]));
                }
                self.ask(stream, &messages.request, HandshakeStep::AwaitReply)
            }
            HandshakeStep::AwaitReply => self.read_reply(stream),
        }
    }

    /// Sends the next message; its answer comes with a later event.
    fn ask<S: Write>(&mut self, stream: &mut S, message: &[u8], then: HandshakeStep) -> Result<bool, Fault> {
        if !self.send(stream, message)? {
            // An empty send buffer takes a few hundred bytes; a server's window of 0 does not change that.
            return Err(Fault::Socket(self.phase(), io::ErrorKind::WouldBlock.into()));
        }
        self.step = then;
        self.have = 0;
        Ok(false)
    }

    fn read_reply<S: Read>(&mut self, stream: &mut S) -> Result<bool, Fault> {
        // One read does for the usual reply. Only one with a name of one or two bytes is shorter.
        while self.have < 5 {
            if !self.receive_some(stream, USUAL_REPLY)? {
                return Ok(false);
            }
        }
        self.expect_version(VERSION)?;
        if self.answer[1] != 0 {
            return Err(Fault::Reply(self.answer[1]));
        }
        let whole = match self.answer[3] {
            1 => USUAL_REPLY,
            3 => 4 + 1 + usize::from(self.answer[4]) + 2,
            4 => 4 + 16 + 2,
            other => return Err(Fault::Malformed(Phase::Request, other)),
        };
        if self.have > whole {
            // Data came with a reply that nobody sends; which of the bytes are data is known, but not to the
            // scenario.
            return Err(Fault::Malformed(Phase::Request, self.answer[4]));
        }
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
            if !self.receive_some(stream, need)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One read that goes no further than to `end`; `false` if nothing is there yet.
    fn receive_some<S: Read>(&mut self, stream: &mut S, end: usize) -> Result<bool, Fault> {
        loop {
            match stream.read(&mut self.answer[self.have..end]) {
                Ok(0) => return Err(Fault::Closed(self.phase())),
                Ok(count) => {
                    self.have += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::socket(self.phase(), error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

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
        let messages = Messages::connect("127.0.0.1:80".parse().expect("an address"), None, credentials);
        let mut script =
            ScriptedServer { answers: answers.iter().copied().collect(), sent: Vec::new(), starved: false };
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
}
