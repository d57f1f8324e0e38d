//! Datagrams under protection: each is one message of RFC 1961 section 5, both ways, with the header of RFC 1928
//! section 7 inside it.

use std::net::{SocketAddr, UdpSocket};

use crate::gssapi_realm::realm;
use crate::gssapi_session::every_level;
use crate::support::gss::{AUTHENTICATION, ENCAPSULATED, GssClient, PROTECTION, frame};
use crate::support::origin::{V4, V6, pattern};
use crate::support::realm::Realm;
use crate::support::udp::{
    Target, V4_MAX, assert_same, expect_dropped, expect_empty, expect_released, receive, socket, unwrap,
    wrap, wrap_name, zeros,
};
use crate::support::{DnsServer, Relay};

const ASSOCIATE: u8 = 0x03;

/// A client's association under protection, and a target.
struct Stand {
    relay: Relay,
    client: GssClient,
    socket: UdpSocket,
    door: SocketAddr,
    target: Target,
}

impl Stand {
    fn new(realm: &Realm, level: u8) -> Self {
        Self::over(every_level(Relay::builder(), realm), realm, level)
    }

    fn over(relay: Relay, realm: &Realm, level: u8) -> Self {
        let mut client = GssClient::at_level(relay.addr(), realm, level);
        let reply = client.request(ASSOCIATE, zeros(V4));
        assert_eq!(reply.rep, 0, "UDP ASSOCIATE: {reply:?}");
        let socket = socket(SocketAddr::new(V4, 0));
        Self { relay, client, socket, door: reply.bound, target: Target::on(V4) }
    }

    /// Sends bytes as they are.
    fn send_raw(&self, bytes: &[u8]) {
        let sent = self.socket.send_to(bytes, self.door);
        assert_eq!(sent.unwrap_or_else(|e| panic!("{} bytes: {e}", bytes.len())), bytes.len());
    }

    /// A datagram for the target, as it goes over the wire.
    fn seal(&mut self, payload: &[u8]) -> Vec<u8> {
        let target = self.target.addr;
        self.client.seal(&wrap(target, payload))
    }

    /// One datagram up, which is the next to arrive.
    fn up(&mut self, payload: &[u8]) -> SocketAddr {
        let sealed = self.seal(payload);
        self.send_raw(&sealed);
        self.target.expect(payload)
    }

    /// One datagram down, which is the next to arrive.
    fn down(&mut self, external: SocketAddr, payload: &[u8]) {
        self.target.send(external, payload);
        let (bytes, from) = receive(&self.socket);
        assert_eq!(from, self.door, "the source of a reply");
        self.expect_sealed(&bytes, payload);
    }

    /// One datagram down. Whether the server wrapped the one that it dropped before is its own affair: if it did, our
    /// library hands nothing out for the next, and for those behind it again.
    fn down_behind_a_gap(&mut self, external: SocketAddr) {
        self.target.send(external, b"behind a gap");
        let (bytes, _) = receive(&self.socket);
        assert_eq!(bytes[..2], [0x01, ENCAPSULATED]);
        let opened = self.client.gss.unwrap(&bytes[4..]);
        assert!(opened.as_ref().map_or_else(|error| error.contains("TooEarly"), |_| true), "{opened:?}");
    }

    /// Insists that this is one message with a datagram of the target in it.
    fn expect_sealed(&mut self, bytes: &[u8], payload: &[u8]) {
        let body = if self.client.level == 0 {
            bytes.to_vec()
        } else {
            let length = u16::try_from(bytes.len() - 4).expect("a datagram").to_be_bytes();
            assert_eq!(
                bytes[..4],
                [0x01, ENCAPSULATED, length[0], length[1]],
                "one message, nothing behind it"
            );
            self.client.open(&bytes[4..])
        };
        let got = unwrap(&body);
        assert_eq!(got.from, self.target.addr, "who answered");
        assert_same(&got.payload, payload);
    }

    /// The association works, and nothing that was sent before arrives.
    fn fence(&mut self) {
        let external = self.up(b"fence up");
        self.down(external, b"fence down");
        expect_empty(&self.socket);
    }
}

protected!(
    datagrams_of_every_size_arrive_unchanged,
    what_a_seal_adds_is_counted_by_target,
    each_datagram_of_a_batch_is_a_message,
    lost_and_late_datagrams_leave_the_association_working,
    a_repeated_or_changed_datagram_is_dropped,
    the_association_ends_with_its_control_connection
);

/// `log.udp_targets`: content is counted, whatever it is sealed in.
fn what_a_seal_adds_is_counted_by_target(level: u8) {
    let realm = realm!();
    let relay = every_level(Relay::builder().set("log", "udp_targets", "true"), realm);
    let mut stand = Stand::over(relay, realm, level);
    let external = stand.up(b"to the target");
    stand.down(external, b"and back");
    let Stand { relay, client, target, .. } = stand;
    drop(client);
    let record = relay.records(2).remove(1);
    assert_eq!(record["address"], target.addr.to_string(), "{record}");
    let moved =
        ["datagrams_up", "bytes_up", "datagrams_down", "bytes_down"].map(|field| record[field].as_u64());
    assert_eq!(moved, [1, 13, 1, 8].map(Some), "{record}");
}

/// Payloads of every size class, up and down; the largest that a sealed datagram can hold among them.
fn datagrams_of_every_size_arrive_unchanged(level: u8) {
    let realm = realm!();
    let mut stand = Stand::new(realm, level);
    // Of the largest datagram 4 bytes are the frame's and 10 the header's within.
    let most = stand.client.gss.size_limit(level != 1, (V4_MAX - 4) as u32) as usize - 10;
    let mut bytes = 0;
    for length in [0, 1, 15, 16, 17, 512, 1400, 1500, 9000, 60_000, most] {
        let external = stand.up(&pattern(1, length));
        stand.down(external, &pattern(2, length));
        bytes += length;
    }
    // Too large once it is sealed: gone, and nothing else with it.
    let external = stand.up(b"again");
    stand.target.send(external, &pattern(3, V4_MAX));
    expect_dropped(&stand.relay, 1);
    stand.down_behind_a_gap(external);
    stand.fence();
    stand.client.client.finish();
    stand.client.client.expect_closed();
    let record = stand.relay.record();
    assert_eq!((&record["datagrams_up"], &record["datagrams_down"]), (&13.into(), &13.into()), "{record}");
    assert_eq!(
        (&record["bytes_up"], &record["bytes_down"]),
        (&(bytes + 13).into(), &(bytes + 22).into()),
        "{record}"
    );
    assert_eq!((&record["command"], &record["user"]), (&"udp_associate".into(), &"alice".into()), "{record}");
}

/// At level 0 datagrams are bare.
#[test]
fn datagrams_at_level_none_are_bare() {
    let realm = realm!();
    let mut stand = Stand::new(realm, 0);
    stand.fence();
    stand.send_raw(&frame(ENCAPSULATED, b"junk"));
    expect_dropped(&stand.relay, 1);
    stand.fence();
}

/// Many at once, each way, of one length and of many.
fn each_datagram_of_a_batch_is_a_message(level: u8) {
    let realm = realm!();
    let mut stand = Stand::new(realm, level);
    let external = stand.up(b"first");
    for size in [|_: u8| 700_usize, |n| 10 * usize::from(n)] {
        let payloads: Vec<Vec<u8>> = (0..60).map(|n| vec![n; size(n)]).collect();
        let sealed: Vec<Vec<u8>> = payloads.iter().map(|payload| stand.seal(payload)).collect();
        crate::support::udp::while_stopped(&stand.relay, || {
            sealed.iter().for_each(|bytes| stand.send_raw(bytes))
        });
        payloads.iter().for_each(|payload| assert_eq!(stand.target.expect(payload), external));
        crate::support::udp::while_stopped(&stand.relay, || {
            payloads.iter().for_each(|payload| stand.target.send(external, payload));
        });
        for payload in &payloads {
            let (bytes, _) = receive(&stand.socket);
            stand.expect_sealed(&bytes, payload);
        }
    }
    stand.fence();
}

/// Datagrams are lost and overtake each other: what comes, in whatever order, arrives.
fn lost_and_late_datagrams_leave_the_association_working(level: u8) {
    let realm = realm!();
    let mut stand = Stand::new(realm, level);
    stand.fence();
    stand.seal(b"lost");
    let external = stand.up(b"behind a lost one");
    let payloads: Vec<Vec<u8>> = (0..8).map(|n| vec![n; 50]).collect();
    let sealed: Vec<Vec<u8>> = payloads.iter().map(|payload| stand.seal(payload)).collect();
    for n in [3, 1, 7, 0, 2, 6, 5, 4] {
        stand.send_raw(&sealed[n]);
        assert_eq!(stand.target.expect(&payloads[n]), external);
    }
    expect_dropped(&stand.relay, 0);
    stand.fence();
}

/// What is not a message of the client's own, once, is dropped and counted; the association lives on.
fn a_repeated_or_changed_datagram_is_dropped(level: u8) {
    let realm = realm!();
    let mut stand = Stand::new(realm, level);
    stand.fence();
    let once = stand.seal(b"once");
    stand.send_raw(&once);
    stand.target.expect(b"once");
    let mut cases = vec![once.clone(), once];
    for at in [0, 1, 3, 4, 6, 20, 30] {
        let mut sealed = stand.seal(b"TAMPERED WITH");
        sealed[at] ^= 0x01;
        cases.push(sealed);
    }
    let sealed = stand.seal(b"CUT");
    cases.push(sealed[..sealed.len() - 1].to_vec());
    cases.push([&stand.seal(b"LONGER")[..], &[0]].concat());
    cases.push([stand.seal(b"TWO"), stand.seal(b"IN ONE")].concat());
    cases.push(wrap(stand.target.addr, b"PLAIN"));
    cases.push(frame(ENCAPSULATED, &wrap(stand.target.addr, b"PLAIN IN A FRAME")));
    cases.push(frame(ENCAPSULATED, b""));
    cases.push(vec![]);
    let token = stand.client.gss.wrap(&wrap(stand.target.addr, b"ANOTHER TYPE"), level != 1);
    cases.push(frame(AUTHENTICATION, &token));
    let token = stand.client.gss.wrap(&wrap(stand.target.addr, b"ANOTHER TYPE"), level != 1);
    cases.push(frame(PROTECTION, &token));
    // Whole and in its turn, but what is within is no datagram.
    cases.push(stand.client.seal(b""));
    cases.push(stand.client.seal(b"\x00\x01\x00\x01\x7f\x00\x00\x01\x00\x09RSV"));
    if level == 2 {
        let token = stand.client.gss.wrap(&wrap(stand.target.addr, b"READABLE"), false);
        cases.push(frame(ENCAPSULATED, &token));
    }
    cases.iter().for_each(|bytes| stand.send_raw(bytes));
    expect_dropped(&stand.relay, cases.len() as u64);
    stand.fence();
}

/// Nobody without the context can send through the association, nor learn what goes through it.
#[test]
fn nobody_without_the_context_reads_or_sends_datagrams() {
    let realm = realm!();
    let mut stand = Stand::new(realm, 2);
    let text = b"nobody else is to see this";
    let sealed = stand.seal(text);
    assert!(!sealed.windows(6).any(|window| text.windows(6).any(|piece| piece == window)));
    stand.send_raw(&sealed);
    let external = stand.target.expect(text);
    stand.target.send(external, text);
    let (bytes, _) = receive(&stand.socket);
    assert!(!bytes.windows(6).any(|window| text.windows(6).any(|piece| piece == window)));
    stand.expect_sealed(&bytes, text);
}

/// A name in the header, and a target of the other family.
#[test]
fn a_name_in_a_sealed_datagram_is_resolved() {
    let realm = realm!();
    let server = DnsServer::zone(&[("target.example", &["127.0.0.1"])]);
    let mut stand = Stand::over(every_level(Relay::builder().dns(&server), realm), realm, 2);
    let sealed = stand.client.seal(&wrap_name(b"target.example", stand.target.addr.port(), b"by name"));
    stand.send_raw(&sealed);
    let external = stand.target.expect(b"by name");
    stand.down(external, b"answer");
    stand.target = Target::on(V6);
    stand.fence();
}

fn the_association_ends_with_its_control_connection(level: u8) {
    let realm = realm!();
    let mut stand = Stand::new(realm, level);
    stand.fence();
    let Stand { relay, client, door, .. } = stand;
    drop(client.client);
    expect_released(&relay, &[door.port()]);
    assert_eq!(relay.record()["reason"], "completed");
}
