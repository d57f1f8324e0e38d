//! Sessions without a socket: commands and bytes out of inputs, every message written by hand.

mod associate;
mod bind;
mod egress;
mod gss;
mod http;
mod lookup;
mod random;
mod replies;
mod requests;
mod socks4;
mod through;
mod verdicts;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::*;
use crate::auth::Identity;
use crate::auth::username::UsernameRules;
use crate::config::{AuthMethod, Gssapi, HttpConfig, Protocol};
use crate::dns::{Answer, DnsError, PointerAnswer};
use crate::policy::parents::Parents;
use crate::policy::rules::spec::{Action, RuleSpec};
use crate::policy::{Decision, Guard, Policy, RouteFn};
use crate::proto::{Host, Name, ProtoError};

/// CONNECT 203.0.113.7:443.
const CONNECT: &[u8] = b"\x05\x01\x00\x01\xcb\x00\x71\x07\x01\xbb";
/// Success, bound to 198.51.100.9:4660.
const SUCCEEDED: &[u8] = b"\x05\x00\x00\x01\xc6\x33\x64\x09\x12\x34";

/// A client of the fourth listener.
const INCOMING: Incoming =
    Incoming { client: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 40_000), listener: 3 };

/// What a session said and asked for, in order; bytes that nothing stood between are one item.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Says(Vec<u8>),
    Verify(Vec<u8>, Vec<u8>),
    Establish(Vec<u8>),
    Resolve(String),
    Through(crate::policy::Way),
    Tell(SocketAddr),
    ResolvePtr(SocketAddr),
    Dial(Vec<SocketAddr>),
    Bind(Peers),
    Accept,
    Relay,
    Exchange(Box<ForwardRequest>),
    Associate(Announced),
    Datagrams,
    Answered,
    Close(Failure),
}

use Event::{Close, Dial, Relay, Says};

/// A session's whole life.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    events: Vec<Event>,
    /// What the target is owed, or what is no message yet; empty once the session is closed.
    pending: Vec<u8>,
    facts: String,
}

/// When the world answers what a session asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    AtOnce,
    /// After every byte of the client has arrived.
    Late,
}

/// Rules to lend.
#[derive(Debug)]
struct OwnRules {
    protocols: Vec<Protocol>,
    resolve: bool,
    socks4_ident: bool,
    username: Option<UsernameRules>,
    protected: bool,
    methods: Vec<AuthMethod>,
    commands: Vec<RequestCommand>,
    policy: Policy,
    parents: Option<Parents>,
    gssapi: Gssapi,
    http: HttpConfig,
}

impl OwnRules {
    fn lend(&self) -> Rules<'_> {
        Rules {
            protocols: &self.protocols,
            resolve: self.resolve,
            socks4_ident: self.socks4_ident,
            username: self.username.as_ref(),
            protected: self.protected,
            methods: &self.methods,
            commands: &self.commands,
            gssapi: &self.gssapi,
            http: &self.http,
            policy: &self.policy,
            parents: self.parents.as_ref(),
        }
    }
}

/// Everything around a session: the rules, and the answers to its questions.
#[derive(Debug)]
struct World {
    rules: OwnRules,
    addresses: Answer,
    named: PointerAnswer,
    dialed: Result<Dialed, DialError>,
    bound: Result<SocketAddr, DialError>,
    accepted: Result<AcceptedPeer, DialError>,
    associated: Result<SocketAddr, AssociateError>,
}

impl World {
    /// Where alice's password is `secret`, every name is 203.0.113.7, every dial succeeds, and every peer comes.
    fn new(methods: &[AuthMethod]) -> World {
        World {
            // The documentation's addresses stand for public ones.
            rules: OwnRules {
                protocols: vec![Protocol::Socks5, Protocol::Socks4, Protocol::Http],
                resolve: true,
                socks4_ident: false,
                username: None,
                protected: false,
                methods: methods.to_vec(),
                commands: Vec::new(),
                policy: Policy::new(Guard::new(false, vec!["203.0.113.0/24".parse().unwrap()], vec![])),
                parents: None,
                gssapi: Gssapi::default(),
                http: HttpConfig::default(),
            },
            addresses: addresses(&["203.0.113.7"]),
            named: Ok(name("host.example.com")),
            dialed: Ok(Dialed {
                address: socket("203.0.113.7:443"),
                local: socket("198.51.100.9:4660"),
                bound: socket("198.51.100.9:4660"),
                decision: Decision::BY_DEFAULT,
            }),
            bound: Ok(socket("198.51.100.9:4660")),
            accepted: Ok(came("203.0.113.7:20")),
            associated: Ok(socket("198.51.100.9:4660")),
        }
    }

    fn open() -> World {
        World::new(&[AuthMethod::None])
    }

    fn locked() -> World {
        World::new(&[AuthMethod::Password])
    }

    fn speaking(mut self, protocols: &[Protocol]) -> World {
        self.rules.protocols = protocols.to_vec();
        self
    }

    fn allowing_private(mut self) -> World {
        self.rules.policy = Policy::new(Guard::new(true, Vec::new(), Vec::new()));
        self
    }

    /// Where these rules hold, which know the client's listener as "fourth", and others are allowed what they ask for.
    fn ruled(self, rules: impl IntoIterator<Item = RuleSpec>) -> World {
        self.judged(Action::Allow, rules)
    }

    /// Where these rules hold, or this where none matches.
    fn judged(mut self, default: Action, rules: impl IntoIterator<Item = RuleSpec>) -> World {
        let rules = crate::policy::rules::by_hand::rules(default, rules);
        let rules = crate::policy::rules::by_hand::at(&rules, &[("fourth", 3)]);
        self.rules.policy = self.rules.policy.with_rules(Some(rules));
        self
    }

    fn routed(mut self, routes: RouteFn) -> World {
        self.rules.policy = self.rules.policy.with_routes(routes);
        self
    }

    fn answer(&self, command: Command) -> Input<'static> {
        match command {
            Command::Verify(credentials) => {
                let right = credentials.user == b"alice"
                    && credentials.password.as_ref().is_none_or(|password| **password == b"secret");
                Input::Verified(right.then(|| Identity::User("alice".into())))
            }
            Command::Establish(token) => Input::Established(gss::round(&token)),
            Command::Resolve(_) => Input::Resolved(self.addresses.clone()),
            Command::Tell(_) => Input::Admitted,
            Command::ResolvePtr(_) => Input::Named(self.named.clone()),
            Command::Dial(_) | Command::Through(_) => Input::Dialed(self.dialed),
            Command::Bind(_) => Input::Bound(self.bound),
            Command::Accept => Input::Accepted(self.accepted),
            Command::Associate(..) => Input::Associated(self.associated),
            other => panic!("{other:?} has no answer"),
        }
    }

    /// Plays a client that sends `chunks`.
    fn play<'a>(&self, chunks: impl IntoIterator<Item = &'a [u8]>, answers: Answers) -> Seen {
        let mut player = Player { session: Session::new(INCOMING), events: Vec::new(), asked: None };
        for chunk in chunks {
            match player.events.last() {
                Some(Close(_) | Event::Answered) => break,
                Some(Relay | Event::Exchange(_) | Event::Datagrams) => player.session.channel.receive(chunk),
                _ => player.give(Input::Bytes(chunk), self),
            }
            if answers == Answers::AtOnce {
                player.answer_all(self);
            }
        }
        player.answer_all(self);
        player.seen()
    }

    /// Plays a client that sends everything at once.
    fn whole(&self, bytes: &[u8]) -> Seen {
        self.play([bytes], Answers::AtOnce)
    }

    /// Plays `bytes` whole, in two parts at every boundary, and byte by byte, with answers at once and late:
    /// where the input was split must not show.
    fn every_split(&self, bytes: &[u8]) -> Seen {
        let whole = self.whole(bytes);
        for answers in [Answers::AtOnce, Answers::Late] {
            for at in 0..=bytes.len() {
                let (front, rest) = bytes.split_at(at);
                assert_eq!(self.play([front, rest], answers), whole, "split at {at}, answers {answers:?}");
            }
            assert_eq!(self.play(bytes.chunks(1), answers), whole, "byte by byte, answers {answers:?}");
        }
        whole
    }
}

#[derive(Debug)]
struct Player {
    session: Session,
    events: Vec<Event>,
    /// A question that was not answered yet.
    asked: Option<Command>,
}

impl Player {
    fn give(&mut self, input: Input<'_>, world: &World) {
        let Step { output, command } = self.session.handle(input, world.rules.lend());
        self.hear(output);
        let event = match &command {
            Command::Read => return,
            Command::Verify(login) => Event::Verify(
                login.user.clone(),
                login.password.as_ref().map_or(Vec::new(), |one| one.to_vec()),
            ),
            Command::Establish(token) => Event::Establish(token.clone()),
            Command::Resolve(name) => Event::Resolve(name.to_string()),
            Command::Through(allowed) => Event::Through(allowed.way),
            Command::Dial(addresses) => Dial(addresses.iter().map(|to| to.address).collect()),
            Command::Bind(peers) => Event::Bind(peers.clone()),
            Command::Accept => Event::Accept,
            Command::Associate(announced, ..) => Event::Associate(*announced),
            Command::Datagrams => Event::Datagrams,
            Command::Relay => Relay,
            Command::Exchange(forward) => Event::Exchange(forward.clone()),
            Command::Tell(one) => Event::Tell(one.address),
            Command::ResolvePtr(one) => Event::ResolvePtr(one.address),
            Command::Answered => Event::Answered,
            Command::Close(failure) => Close(failure.clone()),
        };
        if !matches!(event, Relay | Event::Exchange(_) | Event::Datagrams | Event::Answered | Close(_)) {
            assert!(self.asked.is_none(), "{event:?} before the answer to {:?}", self.asked);
            assert!(!self.session.wants_bytes(), "{event:?} and bytes are wanted at once");
            self.asked = Some(command);
        }
        self.events.push(event);
    }

    fn hear(&mut self, output: Output) {
        match self.events.last_mut() {
            _ if output.is_empty() => {}
            Some(Says(said)) => said.extend(output),
            _ => self.events.push(Says(output)),
        }
    }

    fn answer_all(&mut self, world: &World) {
        while let Some(command) = self.asked.take() {
            self.give(world.answer(command), world);
        }
    }

    fn seen(mut self) -> Seen {
        let closed = matches!(self.events.last(), Some(Close(_) | Event::Answered));
        Seen {
            pending: if closed {
                Vec::new()
            } else {
                let opened = self.session.pending().to_vec();
                let sealed = self.session.take_seal().map_or(Vec::new(), |(_, sealed)| sealed);
                [opened, sealed].concat()
            },
            facts: format!("{:?}", self.session.facts()),
            events: self.events,
        }
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn came(peer: &str) -> AcceptedPeer {
    AcceptedPeer { peer: socket(peer), decision: Decision::BY_DEFAULT }
}

fn addresses(texts: &[&str]) -> Answer {
    Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
}

fn name(text: &str) -> Name {
    match Host::parse(text.as_bytes()) {
        Ok(Host::Name(name)) => name,
        other => panic!("{text}: {other:?}"),
    }
}

fn says(bytes: &[u8]) -> Event {
    Says(bytes.to_vec())
}

fn dial(address: &str) -> Event {
    Dial(vec![socket(address)])
}

fn verify(user: &[u8], password: &[u8]) -> Event {
    Event::Verify(user.to_vec(), password.to_vec())
}

fn closed_by(error: ProtoError) -> Event {
    Close(Failure::Protocol(error))
}

// HAZARD 1.
#[test]
fn a_handshake_without_authentication_at_every_split() {
    let bytes = [b"\x05\x01\x00", CONNECT, b"GET / HTTP/1.1\r\n\r\n"].concat();
    let seen = World::open().every_split(&bytes);
    let expected = [says(b"\x05\x00"), dial("203.0.113.7:443"), says(SUCCEEDED), Relay];
    assert_eq!(seen.events, expected);
    assert_eq!(seen.pending, b"GET / HTTP/1.1\r\n\r\n");
}

// HAZARD 1.
#[test]
fn a_handshake_with_a_password_at_every_split() {
    let bytes = [b"\x05\x02\x00\x02\x01\x05alice\x06secret", CONNECT, b"\x05\x01\x00\x16\x03\x01"].concat();
    let seen = World::locked().every_split(&bytes);
    let expected = [
        says(b"\x05\x02"),
        verify(b"alice", b"secret"),
        says(b"\x01\x00"),
        dial("203.0.113.7:443"),
        says(SUCCEEDED),
        Relay,
    ];
    assert_eq!(seen.events, expected);
    assert_eq!(seen.pending, b"\x05\x01\x00\x16\x03\x01");
    assert!(seen.facts.contains(r#"identity: Some(User("alice")), claimed_user: None"#), "{}", seen.facts);
    assert!(!seen.facts.contains("secret"));
}

// HAZARD 1.
#[test]
fn a_named_target_at_every_split() {
    let bytes = b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x00\x50\x00\xffpayload";
    let seen = World::open().every_split(bytes);
    let expected = [
        says(b"\x05\x00"),
        Event::Resolve("example.com".into()),
        dial("203.0.113.7:80"),
        says(SUCCEEDED),
        Relay,
    ];
    assert_eq!(seen.events, expected);
    assert_eq!(seen.pending, b"\x00\xffpayload");
}

// HAZARD 1: all in one segment, 64 KiB of payload behind.
#[test]
fn a_large_payload_behind_the_request_is_kept_once_and_in_order() {
    let payload: Vec<u8> = (0..65_536u32).map(|at| (at % 251) as u8).collect();
    let bytes = [b"\x05\x01\x00", CONNECT, &payload].concat();
    for answers in [Answers::AtOnce, Answers::Late] {
        for size in [bytes.len(), 1024, 13] {
            let seen = World::open().play(bytes.chunks(size), answers);
            assert_eq!(seen.events.last(), Some(&Relay));
            assert!(seen.pending == payload, "chunks of {size}, answers {answers:?}");
        }
    }
}

#[test]
fn our_order_of_methods_decides_and_not_the_clients() {
    let both = [AuthMethod::Password, AuthMethod::None];
    assert_eq!(World::new(&both).every_split(b"\x05\x02\x00\x02").events, [says(b"\x05\x02")]);
    assert_eq!(World::new(&both).every_split(b"\x05\x01\x00").events, [says(b"\x05\x00")]);
    let turned = [AuthMethod::None, AuthMethod::Password];
    assert_eq!(World::new(&turned).every_split(b"\x05\x02\x02\x00").events, [says(b"\x05\x00")]);
}

// HAZARD 2.
#[test]
fn without_the_demanded_method_nothing_behind_the_greeting_is_parsed() {
    let bytes = [b"\x05\x01\x00", CONNECT].concat();
    let seen = World::locked().every_split(&bytes);
    assert_eq!(seen.events, [says(b"\x05\xff"), Close(Failure::NoMethod)]);
    assert!(seen.facts.contains("command: None, target: None, reply: None"), "{}", seen.facts);
}

// HAZARD 3.
#[test]
fn a_wrong_password_dials_nothing_whatever_is_pipelined_behind_it() {
    for login in [&b"\x01\x05alice\x06secreT"[..], b"\x01\x05alicf\x06secret", b"\x01\x01\xff\x01\x00"] {
        let bytes = [b"\x05\x01\x02", login, CONNECT, b"payload"].concat();
        let seen = World::locked().every_split(&bytes);
        let [greeting, Event::Verify(..), farewell, end] = &seen.events[..] else { panic!("{seen:?}") };
        assert_eq!(*greeting, says(b"\x05\x02"));
        assert_eq!(*farewell, says(b"\x01\x01"));
        assert_eq!(*end, Close(Failure::AuthFailed));
        assert!(seen.facts.contains("identity: None"), "{}", seen.facts);
        assert!(seen.facts.contains("command: None, target: None, reply: None"), "{}", seen.facts);
    }
}

// HAZARD 5.
#[test]
fn a_subnegotiation_that_is_none_fails_and_closes() {
    let cases: [(&[u8], ProtoError); 5] = [
        (b"\x00\x05alice\x06secret", ProtoError::UserpassVersion(0)),
        (b"\x02\x05alice\x06secret", ProtoError::UserpassVersion(2)),
        (CONNECT, ProtoError::UserpassVersion(5)),
        (b"\x01\x00\x06secret", ProtoError::EmptyUser),
        (b"\x01\x05alice\x00", ProtoError::EmptyPassword),
    ];
    for (login, error) in cases {
        let seen = World::locked().every_split(&[b"\x05\x01\x02", login, CONNECT].concat());
        assert_eq!(seen.events, [says(b"\x05\x02\x01\x01"), closed_by(error)]);
    }
}

// HAZARD 5.
#[test]
fn authentication_before_the_greeting_closes_without_a_word() {
    let seen = World::locked().every_split(b"\x01\x05alice\x06secret\x05\x01\x02");
    assert_eq!(seen.events, [closed_by(ProtoError::Version(1))]);
}

// HAZARD 6.
#[test]
fn method_lists_of_every_kind() {
    let mut all_but_none = vec![0x05, 0xff];
    all_but_none.extend(1..=255);
    let mut duplicates = vec![0x05, 0xff];
    duplicates.extend([0x80; 255]);
    for refused in [b"\x05\x00".to_vec(), b"\x05\x02\x01\x03".to_vec(), all_but_none, duplicates] {
        let seen = World::open().every_split(&[&refused[..], CONNECT].concat());
        assert_eq!(seen.events, [says(b"\x05\xff"), Close(Failure::NoMethod)]);
    }
    let mut last_of_255 = vec![0x05, 0xff];
    last_of_255.extend([0x01; 254]);
    last_of_255.push(0x00);
    for accepted in [b"\x05\x03\x00\x00\x00".to_vec(), last_of_255] {
        assert_eq!(World::open().every_split(&accepted).events, [says(b"\x05\x00")]);
    }
}

// HAZARD 6.
#[test]
fn http_gets_a_hint_where_it_is_not_spoken() {
    for request in ["GET http://a/ HTTP/1.1\r\n", "POST / HTTP/1.0\r\n", "HEAD / HTTP/1.0\r\n", "CONNECT a:1"]
    {
        let seen = World::open().speaking(&[Protocol::Socks5]).every_split(request.as_bytes());
        let [Says(hint), end] = &seen.events[..] else { panic!("{seen:?}") };
        assert!(hint.starts_with(b"HTTP/1.0 400 "), "{}", hint.escape_ascii());
        assert!(hint.windows(4).any(|end| end == b"\r\n\r\n"), "a whole response");
        assert_eq!(*end, closed_by(ProtoError::Http(request.as_bytes()[0])));
    }
}
