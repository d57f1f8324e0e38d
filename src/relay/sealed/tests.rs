//! Sealed relays over real sockets, with a mechanism whose tokens can be written by hand.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};

use super::*;
use crate::config::ProtectionLevel;
use crate::proto::ProtoError;
use crate::relay::tests::{connection, limited, reset, there};
use crate::relay::wire::Ends;
use crate::relay::{Budgets, Edge, Finish, Kit, Relay, Resume, Side};
use crate::seal::MessageOrder;
use crate::seal::paper::{Paper, token};
use crate::sys::pipe::Pipe;
use crate::sys::stream::Stream;

struct Session {
    relay: Relay,
    kit: Kit<Pipe>,
    ours: (Stream, Stream),
    client: TcpStream,
    target: TcpStream,
    finish: Option<Finish>,
}

impl Session {
    fn new(begun: &[u8]) -> Session {
        let mut kit = Kit::new(4);
        let seal = Seal::new(Box::new(Paper::default()), ProtectionLevel::Confidentiality, true);
        let relay = Relay::sealed(b"", Box::new(seal.expect("a seal")), begun.to_vec(), &mut kit);
        let (ours_to_client, client) = connection();
        let (ours_to_target, target) = connection();
        Session { relay, kit, ours: (ours_to_client, ours_to_target), client, target, finish: None }
    }

    /// Every edge, as often as it takes.
    fn drive(&mut self) {
        for _ in 0..64 {
            for side in [Side::Client, Side::Target] {
                self.relay.event(side, Edge { readable: true, writable: true, ..Edge::default() });
            }
            let driven = self.relay.drive(&self.ours.0, &self.ours.1, &mut self.kit, &mut { Budgets::TURN });
            self.finish = self.finish.or(driven.finish);
        }
    }

    /// One turn of the relay; when the next one is due.
    fn turn(&mut self, mut budgets: Budgets) -> Resume {
        self.relay.drive(&self.ours.0, &self.ours.1, &mut self.kit, &mut budgets).resume()
    }

    /// What the target has by now.
    fn arrived(&mut self) -> Vec<u8> {
        self.drive();
        there(&mut self.target)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.relay.release(&mut self.kit);
    }
}

fn error_of(session: &Session) -> Option<String> {
    session.relay.untranslated().map(|(error, _)| error.to_string())
}

fn framed(token: &[u8]) -> Vec<u8> {
    [&[1, 3][..], &(token.len() as u16).to_be_bytes(), token].concat()
}

fn message(number: u8, plain: &[u8]) -> Vec<u8> {
    framed(&token(true, number, plain))
}

#[test]
fn a_message_split_anywhere_arrives_once_and_whole() {
    let bytes = [message(0, b"one "), message(1, b""), message(2, b"two "), message(3, b"three")].concat();
    for at in 0..=bytes.len() {
        for begun in [false, true] {
            let (front, rest) = bytes.split_at(at);
            let mut session = Session::new(if begun { front } else { b"" });
            if !begun {
                session.client.write_all(front).expect("the client sends");
            }
            let mut arrived = session.arrived();
            session.client.write_all(rest).expect("the client sends");
            arrived.extend(session.arrived());
            assert_eq!(arrived, b"one two three", "split at {at}");
        }
    }
}

#[test]
fn what_comes_before_a_bad_message_arrives_and_nothing_behind_it() {
    for (bad, error) in [
        (message(0, b"again"), SealError::Order(MessageOrder::Duplicate)),
        (message(2, b"later"), SealError::Order(MessageOrder::Gap)),
        (framed(&token(false, 1, b"open")), SealError::NotConfidential),
        (framed(b""), SealError::Library("defective token".to_owned())),
        (vec![1, 2, 0, 0], SealError::Frame(ProtoError::GssType(2))),
        (vec![5, 1], SealError::Frame(ProtoError::GssVersion(5))),
    ] {
        for together in [false, true] {
            let mut session = Session::new(b"");
            let good = message(0, b"good");
            let rest = [&bad[..], &message(1, b"lost")].concat();
            let mut arrived = Vec::new();
            if together {
                session.client.write_all(&[good, rest].concat()).expect("the client sends");
            } else {
                session.client.write_all(&good).expect("the client sends");
                arrived = session.arrived();
                session.client.write_all(&rest).expect("the client sends");
            }
            arrived.extend(session.arrived());
            assert_eq!(arrived, b"good", "{error}");
            assert_eq!(session.finish, Some(Finish::Reset { failed: Side::Client }), "{error}");
            assert_eq!(error_of(&session), Some(error.to_string()));
        }
    }
}

#[test]
fn an_end_between_messages_is_an_end_and_within_one_is_none() {
    let bytes = [message(0, b"one"), message(1, b"two")].concat();
    for at in 0..=bytes.len() {
        let mut session = Session::new(b"");
        session.client.write_all(&bytes[..at]).expect("the client sends");
        session.client.shutdown(Shutdown::Write).expect("FIN");
        session.drive();
        let whole = [0, message(0, b"one").len(), bytes.len()].contains(&at);
        let cut = Some(Finish::Reset { failed: Side::Client });
        assert_eq!(session.finish, if whole { None } else { cut }, "end behind {at}");
        assert_eq!(error_of(&session), (!whole).then(|| SealError::Truncated.to_string()));
    }
}

#[test]
fn the_other_direction_goes_on_behind_a_fin() {
    let mut session = Session::new(b"");
    session.client.write_all(&message(0, b"request")).expect("the client sends");
    session.client.shutdown(Shutdown::Write).expect("FIN");
    assert_eq!(session.arrived(), b"request");
    session.target.set_nonblocking(false).expect("blocking");
    session.target.write_all(b"answer").expect("the target answers");
    session.target.shutdown(Shutdown::Write).expect("FIN");
    session.drive();
    assert_eq!(session.finish, Some(Finish::Completed));
    assert_eq!(there(&mut session.client), message(0, b"answer"));
    assert_eq!((session.relay.bytes(Side::Client), session.relay.bytes(Side::Target)), (7, 6));
}

#[test]
fn more_than_a_message_holds_leaves_in_several() {
    let mut session = Session::new(b"");
    let sent: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
    session.target.write_all(&sent).expect("the target sends");
    session.drive();
    let received = there(&mut session.client);
    let (mut rest, mut plain, mut number) = (&received[..], Vec::new(), 0);
    while let [1, 3, high, low, behind @ ..] = rest {
        let (sealed, next) = behind.split_at(u16::from_be_bytes([*high, *low]).into());
        assert_eq!(sealed[..3], [b't', 1, number]);
        plain.extend(sealed[3..].iter().map(|byte| byte ^ 0x20));
        number += 1;
        rest = next;
    }
    assert_eq!(rest, b"");
    assert!(plain == sent, "{} of {} bytes, or others", plain.len(), sent.len());
    assert_eq!(session.relay.bytes(Side::Target), 200_000);
}

#[test]
fn tiny_messages_take_more_than_a_turn() {
    const MESSAGES: usize = 3 * limits::SEALED_MESSAGES_PER_TURN;
    for plain in [&b""[..], b"x"] {
        let mut session = Session::new(b"");
        let bytes: Vec<u8> = (0..MESSAGES).flat_map(|number| message(number as u8, plain)).collect();
        session.client.write_all(&bytes).expect("the client sends");
        session.relay.event(Side::Client, Edge { readable: true, ..Edge::default() });
        let mut turns = 0;
        loop {
            if session.turn(Budgets::TURN) == Resume::OnEvent {
                break;
            }
            turns += 1;
        }
        assert_eq!(turns, 3, "turns that left messages or found the last");
        assert_eq!(there(&mut session.target), plain.repeat(MESSAGES));
    }
}

#[test]
fn bytes_that_a_reset_took_are_not_counted() {
    for gone in [Side::Client, Side::Target] {
        let mut session = Session::new(b"");
        session.target.set_nonblocking(true).expect("non-blocking");
        while session.relay.pending_bytes(Side::Client) == 0 {
            let _ = session.target.write(&[7; 64 * 1024]);
            session.drive();
        }
        let before = session.relay.bytes(Side::Target);
        let socket = if gone == Side::Client { &mut session.client } else { &mut session.target };
        reset(std::mem::replace(socket, connection().1));
        session.relay.event(gone, Edge { failed: true, ..Edge::default() });
        session.drive();
        assert_eq!(session.finish, Some(Finish::Reset { failed: gone }));
        assert_eq!(session.relay.bytes(Side::Target), before, "{gone:?} was reset");
    }
}

#[test]
fn a_session_holds_a_message_at_most_where_memory_is_tight() {
    let ((source, mut client), (sink, _target)) = (connection(), connection());
    let bytes: Vec<u8> = (0..8).flat_map(|number| message(number, &[number; 30_000])).collect();
    client.write_all(&bytes).expect("the client sends");
    let seal = Seal::new(Box::new(Paper::default()), ProtectionLevel::Confidentiality, true);
    let mut sealed = Sealed::new(Box::new(seal.expect("a seal")), Vec::new());
    let mut buffer = vec![0; limits::SCRATCH_TIGHT_BYTES];
    let (mut kit, mut content) = (SealKit::default(), Vec::<u8>::new());
    while content.len() < 8 * 30_000 {
        let mut ends = Ends { source: &source, sink: &sink, last: false };
        let read = sealed.open(&mut ends, &mut buffer, usize::MAX, &mut kit, &mut 512);
        let Read::Bytes(count) = read.read else { panic!("{read:?}") };
        content.extend(&buffer[..count]);
        let held = sealed.begun.len() + sealed.rest().len();
        assert!(held <= MESSAGE_BYTES_MAX, "{held} bytes");
    }
    assert!(content.chunks(30_000).enumerate().all(|(number, part)| part == [number as u8; 30_000]));
}

#[test]
fn a_budget_bounds_what_is_taken_of_a_sealed_client() {
    let mut session = Session::new(b"");
    let (first, second) = ([message(0, b"one "), message(1, b"two ")].concat(), message(2, b"three"));
    session.client.write_all(&[&first[..], &second].concat()).expect("the client sends");
    session.relay.event(Side::Client, Edge { readable: true, ..Edge::default() });
    for (at_ms, bytes, content) in [(700, first.len(), &b"one two "[..]), (800, 0, b""), (900, 3, b"")] {
        assert_eq!(session.turn(limited(Side::Client, at_ms, bytes)), Resume::AtMs(at_ms));
        assert_eq!(there(&mut session.target), content);
    }
    assert_eq!(session.turn(Budgets::TURN), Resume::OnEvent);
    assert_eq!(there(&mut session.target), b"three");
}

#[test]
fn a_budget_bounds_what_is_sealed_of_a_target() {
    let mut session = Session::new(b"");
    session.target.write_all(&[7; 1000]).expect("the target sends");
    session.relay.event(Side::Target, Edge { readable: true, ..Edge::default() });
    for (at_ms, bytes, message) in [(700, 300, message(0, &[7; 300])), (800, 0, Vec::new())] {
        assert_eq!(session.turn(limited(Side::Target, at_ms, bytes)), Resume::AtMs(at_ms));
        assert_eq!(there(&mut session.client), message);
        assert_eq!(session.relay.bytes(Side::Target), 300);
    }
    assert_eq!(session.turn(Budgets::TURN), Resume::OnEvent);
    assert_eq!(there(&mut session.client), message(1, &[7; 700]));
}
