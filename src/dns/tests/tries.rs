//! Retries, other servers, TCP and EDNS.

use super::*;

const TC: u16 = 0x0200;
const FORMERR: u16 = 1;
const REFUSED: u16 = 5;

fn only_v4(servers: usize) -> World {
    World::with(servers, |settings| settings.prefer = Prefer::Ipv4Only)
}

#[test]
fn a_silent_server_is_asked_again_and_the_last_try_has_the_rest_of_the_time() {
    let mut world = World::new(1);
    let (first, _) = world.ask("a.example");
    world.pass(SECOND - MS);
    assert!(world.sent.is_empty());
    world.pass(MS);
    let (second, _) = world.pair();
    assert_ne!(first.exchange, second.exchange, "a fresh port");
    world.pass(2 * SECOND);
    let (a, aaaa) = world.pair();
    world.pass(2 * SECOND - MS);
    world.answer(&a, &[address("192.0.2.1", 60)]);
    world.answer(&aaaa, &[]);
    assert_eq!(world.result(), found(&["192.0.2.1"]));
}

#[test]
fn servers_are_asked_in_order_and_a_silent_one_rests() {
    let mut world = World::new(3);
    let (a, _) = world.ask("a.example");
    assert_eq!(a.server, SocketAddr::from(([192, 0, 2, 1], 53)));
    world.pass(SECOND);
    let (a, aaaa) = world.pair();
    assert_eq!(a.server, SocketAddr::from(([192, 0, 2, 2], 53)));
    world.answer(&a, &[address("192.0.2.1", 60)]);
    world.answer(&aaaa, &[]);
    world.result().unwrap();
    let (a, _) = world.ask("b.example");
    assert_eq!(a.server, SocketAddr::from(([192, 0, 2, 2], 53)), "the first one rests");
}

#[test]
fn an_unreachable_or_refusing_server_costs_no_time() {
    let mut world = only_v4(3);
    world.lookup("a.example").unwrap();
    let first = world.one();
    world.failed(&first);
    let second = world.one();
    world.give(&second, &second.reply(REFUSED, &[], &[]));
    let third = world.one();
    assert_eq!(third.server, SocketAddr::from(([192, 0, 2, 3], 53)));
    world.answer(&third, &[address("192.0.2.9", 60)]);
    assert_eq!(world.result(), found(&["192.0.2.9"]));
    assert_eq!(world.now, world.start);
    assert!(world.open.is_empty());
}

#[test]
fn all_servers_unreachable_is_a_failure_at_once() {
    let mut world = World::new(2);
    let (a, _) = world.ask("a.example");
    world.failed(&a);
    let (a, _) = world.pair();
    world.failed(&a);
    assert_eq!(world.result(), Err(DnsError::ServerFailure));
    assert!(world.open.is_empty());
}

#[test]
fn a_lost_family_is_asked_again_alone_while_the_other_is_there() {
    let mut world = World::new(2);
    let (_, aaaa) = world.ask("a.example");
    world.answer(&aaaa, &[address("2001:db8::1", 60)]);
    world.pass(SECOND);
    let again = world.one();
    assert_eq!(again.kind(), A);
    world.answer(&again, &[address("192.0.2.1", 60)]);
    assert_eq!(world.result(), found(&["2001:db8::1", "192.0.2.1"]));
    let (a, _) = world.ask("b.example");
    assert_eq!(a.server, SocketAddr::from(([192, 0, 2, 1], 53)), "it answered one: it is not dead");
}

/// HAZARDS 19: TC is the same question by TCP, and the answer comes in any pieces.
#[test]
fn a_truncated_answer_moves_to_tcp_in_any_pieces() {
    for size in [1, 2, 3, 7, 1000, 100_000] {
        let mut world = only_v4(1);
        world.lookup("big.example").unwrap();
        let udp = world.one();
        // The flag counts although the records that the header promises are not there.
        let mut truncated = udp.reply(TC, &[], &[]);
        truncated[7] = 40;
        world.give(&udp, &truncated);
        let tcp = world.one();
        assert_eq!((tcp.transport, tcp.server), (Transport::Tcp, udp.server));
        assert_eq!((tcp.name(), tcp.kind()), (udp.name(), A));
        assert_eq!(world.open.len(), 1, "the UDP socket is closed");
        let many: Vec<_> =
            (0..1200).map(|n| address(&format!("192.0.{}.{}", n / 250, n % 250), 60)).collect();
        let mut stray = tcp.reply(0, &many[..1], &[]);
        stray[0] ^= 1;
        let mut stream = Vec::new();
        for message in [&stray, &tcp.reply(0, &many, &[])] {
            stream.extend((message.len() as u16).to_be_bytes());
            stream.extend_from_slice(message);
        }
        stream.extend(b"and what nobody asked for");
        for piece in stream.chunks(size) {
            world.bytes(&tcp, piece);
        }
        assert_eq!(world.result().unwrap().len(), crate::limits::DNS_ADDRESSES);
        assert!(world.open.is_empty());
    }
}

#[test]
fn both_families_truncated_use_a_connection_each() {
    let mut world = World::new(1);
    let (a, aaaa) = world.ask("big.example");
    world.give(&a, &a.reply(TC, &[], &[]));
    world.give(&aaaa, &aaaa.reply(TC, &[], &[]));
    let (a, aaaa) = world.pair();
    assert_ne!(a.exchange, aaaa.exchange);
    assert_eq!(world.open.len(), 2);
    world.answer(&aaaa, &[address("2001:db8::1", 60)]);
    world.answer(&a, &[address("192.0.2.1", 60)]);
    assert_eq!(world.result(), found(&["2001:db8::1", "192.0.2.1"]));
}

#[test]
fn a_connection_that_ends_early_moves_on_without_blaming_the_server() {
    let mut world = only_v4(2);
    world.lookup("big.example").unwrap();
    let udp = world.one();
    world.give(&udp, &udp.reply(TC, &[], &[]));
    let tcp = world.one();
    world.bytes(&tcp, &[1]);
    world.failed(&tcp);
    let next = world.one();
    assert_eq!((next.transport, next.server), (Transport::Udp, SocketAddr::from(([192, 0, 2, 2], 53))));
    world.answer(&next, &[address("192.0.2.1", 60)]);
    world.result().unwrap();
    world.lookup("b.example").unwrap();
    assert_eq!(world.one().server, udp.server);
}

/// A response with BADVERS (RFC 6891 section 9): its upper bits stand in an OPT record.
fn badvers(query: &Sent) -> Vec<u8> {
    let mut reply = query.reply(0, &[], &[]);
    reply[11] = 1;
    reply.extend([0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0]);
    reply
}

#[test]
fn what_older_servers_say_to_edns_is_asked_again_without_it_once() {
    for (code, bare) in [(1, false), (1, true), (2, false), (4, false), (4, true), (16, false)] {
        let mut world = only_v4(1);
        world.lookup("old.example").unwrap();
        let first = world.one();
        assert!(first.has_edns());
        let refuse = |query: &Sent| {
            let mut reply = if code == 16 { badvers(query) } else { query.reply(code, &[], &[]) };
            if bare {
                // Some servers repeat nothing of a message that they could not read.
                reply.truncate(12);
                reply[5] = 0;
            }
            reply
        };
        world.give(&first, &refuse(&first));
        let second = world.one();
        assert!(!second.has_edns() && second.server == first.server, "{code}");
        world.give(&second, &refuse(&second));
        assert_eq!(world.result(), Err(DnsError::ServerFailure), "{code}");
    }
}

#[test]
fn a_server_that_drops_edns_is_asked_without_it_next() {
    for servers in [1, 2] {
        let mut world = World::new(servers);
        world.ask("a.example");
        for _ in 1..servers {
            world.pass(SECOND);
            assert!(world.pair().0.has_edns(), "the next server");
        }
        world.pass(SECOND);
        let (a, aaaa) = world.pair();
        assert!(!a.has_edns() && !aaaa.has_edns());
        world.answer(&a, &[address("192.0.2.1", 0)]);
        world.answer(&aaaa, &[]);
        assert_eq!(world.result(), found(&["192.0.2.1"]));
    }
}

#[test]
fn that_a_server_takes_no_edns_is_remembered_for_a_while() {
    let mut world = only_v4(1);
    world.lookup("a.example").unwrap();
    let query = world.one();
    world.give(&query, &query.reply(FORMERR, &[], &[]));
    let query = world.one();
    world.answer(&query, &[address("192.0.2.1", 0)]);
    world.lookup("b.example").unwrap();
    let query = world.one();
    assert!(!query.has_edns());
    world.answer(&query, &[address("192.0.2.1", 0)]);
    world.pass(crate::limits::DNS_PLAIN);
    world.lookup("c.example").unwrap();
    let query = world.one();
    assert!(query.has_edns(), "it may have been replaced");
    world.answer(&query, &[address("192.0.2.1", 0)]);
    world.lookup("d.example").unwrap();
    assert!(world.one().has_edns());
}

/// A failure that EDNS had no part in says nothing of the server.
#[test]
fn a_name_that_fails_both_ways_leaves_edns_on() {
    let mut world = only_v4(1);
    world.lookup("bogus.example").unwrap();
    let query = world.one();
    world.fail_for_good(&query, 2);
    world.lookup("b.example").unwrap();
    assert!(world.one().has_edns());
}

/// Something on the way cut it, and did not say so.
#[test]
fn an_answer_that_is_cut_without_tc_is_asked_for_again_by_tcp() {
    let mut world = only_v4(1);
    world.lookup("a.example").unwrap();
    let udp = world.one();
    let whole = udp.reply(0, &[address("192.0.2.1", 60), address("192.0.2.2", 60)], &[]);
    world.give(&udp, &whole[..whole.len() - 7]);
    let tcp = world.one();
    assert_eq!((tcp.transport, tcp.server), (Transport::Tcp, udp.server));
    world.give(&tcp, &tcp.reply(0, &[address("192.0.2.1", 60), address("192.0.2.2", 60)], &[]));
    assert_eq!(world.result(), found(&["192.0.2.1", "192.0.2.2"]));
    world.lookup("b.example").unwrap();
    let udp = world.one();
    let empty = udp.reply(0, &[], &[soa(60, 60)]);
    world.give(&udp, &empty[..empty.len() - 1]);
    let tcp = world.one();
    let cut = tcp.reply(0, &[address("192.0.2.1", 60)], &[]);
    world.give(&tcp, &cut[..cut.len() - 1]);
    assert_eq!(world.result(), Err(DnsError::ServerFailure), "a server that cuts its streams");
}

#[test]
fn a_flood_of_guesses_moves_the_question_to_tcp() {
    let mut world = World::new(1);
    let (a, _) = world.ask("a.example");
    for guess in 0..1000u16 {
        let mut forged = a.reply(0, &[address("192.0.2.66", 60)], &[]);
        let id = u16::from_be_bytes([a.query[0], a.query[1]]).wrapping_add(guess + 1000);
        forged[..2].copy_from_slice(&id.to_be_bytes());
        world.give(&a, &forged);
    }
    let (a, aaaa) = world.pair();
    assert_eq!((a.transport, a.exchange), (Transport::Tcp, aaaa.exchange));
    world.answer(&a, &[address("192.0.2.1", 60)]);
    world.answer(&aaaa, &[]);
    assert_eq!(world.result(), found(&["192.0.2.1"]));
}

#[test]
fn ids_do_not_repeat_in_a_pattern() {
    let mut world = World::new(1);
    let mut ids = std::collections::HashSet::new();
    for n in 0..100 {
        let (a, aaaa) = world.ask(&format!("n{n}.example"));
        ids.insert([a.query[0], a.query[1]]);
        ids.insert([aaaa.query[0], aaaa.query[1]]);
    }
    assert!(ids.len() > 190, "{}", ids.len());
}

/// What waits for servers that are not to be asked any more waits for the others; what those said is forgotten.
#[test]
fn other_servers_take_over_what_is_under_way() {
    let mut world = only_v4(1);
    world.lookup("known.example").unwrap();
    let query = world.one();
    world.answer(&query, &[address("192.0.2.1", 600)]);
    let ticket = world.lookup("a.example").unwrap();
    let old = world.one();
    let mut settings = world.settings.clone();
    settings.servers = vec![SocketAddr::from(([198, 51, 100, 53], 53)); 3];
    world.configure(settings.clone());
    let new = world.one();
    assert_eq!((new.server, new.name()), (settings.servers[0], old.name()));
    world.answer(&old, &[address("192.0.2.66", 60)]);
    world.answers.retain(|(waiting, _)| *waiting == ticket);
    assert!(world.answers.is_empty(), "it is not listened to any more");
    world.answer(&new, &[address("192.0.2.1", 60)]);
    assert_eq!(world.answers, [(ticket, found(&["192.0.2.1"]))]);
    assert!(world.lookup("known.example").is_ok(), "asked again");
    let query = world.one();
    world.answer(&query, &[address("192.0.2.1", 600)]);
    settings.hosts = Hosts::parse("192.0.2.9 listed.example");
    world.configure(settings);
    assert_eq!(world.lookup("known.example"), Err(found(&["192.0.2.1"])), "the servers are the same");
    assert_eq!(world.lookup("listed.example"), Err(found(&["192.0.2.9"])));
    assert!(world.resolver.is_idle());
}
