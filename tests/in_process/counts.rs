//! What is counted of requests: each once, by its last reply, and why it was refused.

use std::net::UdpSocket;

use outflow::observe::{
    AskedFor, DenialCause, DialFailure, METRICS, NameAnswer, Queue, Recall, Remembered, Replied,
};

use super::*;

/// Greeting and this request, and the code of the reply, if there is one.
fn ask(server: &Server, request: &[u8]) -> Option<u8> {
    let mut stream = dial(server);
    stream.write_all(&[b"\x05\x01\x00", request].concat()).expect("a request");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).ok().map(|()| answer[3])
}

/// A request of this command for a port of 127.0.0.1.
fn request(command: u8, port: u16) -> Vec<u8> {
    [&[5, command, 0, 1, 127, 0, 0, 1][..], &port.to_be_bytes()].concat()
}

/// A port at which nobody listens.
fn closed_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port()
}

fn count(server: &Server, what: Counted) -> u64 {
    server.totals().count_of(what)
}

/// The requests that were counted, in all.
fn requests(server: &Server) -> u64 {
    let all = [AskedFor::ALL, &[]].concat();
    let of = |asked| Replied::ALL.iter().map(move |reply| Counted::Request(asked, *reply));
    all.into_iter().flat_map(of).map(|what| count(server, what)).sum()
}

#[test]
fn a_request_is_counted_once_by_what_was_asked_and_answered() {
    let server = start(config(1, RelayMode::Auto));
    let target = echo();
    assert!(echoes(&mut connect(&server, target)));
    assert_eq!(ask(&server, &request(1, closed_port())), Some(5));
    assert_eq!(ask(&server, &request(9, 1)), Some(7));
    assert_eq!(ask(&server, b"\x05\x01\x00\x07\x01"), Some(8));
    assert_eq!(ask(&server, &request(3, 0)), Some(0));
    // A listener that its client leaves was told of once, and has no second reply.
    assert_eq!(ask(&server, &request(2, 0)), Some(0));
    // Half a request is none.
    drop(dial(&server));
    dial(&server).write_all(b"\x05\x01\x00\x05\x01").expect("half a request");
    await_that("all are over", || count(&server, Counted::Accepted) == 8 && server.totals().active() == 0);
    for (what, times) in [
        (Counted::Request(AskedFor::Connect, Replied::Succeeded), 1),
        (Counted::Request(AskedFor::Connect, Replied::ConnectionRefused), 1),
        (Counted::Request(AskedFor::Unknown, Replied::CommandNotSupported), 1),
        (Counted::Request(AskedFor::Unknown, Replied::AddressTypeNotSupported), 1),
        (Counted::Request(AskedFor::UdpAssociate, Replied::Succeeded), 1),
        (Counted::Request(AskedFor::Bind, Replied::Succeeded), 1),
        (Counted::DialBegun, 2),
        (Counted::DialFailed(DialFailure::Refused), 1),
    ] {
        assert_eq!(count(&server, what), times, "{what:?}");
    }
    assert_eq!(requests(&server), 6);
    stop(server);
}

#[test]
fn what_is_denied_is_counted_by_why() {
    let mut closed = config(1, RelayMode::Auto);
    closed.guard.allow_private = false;
    let server = start(closed);
    assert_eq!(ask(&server, &request(1, 1)), Some(2));
    await_that("it is over", || server.totals().active() == 0);
    assert_eq!(count(&server, Counted::Denied(DenialCause::SpecialPurpose)), 1);
    assert_eq!(count(&server, Counted::Request(AskedFor::Connect, Replied::NotAllowed)), 1);
    stop(server);

    let server = start(config(1, RelayMode::Auto));
    assert_eq!(ask(&server, &request(1, server.addresses()[0].port())), Some(2));
    await_that("it is over", || server.totals().active() == 0);
    assert_eq!(count(&server, Counted::Denied(DenialCause::OwnListener)), 1);
    assert_eq!(count(&server, Counted::DialBegun), 0, "nobody was asked");
    stop(server);
}

#[test]
fn names_are_counted_by_what_came_of_them_and_by_whether_they_were_remembered() {
    let mut nobody = config(1, RelayMode::Auto);
    nobody.dns.hosts = false;
    nobody.dns.servers = vec!["127.0.0.1:9".parse().expect("an address")];
    nobody.timeouts.dns = Duration::from_millis(300);
    let server = start(nobody);
    let reply = ask(&server, b"\x05\x01\x00\x03\x0cname.example\x00\x50");
    assert!(matches!(reply, Some(4 | 6)), "{reply:?}");
    await_that("it is over", || server.totals().active() == 0);
    let failed = [NameAnswer::Timeout, NameAnswer::ServerFailure];
    assert_eq!(failed.map(|answer| count(&server, Counted::Name(answer))).iter().sum::<u64>(), 1);
    let asked = [Recall::Hit, Recall::Miss]
        .map(|recall| count(&server, Counted::Recalled(Remembered::Names, recall)));
    assert_eq!(asked, [0, 1]);
    await_that("none is asked for any more", || count(&server, Counted::QueueUsed(Queue::Names)) == 0);
    stop(server);
}

/// What a worker had in use when it panicked nobody has any more, whether or not another name is asked for.
#[test]
fn what_a_panic_ended_is_not_shown_as_in_use() {
    let mute = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let mut silent = config(1, RelayMode::Auto);
    silent.dns.hosts = false;
    silent.dns.servers = vec![mute.local_addr().expect("an address").into()];
    let server = start(silent);
    let mut client = dial(&server);
    client.write_all(b"\x05\x01\x00\x05\x01\x00\x03\x0cname.example\x00\x50").expect("a request");
    let names = || count(&server, Counted::QueueUsed(Queue::Names));
    await_that("a name is asked for", || names() == 1);
    server.drill(0, Drill::Panic);
    await_that("nothing is in use", || names() == 0);
    stop(server);
}

/// A panic of a worker costs sessions; what was counted stays, and nothing that only grows gets less.
#[test]
fn nothing_that_only_grows_gets_less_when_a_worker_panics() {
    let server = start(config(1, RelayMode::Auto));
    let target = echo();
    let mut client = connect(&server, target);
    assert!(echoes(&mut client));
    let totals = |server: &Server| server.totals().all_fields();
    let before = totals(&server);
    server.drill(0, Drill::Panic);
    await_that("its sessions are gone", || !echoes(&mut client));
    assert!(echoes(&mut connect(&server, target)));
    let after = totals(&server);
    let gauges = ["active", "udp_associations", "pipes_", "queue_", "connections_max"];
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        let gauge = gauges.iter().any(|gauge| name.starts_with(gauge));
        assert!(gauge || after >= before, "{name}: {before}, then {after}");
    }
    assert_eq!(count(&server, Counted::WorkerPanic), 1);
    assert!(METRICS.len() > 30 && count(&server, Counted::ConnectionsMax) > 0);
    stop(server);
}
