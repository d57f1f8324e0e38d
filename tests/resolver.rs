//! Name servers that lie, stutter or are dead (HAZARDS 19 and 20).

use std::net::IpAddr;
use std::time::Duration;

use crate::support::client::connect_name;
use crate::support::dns::{A, AAAA, CNAME, NOERROR, NXDOMAIN, Query, SERVFAIL, Send, labels, record};
use crate::support::origin::{V4, V6};
use crate::support::wait::{self, PATIENCE, timed};
use crate::support::{Client, DnsServer, Origin, Relay};

/// Answers A with a lie at once and with the truth a little later; AAAA with no data.
fn liar(lie: fn(&Query) -> Send) -> DnsServer {
    DnsServer::scripted(move |query| match query.qtype {
        A => vec![lie(query), query.addresses(&[V4], 60).after(Duration::from_millis(80))],
        _ => vec![query.addresses(&[], 60)],
    })
}

/// The lie points at 127.0.0.2, where nobody listens: to believe it is to be refused.
fn elsewhere(query: &Query) -> Send {
    query.addresses(&[IpAddr::from([127, 0, 0, 2])], 60)
}

fn truth_is_found(server: &DnsServer) {
    let (relay, origin) = (Relay::builder().dns(server).start(), Origin::echo());
    let mut client = Client::greeted(relay.addr());
    let reply = client.request_name(b"a.example", origin.addr.port());
    assert_eq!(reply.rep, 0x00);
    origin.peer(1);
    assert_eq!(origin.dialled(), [origin.addr]);
}

#[test]
fn an_answer_from_another_port_is_ignored() {
    truth_is_found(&liar(|query| elsewhere(query).misdirected()));
}

#[test]
fn an_answer_with_another_id_is_ignored() {
    truth_is_found(&liar(|query| elsewhere(query).with_id(query.id ^ 1)));
}

#[test]
fn an_answer_to_another_question_is_ignored() {
    truth_is_found(&liar(|query| {
        let mut other = query.clone();
        other.question = [&labels("b.example")[..], &[0, 1, 0, 1]].concat();
        elsewhere(&other)
    }));
}

#[test]
fn an_answer_for_another_owner_is_ignored() {
    truth_is_found(&liar(|query| {
        let foreign = record(&labels("b.example"), A, 60, &[127, 0, 0, 2]);
        query.respond(NOERROR, &[foreign]).with_id(query.id ^ 1)
    }));
}

#[test]
fn a_query_sent_back_is_ignored() {
    truth_is_found(&liar(|query| {
        let mut echo = elsewhere(query);
        echo.bytes[2] &= 0x7f; // no response at all
        echo
    }));
}

/// A record of a name that was not asked for is no answer, even in a response that matches.
#[test]
fn a_foreign_record_is_not_dialled() {
    let server = DnsServer::scripted(|query| {
        vec![query.respond(NOERROR, &[record(&labels("b.example"), A, 60, &[127, 0, 0, 1])])]
    });
    let (relay, origin) = (Relay::builder().dns(&server).timeout("dns", 1000).start(), Origin::echo());
    let reply = Client::greeted(relay.addr()).request_name(b"a.example", origin.addr.port());
    assert!(matches!(reply.rep, 0x04 | 0x06), "{reply:?}");
    assert_eq!(origin.accepted(), 0);
}

/// Loops of compression and of CNAMEs end the lookup, not the server.
#[test]
fn a_loop_in_an_answer_ends_the_lookup_alone() {
    let server = DnsServer::scripted(|query| {
        let owner = [0xc0, 0x0c];
        let answer = match query.name.as_str() {
            // An owner that points at itself: the answer section begins behind the question.
            "pointer.example" => {
                let at = u16::try_from(12 + query.question.len()).expect("short") | 0xc000;
                query.respond(NOERROR, &[record(&at.to_be_bytes(), A, 60, &[127, 0, 0, 1])])
            }
            "alias.example" => query.respond(NOERROR, &[record(&owner, CNAME, 60, &owner)]),
            "pair.example" => query.respond(
                NOERROR,
                &[
                    record(&owner, CNAME, 60, &labels("other.example")),
                    record(&labels("other.example"), CNAME, 60, &owner),
                ],
            ),
            "other.example" => query.respond(NOERROR, &[record(&owner, CNAME, 60, &labels("pair.example"))]),
            "garbage.example" => Send { bytes: vec![0xc0; 40], ..query.nxdomain() },
            "short.example" => {
                let mut cut = query.addresses(&[V4, V6], 60);
                cut.bytes.pop();
                cut
            }
            _ => query.addresses(&[V4], 60),
        };
        vec![answer]
    });
    let relay = Relay::builder().dns(&server).timeout("dns", 1000).start();
    let origin = Origin::echo();
    let names =
        [&b"pointer.example"[..], b"alias.example", b"pair.example", b"garbage.example", b"short.example"];
    let mut clients: Vec<Client> = names
        .iter()
        .map(|name| {
            let mut client = Client::greeted(relay.addr());
            client.send(&connect_name(name, origin.addr.port()));
            client
        })
        .collect();
    let (reply, lasted) =
        timed(|| Client::greeted(relay.addr()).request_name(b"good.example", origin.addr.port()));
    assert_eq!(reply.rep, 0x00);
    assert!(lasted < Duration::from_millis(900), "a good name waited {lasted:?}");
    for (client, name) in clients.iter_mut().zip(names) {
        let rep = client.reply().rep;
        assert!(matches!(rep, 0x04 | 0x06), "{rep:02x} for {}", String::from_utf8_lossy(name));
    }
    assert!(server.queries().len() < 60, "{} queries", server.queries().len());
    assert!(relay.cpu_seconds() < 0.5, "{} s of CPU", relay.cpu_seconds());
}

/// An alias is followed, within one answer.
#[test]
fn an_alias_is_followed() {
    truth_is_found(&DnsServer::scripted(|query| {
        let target = labels("www.example");
        let mut records = vec![record(&[0xc0, 0x0c], CNAME, 60, &target)];
        if query.qtype == A {
            records.push(record(&target, A, 60, &[127, 0, 0, 1]));
        }
        vec![query.respond(NOERROR, &records)]
    }));
}

/// Chains of that length are in use.
#[test]
fn a_chain_of_sixteen_aliases_is_followed() {
    truth_is_found(&DnsServer::scripted(|query| {
        let name = |n: usize| labels(&if n == 0 { query.name.clone() } else { format!("a{n}.example") });
        let mut records: Vec<_> = (0..16).map(|n| record(&name(n), CNAME, 60, &name(n + 1))).collect();
        if query.qtype == A {
            records.push(record(&name(16), A, 60, &[127, 0, 0, 1]));
        }
        vec![query.respond(NOERROR, &records)]
    }));
}

/// RFC 4074 section 4.2: a balancer says NXDOMAIN to AAAA, and A fails for a moment.
#[test]
fn a_moments_failure_beside_nxdomain_is_not_remembered() {
    let failures = std::sync::atomic::AtomicUsize::new(0);
    let server = DnsServer::scripted(move |query| match query.qtype {
        AAAA => vec![query.respond(NXDOMAIN, &[])],
        _ if failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 => {
            vec![query.respond(SERVFAIL, &[])]
        }
        _ => vec![query.addresses(&[V4], 60)],
    });
    let (relay, origin) = (Relay::builder().dns(&server).start(), Origin::echo());
    let ask = || Client::greeted(relay.addr()).request_name(b"lb.example", origin.addr.port()).rep;
    assert_eq!(ask(), 0x04);
    // The failure itself is remembered for a second.
    wait::until_true("the name is found", Duration::from_secs(4), || ask() == 0x00);
}

/// Servers, and what stands before them, that know no EDNS.
#[test]
fn a_server_without_edns_is_asked_without_it() {
    for code in [1, SERVFAIL, 4] {
        truth_is_found(&DnsServer::scripted(move |query| match query.edns {
            true => vec![query.respond(code, &[])],
            false => vec![query.addresses(&[V4], 60)],
        }));
    }
    truth_is_found(&DnsServer::scripted(|query| match query.edns {
        true => Vec::new(),
        false => vec![query.addresses(&[V4], 60)],
    }));
}

/// A truncated answer is asked for again over TCP.
#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let server = DnsServer::scripted(|query| {
        let whole = query.addresses(&[V4], 60);
        vec![if query.tcp { whole } else { whole.truncated(query) }]
    });
    truth_is_found(&server);
    assert!(server.queries().iter().any(|q| q.tcp && q.qtype == A), "{:?}", server.queries());
}

/// HAZARD 20: sessions that ask for one name share one query, and its answer afterwards.
#[test]
fn sessions_share_the_query_for_one_name() {
    let server =
        DnsServer::scripted(|query| vec![query.addresses(&[V4], 60).after(Duration::from_millis(200))]);
    let (relay, origin) = (Relay::builder().dns(&server).start(), Origin::echo());
    let mut clients: Vec<Client> = (0..50)
        .map(|_| {
            let mut client = Client::greeted(relay.addr());
            client.send(&connect_name(b"shared.example", origin.addr.port()));
            client
        })
        .collect();
    for client in &mut clients {
        assert_eq!(client.reply().rep, 0x00);
    }
    assert_eq!(Client::greeted(relay.addr()).request_name(b"shared.example", origin.addr.port()).rep, 0x00);
    assert_eq!(server.asked("shared.example", A), 1);
    assert!(server.asked("shared.example", AAAA) <= 1);
}

/// HAZARD 20: thousands of names at a dead resolver: all of them end in time, running relays never notice.
#[test]
fn a_dead_resolver_stalls_no_relay() {
    const NAMES: usize = 2000;
    crate::support::relay::raise_own_nofile();
    let server = DnsServer::dead();
    let relay = Relay::builder().dns(&server).timeout("dns", 2000).start();
    let origin = Origin::echo();
    let mut running = Client::through(relay.addr(), origin.addr);
    let before = relay.fds();
    let (mut clients, _) = timed(|| {
        (0..NAMES)
            .map(|n| {
                let mut client = Client::connect(relay.addr());
                let request = connect_name(format!("n{n}.example").as_bytes(), 80);
                client.send(&[&[0x05, 0x01, 0x00][..], &request].concat());
                client
            })
            .collect::<Vec<Client>>()
    });
    wait::until_true("the resolver is asked", PATIENCE, || !server.queries().is_empty());
    let mut worst = Duration::ZERO;
    let mut most_fds = 0;
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_millis(1500) {
        let ((), lasted) = timed(|| {
            running.send(b"ping");
            running.expect(b"ping");
        });
        worst = worst.max(lasted);
        most_fds = most_fds.max(relay.fds());
    }
    assert!(worst < Duration::from_millis(300), "a ping took {worst:?}");
    assert!(most_fds < before + NAMES + 2100, "{most_fds} descriptors for {NAMES} clients");
    let ((), lasted) = timed(|| {
        for client in &mut clients {
            client.expect(&[0x05, 0x00]);
            assert_eq!(client.reply().rep, 0x06);
        }
    });
    assert!(lasted < Duration::from_secs(4), "the last answer came after {lasted:?}");
}

/// Names that nobody answers are their client's own trouble: another client's name is answered as if it were alone.
#[test]
fn dead_names_hold_up_no_other_client() {
    crate::support::relay::raise_own_nofile();
    let server = DnsServer::scripted(|query| match query.name.ends_with(".dead") {
        true => Vec::new(),
        false => vec![query.addresses(&[V4], 60)],
    });
    let (relay, origin) = (Relay::builder().dns(&server).start(), Origin::echo());
    let _greedy: Vec<Client> = (0..900)
        .map(|n| {
            let mut client = Client::connect_from("127.0.9.9:0".parse().expect("an address"), relay.addr());
            let request = connect_name(format!("n{n}.dead").as_bytes(), 80);
            client.send(&[&[0x05, 0x01, 0x00][..], &request].concat());
            client
        })
        .collect();
    wait::until_true("half of the dead names are asked for", PATIENCE, || server.queries().len() >= 900);
    for n in 0..5 {
        let name = format!("good{n}.example");
        let (reply, lasted) =
            timed(|| Client::greeted(relay.addr()).request_name(name.as_bytes(), origin.addr.port()));
        assert_eq!(reply.rep, 0x00);
        // Behind the dead ones it would wait for their five seconds.
        assert!(lasted < Duration::from_secs(2), "a good name waited {lasted:?}");
    }
}

/// A session that waits for a name has no upstream yet: there are as many sockets for names as sessions.
#[test]
fn names_use_the_descriptors_that_their_sessions_leave_free() {
    let server = DnsServer::dead();
    let relay = Relay::builder().dns(&server).nofile("300").start();
    let _clients: Vec<Client> = (0..90)
        .map(|n| {
            let mut client = Client::connect_from("127.0.0.1:0".parse().expect("an address"), relay.addr());
            let request = connect_name(format!("n{n}.dead").as_bytes(), 80);
            client.send(&[&[0x05, 0x01, 0x00][..], &request].concat());
            client
        })
        .collect();
    // Of the descriptors that sessions do not pay for there are 14.
    wait::until_true("half of the names are asked for at once", PATIENCE, || {
        let now = server.queries();
        let first = now.first().map_or(0, |query| now.iter().filter(|q| q.name == query.name).count());
        let names: std::collections::HashSet<_> = now.iter().map(|query| &query.name).collect();
        assert!(first <= 2, "{} names in the first second", names.len());
        names.len() >= 45
    });
}
