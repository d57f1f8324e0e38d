//! The client's side of RFC 1928 up to the reply, written as real clients write it: greeting,
//! wait, request, wait. It reads exactly the bytes of each answer, so that data which follow the reply
//! at once stay in the socket, and it makes no read of which it knows that nothing can be there.
//!
//! SOCKS4 and HTTP's CONNECT are one request and one answer. Nobody knows how long the head of an HTTP answer is: data
//! that came in one piece with it are counted and dropped.

pub(crate) mod request;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use self::request::{HttpAnswer, http_answer};
use crate::fault::{Fault, Phase};
use crate::protocol::Protocol;

/// VER of RFC 1928.
const VERSION: u8 = 5;
/// VER of RFC 1929.
const PASSWORD_VERSION: u8 = 1;
/// CMD of RFC 1928 section 4.
const CONNECT: u8 = 1;
const UDP_ASSOCIATE: u8 = 3;
/// VER REP RSV ATYP, an IPv4 address and a port: the form of almost every reply.
const USUAL_REPLY: usize = 4 + 4 + 2;
/// VN, CD, DSTPORT and DSTIP of SOCKS4, and the CD that grants.
const SOCKS4_REPLY: usize = 8;
const GRANTED: u8 = 90;
/// The longest answer: the head of an HTTP answer. One of SOCKS5 has 262 bytes at most (VER REP RSV ATYP, LEN and 255
/// bytes of name, port).
const LONGEST_ANSWER: usize = 1024;

/// The messages of every session of a run, encoded once.
pub(crate) struct Messages {
    /// What awaits the answer to the first of them.
    first_answer: HandshakeStep,
    /// The whole request, where the protocol has one message alone.
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

    /// Encodes the same for `protocol`, under whose TLS or none it goes; `Err` says why it cannot.
    pub(crate) fn of(
        protocol: Protocol,
        target: SocketAddr,
        name: Option<&str>,
        credentials: Option<(&str, &str)>,
    ) -> Result<Self, &'static str> {
        let alone =
            |first_answer, greeting| Self { first_answer, greeting, password: None, request: Vec::new() };
        match protocol {
            Protocol::Socks5 | Protocol::Socks5Tls => Ok(Self::connect(target, name, credentials)),
            Protocol::Socks4 if credentials.is_some() => Err("SOCKS4 has no passwords"),
            Protocol::Socks4 => request::socks4(target, name)
                .map(|request| alone(HandshakeStep::AwaitGrant, request))
                .ok_or("SOCKS4 has no IPv6 addresses"),
            Protocol::Http | Protocol::HttpsConnect => {
                Ok(alone(HandshakeStep::AwaitHead, request::connect(target, name, credentials)))
            }
        }
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
        Self {
            first_answer: HandshakeStep::AwaitMethod,
            greeting: vec![VERSION, 1, method],
            password,
            request,
        }
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
    /// SOCKS4.
    AwaitGrant,
    /// HTTP.
    AwaitHead,
}

/// One session's progress through the handshake.
pub(crate) struct Handshake {
    step: HandshakeStep,
    have: usize,
    /// Bytes of data that came with the answer.
    early: usize,
    answer: [u8; LONGEST_ANSWER],
}

impl Handshake {
    pub(crate) fn new() -> Self {
        Self { step: HandshakeStep::Greet, have: 0, early: 0, answer: [0; LONGEST_ANSWER] }
    }

    /// The part of the session that a fault belongs to.
    pub(crate) fn phase(&self) -> Phase {
        match self.step {
            HandshakeStep::Greet | HandshakeStep::AwaitMethod => Phase::Greeting,
            HandshakeStep::AwaitStatus => Phase::Password,
            HandshakeStep::AwaitReply | HandshakeStep::AwaitGrant | HandshakeStep::AwaitHead => {
                Phase::Request
            }
        }
    }

    /// Data that came in one piece with the answer, and are lost to the scenario.
    pub(crate) fn early(&self) -> usize {
        self.early
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
                    self.step = messages.first_answer;
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
            HandshakeStep::AwaitGrant => {
                if !self.receive(stream, SOCKS4_REPLY)? {
                    return Ok(false);
                }
                // VN of a reply is 0.
                self.expect_version(0)?;
                if self.answer[1] == GRANTED { Ok(true) } else { Err(Fault::Rejected(self.answer[1])) }
            }
            HandshakeStep::AwaitHead => self.read_head(stream),
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

    fn read_head<S: Read>(&mut self, stream: &mut S) -> Result<bool, Fault> {
        while self.receive_some(stream, LONGEST_ANSWER)? {
            match http_answer(&self.answer[..self.have]) {
                HttpAnswer::Success(len) => {
                    self.early = self.have - len;
                    return Ok(true);
                }
                HttpAnswer::Refused(status) => return Err(Fault::Status(status)),
                HttpAnswer::Malformed(byte) => return Err(Fault::Malformed(Phase::Request, byte)),
                HttpAnswer::Incomplete if self.have == LONGEST_ANSWER => {
                    return Err(Fault::Malformed(Phase::Request, self.answer[0]));
                }
                HttpAnswer::Incomplete => {}
            }
        }
        Ok(false)
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
mod tests;
