//! Relays behind TLS over real sockets, with the library's own client.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use rustls::{ClientConnection, SupportedProtocolVersion};

use super::*;
use crate::relay::tests::{connection, limited, reset, there};
use crate::relay::wire::Ends;
use crate::relay::{Budgets, Edge, Finish, Kit, Relay, Resume, Side};
use crate::sys::pipe::Pipe;
use crate::tls::tests::{Authority, Ends as TlsEnds, VERSIONS};

struct Session {
    relay: Relay,
    kit: Kit<Pipe>,
    ours: (Stream, Stream),
    client: TcpStream,
    tls: ClientConnection,
    target: TcpStream,
    finish: Option<Finish>,
}

/// Both ends of a handshake that is over.
fn established(version: &'static SupportedProtocolVersion) -> TlsEnds {
    let authority = Authority::new();
    TlsEnds::new(&authority.files(), authority.client_config(&[version], None)).settled()
}

impl Session {
    fn new(version: &'static SupportedProtocolVersion) -> Session {
        Session::begun(established(version), b"")
    }

    /// Of which these records of the client have come with its request.
    fn begun(TlsEnds { client: tls, server, .. }: TlsEnds, begun: &[u8]) -> Session {
        let mut kit = Kit::new(4);
        let relay = Relay::tls(b"", Box::new(server), begun.to_vec(), &mut kit);
        let (ours_to_client, client) = connection();
        let (ours_to_target, target) = connection();
        Session { relay, kit, ours: (ours_to_client, ours_to_target), client, tls, target, finish: None }
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

    /// What the client sends for this.
    fn sealed(&mut self, plain: &[u8]) -> Vec<u8> {
        self.tls.writer().write_all(plain).expect("memory");
        records(&mut self.tls)
    }

    fn client_sends(&mut self, plain: &[u8]) {
        let records = self.sealed(plain);
        self.client.write_all(&records).expect("the client sends");
    }

    /// What the target has by now.
    fn arrived(&mut self) -> Vec<u8> {
        self.drive();
        there(&mut self.target)
    }

    /// What the client has by now, and whether that is all there will be.
    fn heard(&mut self) -> Result<(Vec<u8>, bool), rustls::Error> {
        self.drive();
        let bytes = there(&mut self.client);
        let (mut bytes, mut content) = (&bytes[..], Vec::new());
        let mut ended = false;
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).expect("memory");
            ended = self.tls.process_new_packets()?.peer_has_closed();
            let _ = self.tls.reader().read_to_end(&mut content);
        }
        Ok((content, ended))
    }
}

fn records(tls: &mut ClientConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut records).expect("memory");
    }
    records
}

impl Drop for Session {
    fn drop(&mut self) {
        self.relay.release(&mut self.kit);
    }
}

#[test]
fn records_split_anywhere_arrive_once_and_whole() {
    for version in VERSIONS {
        let mut ends = established(version);
        let mut bytes = Vec::new();
        for plain in [&b"one "[..], b"two ", b"three"] {
            ends.client.writer().write_all(plain).expect("memory");
            bytes.extend(records(&mut ends.client));
        }
        for at in 0..=bytes.len() {
            // The state of a connection cannot be copied: each split has one of its own.
            let mut ends = established(version);
            let mut sent = Vec::new();
            for plain in [&b"one "[..], b"two ", b"three"] {
                ends.client.writer().write_all(plain).expect("memory");
                sent.extend(records(&mut ends.client));
            }
            let (front, rest) = sent.split_at(at);
            let with_request = at % 2 == 0;
            let mut session = Session::begun(ends, if with_request { front } else { b"" });
            if !with_request {
                session.client.write_all(front).expect("the client sends");
            }
            let mut arrived = session.arrived();
            session.client.write_all(rest).expect("the client sends");
            arrived.extend(session.arrived());
            assert_eq!(arrived, b"one two three", "split at {at}");
            let there = session.relay.bytes(Side::Client);
            assert_eq!((there, session.relay.pending_bytes(Side::Target)), (13, 0));
        }
    }
}

#[test]
fn an_end_in_order_goes_either_way_and_leaves_the_other_open() {
    for version in VERSIONS {
        for first in [Side::Client, Side::Target] {
            let mut session = Session::new(version);
            let client_ends = |session: &mut Session| {
                session.client_sends(b"the last of the client");
                session.tls.send_close_notify();
                let last = records(&mut session.tls);
                session.client.write_all(&last).expect("the client sends");
                assert_eq!(session.arrived(), b"the last of the client");
                // Behind the other end it goes with the close of the socket.
                if session.finish.is_none() {
                    session.target.set_nonblocking(false).expect("blocking");
                    assert_eq!(session.target.read(&mut [0; 8]).expect("FIN"), 0);
                }
            };
            let target_ends = |session: &mut Session| {
                session.target.write_all(b"the last of the target").expect("the target sends");
                session.target.shutdown(Shutdown::Write).expect("FIN");
                let heard = session.heard().expect("records");
                assert_eq!(heard, (b"the last of the target".to_vec(), true));
            };
            match first {
                Side::Client => client_ends(&mut session),
                Side::Target => target_ends(&mut session),
            }
            assert!(session.finish.is_none() && session.relay.half_closed());
            match first {
                Side::Client => target_ends(&mut session),
                Side::Target => client_ends(&mut session),
            }
            assert_eq!(session.finish, Some(Finish::Completed), "{first:?} first");
            assert_eq!(session.relay.engine().name(), "tls");
        }
    }
}

#[test]
fn a_fin_alone_is_no_end_wherever_it_stands() {
    for version in VERSIONS {
        for at in [0, 1, 5, 20, usize::MAX] {
            let mut session = Session::new(version);
            let bytes = session.sealed(b"a record");
            let at = at.min(bytes.len());
            session.client.write_all(&bytes[..at]).expect("the client sends");
            session.client.shutdown(Shutdown::Write).expect("FIN");
            session.drive();
            let whole = at == bytes.len();
            assert_eq!(there(&mut session.target), if whole { &b"a record"[..] } else { b"" });
            assert_eq!(session.finish, Some(Finish::Reset { failed: Side::Client }), "FIN behind {at}");
            assert!(session.relay.untranslated().is_none(), "nobody changed anything");
        }
    }
}

#[test]
fn what_comes_before_a_bad_record_arrives_and_the_client_is_told() {
    for version in VERSIONS {
        for together in [false, true] {
            let mut session = Session::new(version);
            let good = session.sealed(b"good");
            let mut bad = session.sealed(b"bad");
            *bad.last_mut().expect("a record") ^= 1;
            let lost = session.sealed(b"lost");
            let mut arrived = Vec::new();
            if together {
                session.client.write_all(&[good, bad, lost].concat()).expect("the client sends");
            } else {
                session.client.write_all(&good).expect("the client sends");
                arrived = session.arrived();
                session.client.write_all(&[bad, lost].concat()).expect("the client sends");
            }
            arrived.extend(session.arrived());
            assert_eq!(arrived, b"good");
            assert_eq!(session.finish, Some(Finish::Reset { failed: Side::Client }));
            assert!(session.relay.untranslated().is_some_and(|(_, told)| told));
            let alert = rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac);
            assert_eq!(session.heard(), Err(alert));
        }
    }
}

#[test]
fn a_slow_client_gets_all_of_it_in_order() {
    for version in VERSIONS {
        let mut session = Session::new(version);
        let bytes: Vec<u8> =
            (0..8 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut source = session.target.try_clone().expect("a descriptor");
        let sent = bytes.clone();
        let sender = std::thread::spawn(move || {
            source.write_all(&sent).expect("the target sends");
            source.shutdown(Shutdown::Write).expect("FIN");
        });
        while session.relay.pending_bytes(Side::Client) == 0 {
            session.drive();
        }
        let held = session.relay.bytes(Side::Target);
        assert!(held < bytes.len() as u64);
        let mut content = Vec::new();
        loop {
            let (part, ended) = session.heard().expect("records");
            content.extend(part);
            if ended {
                break;
            }
        }
        sender.join().expect("the target");
        assert!(content == bytes, "{} bytes of {}", content.len(), bytes.len());
        assert_eq!(session.relay.bytes(Side::Target), bytes.len() as u64);
    }
}

#[test]
fn bytes_that_a_reset_took_are_not_counted() {
    let mut session = Session::new(VERSIONS[1]);
    session.target.set_nonblocking(true).expect("non-blocking");
    while session.relay.pending_bytes(Side::Client) == 0 {
        let _ = session.target.write(&[7; 64 * 1024]);
        session.drive();
    }
    let before = session.relay.bytes(Side::Target);
    reset(std::mem::replace(&mut session.client, connection().1));
    session.relay.event(Side::Client, Edge { failed: true, ..Edge::default() });
    session.drive();
    assert_eq!(session.finish, Some(Finish::Reset { failed: Side::Client }));
    assert_eq!(session.relay.bytes(Side::Target), before);
}

#[test]
fn a_turn_opens_a_bounded_number_of_records_and_none_is_lost() {
    let mut session = Session::new(VERSIONS[1]);
    let count = 2 * limits::TLS_RECORDS_PER_TURN + 10;
    let bytes: Vec<u8> = (0..count).flat_map(|_| session.sealed(b"x")).collect();
    session.client.write_all(&bytes).expect("the client sends");
    session.relay.event(Side::Client, Edge { readable: true, ..Edge::default() });
    let mut turns = 1;
    while session.turn(Budgets::TURN) != Resume::OnEvent {
        turns += 1;
    }
    assert_eq!(turns, 3, "turns that left records or found the last");
    assert_eq!(there(&mut session.target), vec![b'x'; count]);
}

#[test]
fn a_budget_bounds_what_is_taken_either_way() {
    let mut session = Session::new(VERSIONS[1]);
    let (first, second) = (session.sealed(b"one"), session.sealed(b"two"));
    session.client.write_all(&[&first[..], &second].concat()).expect("the client sends");
    session.relay.event(Side::Client, Edge { readable: true, ..Edge::default() });
    for (at_ms, bytes, content) in [(700, first.len(), &b"one"[..]), (800, 0, b""), (900, 3, b"")] {
        assert_eq!(session.turn(limited(Side::Client, at_ms, bytes)), Resume::AtMs(at_ms));
        assert_eq!(there(&mut session.target), content);
    }
    assert_eq!(session.turn(Budgets::TURN), Resume::OnEvent);
    assert_eq!(there(&mut session.target), b"two");
    session.target.write_all(&[7; 1000]).expect("the target sends");
    session.relay.event(Side::Target, Edge { readable: true, ..Edge::default() });
    for (at_ms, bytes, count) in [(700, 300, 300), (800, 0, 0)] {
        assert_eq!(session.turn(limited(Side::Target, at_ms, bytes)), Resume::AtMs(at_ms));
        let mut records = &there(&mut session.client)[..];
        let mut content = Vec::new();
        while !records.is_empty() {
            session.tls.read_tls(&mut records).expect("memory");
            session.tls.process_new_packets().expect("records");
            let _ = session.tls.reader().read_to_end(&mut content);
        }
        assert_eq!((content.len(), session.relay.bytes(Side::Target)), (count, 300));
    }
    assert_eq!(session.heard().expect("records").0.len(), 700);
}

#[test]
fn where_memory_is_tight_the_longest_records_are_opened_one_by_one() {
    for version in VERSIONS {
        let mut ends = established(version);
        let content: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
        let (source, mut client) = connection();
        let (sink, _target) = connection();
        let mut wire = TlsWire::new(Box::new(ends.server), Vec::new());
        for part in content.chunks(50_000) {
            ends.client.writer().write_all(part).expect("memory");
            client.write_all(&records(&mut ends.client)).expect("the client sends");
        }
        let mut buffer = vec![0; limits::SCRATCH_TIGHT_BYTES];
        let (mut kit, mut arrived) = (SealKit::default(), Vec::<u8>::new());
        while arrived.len() < content.len() {
            let mut ends = Ends { source: &source, sink: &sink, last: false };
            let read = wire.open(&mut ends, &mut buffer, usize::MAX, &mut kit, &mut 512);
            let Read::Bytes(count) = read.read else { panic!("{read:?}") };
            arrived.extend(&buffer[..count]);
            assert!(wire.begun.len() <= 2 * limits::TLS_RECORD_BYTES_MAX, "{} bytes", wire.begun.len());
        }
        assert!(arrived == content);
        assert_eq!(
            (wire.begun.capacity(), wire.owed.capacity()),
            (0, 0),
            "it holds nothing while it is idle"
        );
    }
}
