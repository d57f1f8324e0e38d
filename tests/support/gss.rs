//! A GSSAPI client of SOCKS (RFC 1961): contexts by the system's library in a child process, frames by hand.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use super::client::{Client, Reply, request};
use super::realm::{Realm, python};
use super::relay::{Builder, quoted};

/// The service that the tests' server is, as its clients name it.
pub(crate) const SERVICE: &str = "rcmd@localhost";

/// Flags of a context (RFC 2744 appendix A).
pub(crate) const MUTUAL: u32 = 2;
pub(crate) const REPLAY: u32 = 4;
pub(crate) const SEQUENCE: u32 = 8;
pub(crate) const CONFIDENTIAL: u32 = 16;
pub(crate) const INTEGRITY: u32 = 32;
/// Not of the RFC: has Kerberos take a round more.
pub(crate) const DCE_STYLE: u32 = 4096;
/// What a client should ask for (RFC 1961 section 3).
pub(crate) const USUAL: u32 = MUTUAL | REPLAY | SEQUENCE | CONFIDENTIAL | INTEGRITY;

/// MTYP of a message (RFC 1961 sections 3.3, 4.1 and 5.1).
pub(crate) const AUTHENTICATION: u8 = 0x01;
pub(crate) const PROTECTION: u8 = 0x02;
pub(crate) const ENCAPSULATED: u8 = 0x03;
/// The whole message that ends a negotiation (RFC 1961 section 3.4).
pub(crate) const ABORT: [u8; 2] = [0x01, 0xff];

/// One message: VER, MTYP, LEN, token.
pub(crate) fn frame(kind: u8, token: &[u8]) -> Vec<u8> {
    let length = u16::try_from(token.len()).expect("a token of at most 65,535 bytes");
    [&[0x01, kind][..], &length.to_be_bytes(), token].concat()
}

/// One end of a context: a process over the system's library.
pub(crate) struct End {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What one round of a context gave.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) done: bool,
    pub(crate) token: Vec<u8>,
}

impl End {
    /// Starts the process; it knows this environment's Kerberos alone.
    pub(crate) fn start(environment: Vec<(&'static str, OsString)>) -> Self {
        let mut child = Command::new(python().expect("a python3 with gssapi"))
            .args(["-c", include_str!("initiator.py")])
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start an end of a context");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("stdout"));
        Self { child, input, output: BufReader::with_capacity(1 << 17, output) }
    }

    fn ask(&mut self, what: u8, parts: &[&[u8]]) -> Result<Vec<u8>, String> {
        let length = u32::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).expect("a length");
        let bytes = [&[what][..], &length.to_be_bytes(), &parts.concat()].concat();
        self.input.as_mut().expect("stdin").write_all(&bytes).expect("ask the other process");
        let mut head = [0; 5];
        self.output.read_exact(&mut head).expect("an answer of the other process");
        let [status, length @ ..] = head;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.output.read_exact(&mut answer).expect("the rest of the answer");
        match status {
            0 => Ok(answer),
            _ => Err(String::from_utf8_lossy(&answer).into_owned()),
        }
    }

    fn round(answer: Vec<u8>) -> Round {
        Round { done: answer[0] == 1, token: answer[1..].to_vec() }
    }

    /// A new context for `service`; its first token.
    pub(crate) fn initiate(&mut self, service: &str, flags: u32) -> Result<Round, String> {
        self.ask(b'I', &[&flags.to_be_bytes(), service.as_bytes()]).map(Self::round)
    }

    /// The acceptor's token goes in.
    pub(crate) fn proceed(&mut self, token: &[u8]) -> Result<Round, String> {
        self.ask(b'S', &[token]).map(Self::round)
    }

    /// Makes this end an acceptor, whose keytab its environment names.
    pub(crate) fn listen(&mut self) -> Result<(), String> {
        self.ask(b'L', &[]).map(drop)
    }

    /// Hands the initiator's token to an acceptor.
    pub(crate) fn accept(&mut self, token: &[u8]) -> Result<Round, String> {
        self.ask(b'A', &[token]).map(Self::round)
    }

    /// The initiator's name, for an acceptor.
    pub(crate) fn initiator(&mut self) -> String {
        String::from_utf8(self.ask(b'N', &[]).expect("a name")).expect("UTF-8")
    }

    pub(crate) fn wrap(&mut self, bytes: &[u8], confidential: bool) -> Vec<u8> {
        self.ask(b'W', &[&[confidential.into()], bytes]).expect("wrap")
    }

    /// Wraps `bytes` `count` times, as messages one behind the other.
    pub(crate) fn flood(&mut self, count: u32, bytes: &[u8], confidential: bool) -> Vec<u8> {
        let parts = [&count.to_be_bytes()[..], &[confidential.into()], bytes];
        let tokens = self.ask(b'F', &parts).expect("wrap");
        let (mut rest, mut messages) = (&tokens[..], Vec::with_capacity(tokens.len() * 2));
        while let [high, low, behind @ ..] = rest {
            let (token, next) = behind.split_at(u16::from_be_bytes([*high, *low]).into());
            messages.extend(frame(ENCAPSULATED, token));
            rest = next;
        }
        messages
    }

    /// Whether it was encrypted, and what was wrapped.
    pub(crate) fn unwrap(&mut self, token: &[u8]) -> Result<(bool, Vec<u8>), String> {
        self.ask(b'U', &[token]).map(|answer| (answer[0] == 1, answer[1..].to_vec()))
    }

    /// How many bytes fit into a token of this length.
    pub(crate) fn size_limit(&mut self, confidential: bool, token_max: u32) -> u32 {
        let answer = self.ask(b'M', &[&[confidential.into()], &token_max.to_be_bytes()]).expect("a limit");
        u32::from_be_bytes(answer.try_into().expect("four octets"))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An initiator, kept for the next test that wants one over the same tickets: a process costs more than a context.
pub(crate) struct Initiator {
    end: Option<End>,
    tickets: PathBuf,
}

static IDLE: Mutex<BTreeMap<PathBuf, Vec<End>>> = Mutex::new(BTreeMap::new());

impl Initiator {
    /// Over a user's tickets.
    pub(crate) fn of(realm: &Realm, user: &str) -> Self {
        Self::over(realm, &realm.tickets(user))
    }

    /// Over a ticket cache.
    pub(crate) fn over(realm: &Realm, tickets: &Path) -> Self {
        let idle = IDLE.lock().expect("idle ends").get_mut(tickets).and_then(Vec::pop);
        let end = idle.unwrap_or_else(|| {
            let mut environment = realm.environment();
            environment.push(("KRB5CCNAME", tickets.into()));
            End::start(environment)
        });
        Self { end: Some(end), tickets: tickets.to_owned() }
    }

    /// Over the tickets and in the realm that this process's own environment names.
    pub(crate) fn inherited() -> Self {
        Self { end: Some(End::start(Vec::new())), tickets: PathBuf::new() }
    }
}

impl std::ops::Deref for Initiator {
    type Target = End;
    fn deref(&self) -> &End {
        self.end.as_ref().expect("an end")
    }
}

impl std::ops::DerefMut for Initiator {
    fn deref_mut(&mut self) -> &mut End {
        self.end.as_mut().expect("an end")
    }
}

impl Drop for Initiator {
    fn drop(&mut self) {
        let Some(end) = self.end.take().filter(|_| !std::thread::panicking()) else { return };
        if let Ok(mut idle) = IDLE.lock() {
            idle.entry(std::mem::take(&mut self.tickets)).or_default().push(end);
        }
    }
}

/// Demands GSSAPI of this server's clients, with the realm's keytab; further keys of `[auth.gssapi]` may follow.
pub(crate) fn demand(builder: Builder, realm: &Realm) -> Builder {
    let keytab = quoted(realm.keytab().to_str().expect("UTF-8"));
    builder
        .set("auth", "methods", "[\"gssapi\"]")
        .set("auth.gssapi", "keytab", &keytab)
        .environment(realm.environment())
}

/// Demands GSSAPI of this server's clients, with these levels of protection alone.
pub(crate) fn demand_levels(builder: Builder, realm: &Realm, levels: &[&str]) -> Builder {
    let list = levels.iter().map(|level| quoted(level)).collect::<Vec<_>>().join(", ");
    demand(builder, realm).set("auth.gssapi", "protection", &format!("[{list}]"))
}

/// A SOCKS client with a context.
pub(crate) struct GssClient {
    pub(crate) client: Client,
    pub(crate) gss: Initiator,
    /// What was agreed on; 0 until then.
    pub(crate) level: u8,
}

impl GssClient {
    /// Connects and agrees on GSSAPI.
    pub(crate) fn greeted(relay: SocketAddr, gss: Initiator) -> Self {
        let mut client = Client::connect(relay);
        client.send(&[0x05, 0x01, 0x01]);
        client.expect(&[0x05, 0x01]);
        Self { client, gss, level: 0 }
    }

    /// Up to a context, with these flags; nothing is said of a level yet.
    pub(crate) fn established_with(relay: SocketAddr, gss: Initiator, flags: u32) -> Self {
        let mut this = Self::greeted(relay, gss);
        let mut round = this.gss.initiate(SERVICE, flags).expect("the first token");
        this.send_frame(AUTHENTICATION, &round.token);
        while !round.done {
            let token = this.recv_frame(AUTHENTICATION);
            round = this.gss.proceed(&token).expect("a token of the server");
            if !round.token.is_empty() {
                this.send_frame(AUTHENTICATION, &round.token);
            }
        }
        this
    }

    /// Up to a context of a user.
    pub(crate) fn established(relay: SocketAddr, realm: &Realm, user: &str) -> Self {
        Self::established_with(relay, Initiator::of(realm, user), USUAL)
    }

    /// Up to the request: a context, and this level, which must be granted as it is.
    pub(crate) fn at_level(relay: SocketAddr, realm: &Realm, level: u8) -> Self {
        let mut this = Self::established(relay, realm, "alice");
        assert_eq!(this.ask_level(level), Some(level), "the level that was granted");
        this
    }

    /// Up to the relayed bytes.
    pub(crate) fn through(relay: SocketAddr, realm: &Realm, level: u8, target: SocketAddr) -> Self {
        let mut this = Self::at_level(relay, realm, level);
        let reply = this.request(0x01, target);
        assert_eq!(reply.rep, 0, "CONNECT {target}: {reply:?}");
        this
    }

    /// Asks for a level (RFC 1961 section 4.3); what is granted, or none where it is refused.
    pub(crate) fn ask_level(&mut self, level: u8) -> Option<u8> {
        self.send_level(&[level]);
        self.granted()
    }

    /// Sends the body of a level message, wrapped as the RFC has it, without encryption.
    pub(crate) fn send_level(&mut self, body: &[u8]) {
        let token = self.gss.wrap(body, false);
        self.send_frame(PROTECTION, &token);
    }

    /// Reads the answer to a level message.
    pub(crate) fn granted(&mut self) -> Option<u8> {
        let head = self.client.recv(2);
        if head == ABORT {
            return None;
        }
        assert_eq!(head, [0x01, PROTECTION], "the head of a level message");
        let token = self.recv_token();
        let (confidential, body) = self.gss.unwrap(&token).expect("a level message of the server");
        assert!(!confidential, "a level message is not encrypted");
        assert_eq!(body.len(), 1, "a level is one octet: {body:02x?}");
        self.level = body[0];
        Some(body[0])
    }

    /// Sends one message.
    pub(crate) fn send_frame(&mut self, kind: u8, token: &[u8]) {
        self.client.send(&frame(kind, token));
    }

    /// Insists on a message of this kind; its token.
    pub(crate) fn recv_frame(&mut self, kind: u8) -> Vec<u8> {
        let head = self.client.recv(2);
        assert_eq!(head, [0x01, kind], "VER and MTYP");
        self.recv_token()
    }

    fn recv_token(&mut self) -> Vec<u8> {
        let length = self.client.recv(2);
        self.client.recv(u16::from_be_bytes([length[0], length[1]]).into())
    }

    /// These bytes as what is agreed on puts them on the wire: one message, or at level 0 themselves. Level 3 leaves
    /// it to each message whether it is encrypted: ours are.
    pub(crate) fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self.level {
            0 => bytes.to_vec(),
            level => frame(ENCAPSULATED, &self.gss.wrap(bytes, level != 1)),
        }
    }

    /// Sends bytes, in one message.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let sealed = self.seal(bytes);
        self.client.send(&sealed);
    }

    /// The body of the next message, which must be protected as was agreed; not for level 0.
    pub(crate) fn recv_message(&mut self) -> Vec<u8> {
        let token = self.recv_frame(ENCAPSULATED);
        self.open(&token)
    }

    /// Unwraps a token of the server.
    pub(crate) fn open(&mut self, token: &[u8]) -> Vec<u8> {
        let (confidential, body) = self.gss.unwrap(token).expect("a message of the server");
        match self.level {
            1 => assert!(!confidential, "encrypted at level 1"),
            2 => assert!(confidential, "not encrypted at level 2"),
            _ => {}
        }
        body
    }

    /// Reads exactly so many bytes, in however many messages.
    pub(crate) fn recv(&mut self, length: usize) -> Vec<u8> {
        if self.level == 0 {
            return self.client.recv(length);
        }
        let mut bytes = Vec::new();
        while bytes.len() < length {
            bytes.extend(self.recv_message());
        }
        assert_eq!(bytes.len(), length, "a message holds more than is due");
        bytes
    }

    /// Insists that exactly these bytes come next.
    pub(crate) fn expect(&mut self, wanted: &[u8]) {
        let got = self.recv(wanted.len());
        assert!(
            got == wanted,
            "{:02x?} is not {:02x?}",
            &got[..got.len().min(64)],
            &wanted[..wanted.len().min(64)]
        );
    }

    /// Sends a request and reads its reply.
    pub(crate) fn request(&mut self, command: u8, target: SocketAddr) -> Reply {
        self.send(&request(command, target));
        self.reply()
    }

    /// Reads a reply: one message, nothing else in it.
    pub(crate) fn reply(&mut self) -> Reply {
        if self.level == 0 {
            return self.client.reply();
        }
        parse_reply(&self.recv_message())
    }
}

/// Takes a reply apart (RFC 1928 section 6).
pub(crate) fn parse_reply(bytes: &[u8]) -> Reply {
    assert_eq!((bytes[0], bytes[2]), (0x05, 0x00), "VER and RSV of {bytes:02x?}");
    let (ip, rest): (std::net::IpAddr, _) = match bytes[3] {
        0x01 => (<[u8; 4]>::try_from(&bytes[4..8]).expect("four octets").into(), &bytes[8..]),
        0x04 => (<[u8; 16]>::try_from(&bytes[4..20]).expect("sixteen octets").into(), &bytes[20..]),
        other => panic!("ATYP {other} in {bytes:02x?}"),
    };
    let port: [u8; 2] = rest.try_into().expect("a port, and nothing behind it");
    Reply { rep: bytes[1], bound: SocketAddr::new(ip, u16::from_be_bytes(port)) }
}
