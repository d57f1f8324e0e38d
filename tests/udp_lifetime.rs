//! How long an association lives, and what it leaves (HAZARD 43): its end, silence, errors, records.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::request;
use crate::support::keyed::Keyed;
use crate::support::origin::{V4, V6};
use crate::support::udp::{
    Association, Sides, Stand, Target, drops, expect_drops, expect_empty, expect_released, fragment, hold,
    serving, socket, wrap, zeros,
};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Client, Relay, socket_table};

/// HAZARD 43: FIN, FIN with the client still reading, RST: the sockets of both sides are gone within a second.
fn the_sockets_close_with_the_control_connection(sides: Sides) {
    let relay = serving(Relay::builder(), sides.client);
    let targets = [Target::on(V4), Target::on(V6)];
    for way in 0..3 {
        let mut client = Association::open(relay.addr());
        let mut ports = vec![client.door.port()];
        for target in &targets {
            client.send(target.addr, b"used");
            ports.push(target.expect(b"used").port());
        }
        let held = socket_table::udp_of(relay.pid());
        assert!(ports.iter().all(|port| held.iter().any(|held| held.port() == *port)), "{ports:?}: {held:?}");
        match way {
            0 => drop(client.control),
            1 => {
                client.control.finish();
                client.control.expect_closed();
            }
            _ => client.control.reset(),
        }
        expect_released(&relay, &ports);
        assert_eq!(socket_table::udp_of(relay.pid()), []);
    }
    let records = relay.records(3);
    let reasons: Vec<&str> = records.iter().map(|r| r["reason"].as_str().expect("text")).collect();
    assert_eq!(reasons, ["completed", "completed", "client_reset"]);
}
families!(the_sockets_close_with_the_control_connection);

/// Nothing is kept of many that came and went, used and unused, by FIN and by RST.
#[test]
fn no_association_leaks() {
    let relay = Relay::builder().workers(2).start();
    let target = Target::on(V4);
    let settled = || {
        wait::until_true("no UDP socket is left", PATIENCE, || socket_table::udp_of(relay.pid()).is_empty());
    };
    let mut baseline = None;
    for round in 0..4 {
        let clients: Vec<Association> = (0..50).map(|_| Association::open(relay.addr())).collect();
        for (n, client) in clients.into_iter().enumerate() {
            if n % 3 > 0 {
                client.send(target.addr, b"used");
                target.expect(b"used");
            }
            if n % 2 == 0 {
                client.control.reset();
            }
        }
        relay.records(50 * (round + 1));
        settled();
        let fds = *baseline.get_or_insert_with(|| relay.fds());
        wait::until_true("as many descriptors as before", PATIENCE, || relay.fds() <= fds);
    }
}

/// The silence that is allowed in the tests below.
const IDLE: u64 = 1000;

fn expect_idle(mut stand: Stand, since: Instant) {
    stand.client.control.expect_closed();
    let took = since.elapsed();
    assert!((900..4500).contains(&took.as_millis()), "closed after {took:?} of silence");
    expect_released(&stand.relay, &[stand.client.door.port()]);
    assert_eq!(stand.relay.record()["reason"], "idle");
}

/// `timeouts.udp_idle`: from the first moment, and after use.
fn silence_ends_on_time(sides: Sides) {
    let silent = |used: bool| {
        let stand = Stand::over(Relay::builder().timeout("udp_idle", IDLE), sides);
        if used {
            stand.fence();
        }
        expect_idle(stand, Instant::now());
    };
    thread::scope(|scope| {
        scope.spawn(|| silent(true));
        silent(false);
    });
}
families!(silence_ends_on_time);

/// A datagram now and then in one direction, each within the limit, is no silence. The span between two is what
/// is tested: these sleeps are the case itself.
#[test]
fn a_trickle_is_not_idle() {
    let trickle = |way: fn(&Stand, SocketAddr)| {
        let stand = Stand::over(Relay::builder().timeout("udp_idle", IDLE), Sides::V4_TO_V4);
        let external = stand.fence();
        for _ in 0..7 {
            thread::sleep(Duration::from_millis(400));
            way(&stand, external);
        }
        expect_idle(stand, Instant::now());
    };
    thread::scope(|scope| {
        scope.spawn(|| trickle(|stand, external| assert_eq!(stand.up(b"up"), external)));
        trickle(|stand, external| stand.down(external, b"down"));
    });
}

/// A sequence of fragments that starts anew before its timer ends moves nothing.
#[test]
fn fragments_without_an_end_are_idle() {
    let stand = Stand::over(Relay::builder().timeout("udp_idle", IDLE), Sides::V4_TO_V4);
    stand.fence();
    let began = Instant::now();
    let fragments = [1, 2].map(|frag| fragment(frag, stand.target.addr, b"and no more"));
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..8 {
                fragments.iter().for_each(|bytes| stand.client.send_raw(bytes));
                thread::sleep(Duration::from_millis(300));
            }
        });
    });
    expect_idle(stand, began);
}

/// A fragment that waits for the next has a timer of its own, which is not that of the silence.
#[test]
fn a_fragment_does_not_put_off_the_end() {
    let stand = Stand::over(Relay::builder().timeout("udp_idle", IDLE), Sides::V4_TO_V4);
    stand.fence();
    stand.client.send_raw(&fragment(1, stand.target.addr, b"and no more"));
    expect_idle(stand, Instant::now());
}

/// Bytes on the control connection say nothing: not before, between or behind datagrams, few or many.
#[test]
fn bytes_on_the_control_connection_are_ignored() {
    let mut stand = Stand::new(Sides::V4_TO_V4);
    for bytes in [vec![0x00], request(0x03, zeros(V4)), vec![0x05, 0x01, 0x00], vec![0xaa; 1 << 20]] {
        stand.client.control.send(&bytes);
        stand.fence();
        stand.client.control.wait_until_read();
        stand.fence();
    }
    stand.client.control.expect_silence(Duration::from_millis(50));
    stand.client.control.finish();
    stand.client.control.expect_closed();
    let record = stand.relay.record();
    assert_eq!((&record["datagrams_up"], &record["bytes_up"]), (&8.into(), &(8 * 8).into()), "{record}");
}

/// Bytes on the control connection in a flood that never stops, some of it all at once.
#[test]
fn a_flood_on_the_control_connection_is_ignored() {
    let stand = Stand::new(Sides::V4_TO_V4);
    let control = &stand.client.control.stream;
    hold(&stand.relay);
    Keyed::new(1).send_what_fits(control, 64 << 20);
    stand.relay.signal("CONT");
    stand.fence();
    thread::scope(|scope| {
        scope.spawn(|| Keyed::new(2).send(control, 64 << 20));
        for _ in 0..100 {
            stand.fence();
        }
    });
    stand.fence();
    assert!(stand.relay.records_now().is_empty(), "{:?}", stand.relay.records_now());
}

/// A request with datagrams' worth of bytes behind it, in one segment.
#[test]
fn bytes_behind_the_request_are_ignored() {
    let relay = Relay::start();
    let mut control = Client::connect(relay.addr());
    control.send(&[&[0x05, 0x01, 0x00][..], &request(0x03, zeros(V4)), &[0x5a; 3000]].concat());
    control.expect(&[0x05, 0x00]);
    let reply = control.reply();
    assert_eq!(reply.rep, 0);
    let (own, target) = (socket(SocketAddr::new(V4, 0)), Target::on(V4));
    own.send_to(&wrap(target.addr, b"up"), reply.bound).expect("send");
    target.expect(b"up");
    control.wait_until_read();
}

/// A target's port without a socket answers with ICMP: other targets, and the same one later, are served.
fn a_closed_port_at_the_target_ends_nothing(sides: Sides) {
    let mut stand = Stand::new(sides);
    let gone = Target::on(sides.target).addr;
    for round in 0..5 {
        for _ in 0..4 {
            stand.client.send(gone, b"to nobody");
        }
        stand.up(b"to somebody");
        if round == 3 {
            stand.client.control.expect_silence(Duration::from_millis(50));
        }
        stand.fence();
    }
    let back = Target::at(gone);
    stand.client.send(gone, b"to one who is back");
    back.expect(b"to one who is back");
}
sides!(a_closed_port_at_the_target_ends_nothing);

/// A client's port without a socket for a while: what comes then is lost, and the association goes on.
fn a_closed_port_at_the_client_ends_nothing(sides: Sides) {
    let Stand { relay, mut client, target } = Stand::new(sides);
    client.send(target.addr, b"up");
    let external = target.expect(b"up");
    let local = client.local();
    for round in 0..5_u8 {
        // The other end of a socket that is elsewhere for a moment.
        client.socket = socket(SocketAddr::new(sides.client, 0));
        for _ in 0..4 {
            target.send(external, b"to nobody");
        }
        // A second association's datagram behind them: the relay has dealt with what came before.
        let other = Association::open(relay.addr());
        other.send(target.addr, b"fence");
        target.expect(b"fence");
        client.socket = socket(local);
        client.send(target.addr, &[round]);
        target.expect(&[round]);
        // One that was under way may come yet; nothing else may.
        target.send(external, &[round]);
        let answer = std::iter::repeat_with(|| client.receive()).find(|d| d.payload != b"to nobody");
        assert_eq!(answer.expect("endless").payload, [round]);
    }
    client.control.expect_silence(Duration::from_millis(50));
}
sides!(a_closed_port_at_the_client_ends_nothing);

/// Every field of the record: payload bytes and datagrams that were passed on, and no others.
fn every_field_of_the_record_is_right(sides: Sides) {
    let Stand { relay, client, target } = Stand::new(sides);
    let name = client.control.local();
    let (mut up, mut down) = (0, 0);
    let mut external = None;
    for length in [0, 1, 9, 100, 1472, 9000] {
        client.send(target.addr, &vec![0x5a; length]);
        external = Some(target.expect(&vec![0x5a; length]));
        up += length;
    }
    for length in [0, 3, 1200] {
        target.send(external.expect("six were sent"), &vec![0xa5; length]);
        client.expect(target.addr, &vec![0xa5; length]);
        down += length;
    }
    client.send_raw(b"\x00\x00\x00\x09");
    client.send_raw(&wrap(SocketAddr::new(sides.target, 0), b"port 0"));
    client.send(target.addr, b"");
    target.expect(b"");
    drop(client);
    let record = relay.record();
    for (field, wanted) in [
        ("client", name.to_string().into()),
        ("worker", 0.into()),
        ("method", "none".into()),
        ("command", "udp_associate".into()),
        ("reply", 0.into()),
        ("reason", "completed".into()),
        ("engine", "datagram".into()),
        ("bytes_up", up.into()),
        ("bytes_down", down.into()),
        ("datagrams_up", 7.into()),
        ("datagrams_down", 3.into()),
    ] {
        let wanted: serde_json::Value = wanted;
        assert_eq!(record[field], wanted, "{field} in {record}");
    }
    assert!(record["duration_ms"].is_u64(), "{record}");
}
sides!(every_field_of_the_record_is_right);

/// HAZARD 41: the drain gives an association its time and no more; until then it works.
#[test]
fn the_drain_gives_an_association_its_time() {
    let builder = Relay::builder().timeout("drain", 60_000);
    let Stand { mut relay, mut client, target } = Stand::over(builder, Sides::V4_TO_V4);
    client.send(target.addr, b"before");
    target.expect(b"before");
    relay.signal("TERM");
    wait::until_true("the listener is closed", PATIENCE, || {
        std::net::TcpStream::connect(relay.addr()).is_err()
    });
    client.send(target.addr, b"during");
    let external = target.expect(b"during");
    target.send(external, b"answer");
    client.expect(target.addr, b"answer");
    // The second one ends the drain.
    relay.signal("TERM");
    client.control.expect_closed();
    assert_eq!(relay.wait_exit(PATIENCE), Some(1));
    assert_eq!(relay.relayed_record()["reason"], "drained");
}

/// A drain with an association that ends by itself waits for nobody else.
#[test]
fn the_drain_ends_with_the_last_association() {
    let Stand { mut relay, client, target } = Stand::new(Sides::V4_TO_V4);
    client.send(target.addr, b"before");
    target.expect(b"before");
    relay.signal("TERM");
    wait::until_true("the listener is closed", PATIENCE, || {
        std::net::TcpStream::connect(relay.addr()).is_err()
    });
    drop(client);
    assert_eq!(relay.wait_exit(PATIENCE), Some(0));
    assert_eq!(relay.relayed_record()["reason"], "completed");
}

/// A client that is not first yet cannot be answered, and one that never sends costs one socket.
#[test]
fn an_unused_association_opens_no_port_towards_targets() {
    let relay = Relay::start();
    let client = Association::open(relay.addr());
    assert_eq!(socket_table::udp_of(relay.pid()), [client.door]);
    let target = Target::on(V4);
    client.send(target.addr, b"first");
    let external = target.expect(b"first");
    let held = socket_table::udp_of(relay.pid());
    assert_eq!(held.len(), 2, "one port a family: {held:?}");
    assert!(held.iter().any(|held| held.port() == external.port()), "{external}: {held:?}");
    expect_drops(&relay, &[]);
    expect_empty(&client.socket);
}

/// The time of the handshake is over: what was agreed on lives on.
#[test]
fn the_handshake_timer_leaves_an_association_alone() {
    let stand = Stand::over(Relay::builder().timeout("handshake", 1000), Sides::V4_TO_V4);
    // The span is the case itself.
    thread::sleep(Duration::from_millis(1500));
    stand.fence();
}

/// HAZARD 36: without a descriptor there is no association, 01, and no port towards targets: what needs one is
/// dropped, what has one goes on, and all is well once there are descriptors again.
#[test]
fn a_missing_descriptor_costs_what_needs_one_alone() {
    let relay = Relay::builder().nofile("256").start();
    let (unused, used) = (Association::open(relay.addr()), Association::open(relay.addr()));
    let (four, six) = (Target::on(V4), Target::on(V6));
    used.send(four.addr, b"before");
    let external = four.expect(b"before");
    let mut control = Client::greeted(relay.addr());
    forbid_descriptors(&relay);
    control.send(&request(0x03, zeros(V4)));
    control.expect_refusal(0x01);
    drop(control);
    wait::until_true("the refused one is gone", PATIENCE, || relay.records_now().len() == 1);
    forbid_descriptors(&relay);
    for _ in 0..3 {
        unused.send(four.addr, b"no port");
        used.send(six.addr, b"no port");
        used.send(four.addr, b"during");
        assert_eq!(four.expect(b"during"), external);
    }
    wait::until_true("what had no port is counted", PATIENCE, || drops(&relay).values().sum::<u64>() == 6);
    relay.set_nofile("256:256");
    for (client, target) in [(&unused, &four), (&used, &six)] {
        client.send(target.addr, b"after");
        let external = target.expect(b"after");
        target.send(external, b"answer");
        client.expect(target.addr, b"answer");
    }
}

/// Lowers the limit to the lowest number that is free.
fn forbid_descriptors(relay: &Relay) {
    let taken: Vec<u32> = std::fs::read_dir(format!("/proc/{}/fd", relay.pid()))
        .expect("list the descriptors")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let free = (0..).find(|number| !taken.contains(number)).expect("a number");
    relay.set_nofile(&format!("{free}:256"));
}
