//! What is asked, what is believed, what is answered and cached (HAZARDS 18 and 19).

use super::*;

const NXDOMAIN: u16 = 3;
const SERVFAIL: u16 = 2;

#[test]
fn the_query_on_the_wire() {
    let mut world = World::new(1);
    let (a, aaaa) = world.ask("a.example");
    assert_eq!((a.exchange, a.transport), (aaaa.exchange, Transport::Udp), "one socket for both");
    assert_ne!(a.query[..2], aaaa.query[..2], "each its own ID");
    assert_eq!(
        a.query[2..],
        [
            1, 0, 0, 1, 0, 0, 0, 0, 0, 1, // RD; one question, one additional record
            1, b'a', 7, b'e', b'x', b'a', b'm', b'p', b'l', b'e', 0, 0, 1, 0, 1, // a.example A IN
            0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0, // OPT, 1232 octets, version 0, no options
        ]
    );
    assert_eq!(aaaa.kind(), AAAA);
}

#[test]
fn both_families_answer_and_the_cache_keeps_them_for_the_shorter_time() {
    let mut world = World::new(1);
    let (a, aaaa) = world.ask("a.example");
    world.answer(&a, &[address("192.0.2.1", 60), address("192.0.2.2", 60)]);
    assert!(world.answers.is_empty(), "AAAA has its 50 ms");
    world.answer(&aaaa, &[address("2001:db8::1", 30)]);
    let both = found(&["2001:db8::1", "192.0.2.1", "192.0.2.2"]);
    assert_eq!(world.result(), both);
    assert!(world.open.is_empty());
    world.pass(30 * SECOND - MS);
    assert_eq!(world.lookup("a.example"), Err(both));
    world.pass(MS);
    assert!(world.lookup("a.example").is_ok(), "asked again");
}

/// What a server says of a question shows that it is there, be it that it has failed; what is no answer shows nothing.
#[test]
fn what_servers_answer_is_counted() {
    let mut world = World::new(1);
    let (a, aaaa) = world.ask("a.example");
    assert_eq!(world.resolver.take_server_answers(), 0);
    world.answer(&a, &[address("192.0.2.1", 60)]);
    let mut forged = aaaa.reply(0, &[], &[]);
    forged[0] ^= 0xff;
    world.give(&aaaa, &forged);
    assert_eq!(world.resolver.take_server_answers(), 1);
    world.fail_for_good(&aaaa, SERVFAIL);
    assert!(world.resolver.take_server_answers() >= 1);
    assert_eq!(world.resolver.take_server_answers(), 0);
}

#[test]
fn a_late_aaaa_is_waited_for_50_ms_and_still_reaches_the_cache() {
    let mut world = World::new(1);
    let (a, aaaa) = world.ask("a.example");
    world.answer(&a, &[address("192.0.2.1", 60)]);
    world.pass(49 * MS);
    assert!(world.answers.is_empty());
    world.pass(MS);
    assert_eq!(world.result(), found(&["192.0.2.1"]));
    assert_eq!(world.lookup("a.example"), Err(found(&["192.0.2.1"])));
    world.answer(&aaaa, &[address("2001:db8::1", 60)]);
    assert!(world.answers.is_empty() && world.open.is_empty());
    assert_eq!(world.lookup("a.example"), Err(found(&["2001:db8::1", "192.0.2.1"])));
}

#[test]
fn an_aaaa_that_comes_first_waits_for_the_a() {
    let mut world = World::new(1);
    let (a, aaaa) = world.ask("a.example");
    world.answer(&aaaa, &[address("2001:db8::1", 60)]);
    world.pass(500 * MS);
    assert!(world.answers.is_empty());
    world.answer(&a, &[address("192.0.2.1", 60)]);
    assert_eq!(world.result(), found(&["2001:db8::1", "192.0.2.1"]));
}

#[test]
fn one_family_alone_is_an_answer() {
    let mut world = World::new(1);
    let (a, aaaa) = world.ask("six.example");
    world.give(&a, &a.reply(0, &[], &[soa(60, 60)]));
    world.answer(&aaaa, &[address("2001:db8::1", 60)]);
    assert_eq!(world.result(), found(&["2001:db8::1"]));
    let (_, aaaa) = world.ask("deaf.example");
    world.answer(&aaaa, &[address("2001:db8::2", 60)]);
    world.pass(5 * SECOND);
    assert_eq!(world.result(), found(&["2001:db8::2"]), "A never came: what there is, by the deadline");
}

#[test]
fn only_the_wanted_family_is_asked() {
    for (prefer, kind) in [(Prefer::Ipv4Only, A), (Prefer::Ipv6Only, AAAA)] {
        let mut world = World::with(1, |settings| settings.prefer = prefer);
        world.lookup("a.example").unwrap();
        let only = world.one();
        assert_eq!(only.kind(), kind);
        world.give(&only, &only.reply(0, &[], &[]));
        assert_eq!(world.result(), Err(DnsError::NoAddress));
    }
}

/// HAZARDS 18: with TTL 0 each lookup sees what the server says then, and what it saw is what it gets.
#[test]
fn ttl_zero_and_alternating_answers_are_for_those_who_wait_alone() {
    let mut world = World::with(1, |settings| settings.prefer = Prefer::Ipv4Only);
    for round in 0..6 {
        let text = if round % 2 == 0 { "192.0.2.1" } else { "127.0.0.1" };
        world.lookup("rebind.example").unwrap();
        world.lookup("rebind.example").unwrap();
        let query = world.one();
        world.answer(&query, &[address(text, 0)]);
        let answers = std::mem::take(&mut world.answers);
        assert_eq!(
            answers.iter().map(|(_, answer)| answer.clone()).collect::<Vec<_>>(),
            vec![found(&[text]); 2]
        );
    }
}

#[test]
fn ttl_zero_is_not_handed_to_a_lookup_that_comes_while_aaaa_lingers() {
    let mut world = World::new(1);
    let (a, _) = world.ask("rebind.example");
    world.answer(&a, &[address("192.0.2.1", 0)]);
    world.pass(50 * MS);
    assert_eq!(world.result(), found(&["192.0.2.1"]));
    let (a, aaaa) = world.ask("rebind.example");
    assert_eq!(world.open.len(), 1, "the old exchange is closed");
    world.answer(&a, &[address("192.0.2.2", 0)]);
    world.answer(&aaaa, &[]);
    assert_eq!(world.result(), found(&["192.0.2.2"]));
}

#[test]
fn a_ttl_is_bounded_and_a_negative_one_is_zero() {
    for (ttl, kept) in [(i32::MAX as u32, 86_400), (u32::MAX, 0)] {
        let mut world = World::with(1, |settings| settings.prefer = Prefer::Ipv4Only);
        world.lookup("a.example").unwrap();
        let query = world.one();
        world.answer(&query, &[address("192.0.2.1", ttl)]);
        world.result().unwrap();
        if kept > 0 {
            world.pass(kept * SECOND - MS);
            assert!(world.lookup("a.example").is_err(), "still cached");
        }
        world.pass(MS);
        assert!(world.lookup("a.example").is_ok());
    }
}

#[test]
fn negative_answers_are_cached_as_the_soa_says() {
    for (flags, error) in [(NXDOMAIN, DnsError::NotFound), (0, DnsError::NoAddress)] {
        for (authority, kept) in
            [(vec![soa(60, 20)], 20), (vec![soa(20, 60)], 20), (vec![soa(9999, 9999)], 900), (vec![], 5)]
        {
            let mut world = World::new(1);
            let (a, aaaa) = world.ask("none.example");
            world.give(&a, &a.reply(flags, &[], &authority));
            world.give(&aaaa, &aaaa.reply(flags, &[], &authority));
            assert_eq!(world.result(), Err(error.clone()));
            world.pass(kept * SECOND - MS);
            assert_eq!(world.lookup("none.example"), Err(Err(error.clone())));
            world.pass(MS);
            assert!(world.lookup("none.example").is_ok());
        }
    }
}

#[test]
fn nxdomain_for_aaaa_alone_does_not_hide_the_a() {
    let mut world = World::new(1);
    let (a, aaaa) = world.ask("a.example");
    world.give(&aaaa, &aaaa.reply(NXDOMAIN, &[], &[]));
    world.answer(&a, &[address("192.0.2.1", 60)]);
    assert_eq!(world.result(), found(&["192.0.2.1"]));
}

#[test]
fn a_servers_failure_is_cached_for_a_second() {
    let mut world = World::new(1);
    let (a, aaaa) = world.ask("a.example");
    world.fail_for_good(&a, SERVFAIL);
    world.fail_for_good(&aaaa, SERVFAIL);
    assert_eq!(world.result(), Err(DnsError::ServerFailure));
    assert_eq!(world.lookup("a.example"), Err(Err(DnsError::ServerFailure)));
    world.pass(SECOND);
    assert!(world.lookup("a.example").is_ok());
}

/// HAZARDS 19.
#[test]
fn what_does_not_answer_the_question_is_ignored() {
    let mut world = World::with(1, |settings| settings.prefer = Prefer::Ipv4Only);
    world.lookup("a.example").unwrap();
    let query = world.one();
    let good = query.reply(0, &[address("192.0.2.1", 60)], &[]);
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let strays = [
        ("another ID", changed(0, good[0] ^ 1)),
        ("a query", changed(2, good[2] & 0x7f)),
        ("opcode STATUS", changed(2, good[2] | 0x10)),
        ("no question", changed(5, 0)),
        ("two questions", changed(5, 2)),
        ("another name", changed(13, b'b')),
        ("another type", changed(24, AAAA as u8)),
        ("another class", changed(26, 3)),
        ("a compression loop in the question", [&good[..12], &[0xc0, 12, 0, 1, 0, 1]].concat()),
        ("nothing", Vec::new()),
        ("one octet", good[..1].to_vec()),
        ("half a header", good[..7].to_vec()),
        ("half a question", good[..20].to_vec()),
    ];
    for (what, stray) in strays {
        world.give(&query, &stray);
        assert!(world.answers.is_empty(), "{what}");
        assert!(world.sent.is_empty() && world.open.len() == 1, "{what}: the exchange goes on");
    }
    let other = Sent { exchange: ExchangeId(99), ..query.clone() };
    world.give(&other, &good);
    assert!(world.answers.is_empty());
    world.give(&query, &changed(13, b'A'));
    assert_eq!(world.result(), found(&["192.0.2.1"]), "case does not matter");
    world.give(&query, &good);
    assert!(world.answers.is_empty(), "a second copy comes too late");
}

/// HAZARDS 19: what fits the question and cannot be read is the server's failure, and never a hang.
#[test]
fn damaged_records_and_alias_loops_are_failures() {
    let looped = record(&[0xc0, 27], A, 60, &[192, 0, 2, 1]);
    let short = record(&QNAME, A, 60, &[192, 0, 2]);
    let circle = [cname("a.example", "b.example", 60), cname("b.example", "a.example", 60)].concat();
    let myself = cname("a.example", "a.example", 60);
    for (what, records) in [("loop", looped), ("short", short), ("circle", circle), ("myself", myself)] {
        let mut world = World::with(1, |settings| settings.prefer = Prefer::Ipv4Only);
        world.lookup("a.example").unwrap();
        let query = world.one();
        let mut reply = query.reply(0, &[records], &[]);
        reply[7] = if what == "circle" { 2 } else { 1 };
        world.give(&query, &reply);
        assert_eq!(world.result(), Err(DnsError::ServerFailure), "{what}");
    }
}

/// What is not needed for the answer may be anything.
#[test]
fn damage_elsewhere_does_not_discard_a_good_answer() {
    let good = address("192.0.2.1", 60);
    let looped = record(&[0xc0, 41], A, 60, &[192, 0, 2, 66]);
    let odd = record(&QNAME, 16, 60, &[200, 1]);
    let foreign = record(&wire("ns.example"), AAAA, 60, &[1, 2, 3]);
    let short_soa = record(&wire("example"), 6, 60, &[0, 0, 1]);
    for (what, answers, authorities, cut) in [
        ("an owner that points at itself", vec![looped, good.clone()], vec![], 0),
        ("text that cannot be", vec![odd, good.clone()], vec![], 0),
        ("another name's address", vec![good.clone(), foreign], vec![], 0),
        ("authorities", vec![good.clone()], vec![short_soa.clone()], 0),
        ("authorities that are cut", vec![good.clone()], vec![short_soa.clone()], 5),
        ("authorities that are not there", vec![good], vec![short_soa.clone()], short_soa.len()),
    ] {
        let mut world = World::with(1, |settings| settings.prefer = Prefer::Ipv4Only);
        world.lookup("a.example").unwrap();
        let query = world.one();
        let mut reply = query.reply(0, &answers, &authorities);
        reply.truncate(reply.len() - cut);
        world.give(&query, &reply);
        assert_eq!(world.result(), found(&["192.0.2.1"]), "{what}");
    }
    // "No such name" stands in the header.
    let mut world = World::with(1, |settings| settings.prefer = Prefer::Ipv4Only);
    world.lookup("a.example").unwrap();
    let query = world.one();
    world.give(&query, &query.reply(NXDOMAIN, &[], &[short_soa]));
    assert_eq!(world.result(), Err(DnsError::NotFound));
}

/// RFC 4074 section 4.2: NXDOMAIN for AAAA may be a server's mistake.
#[test]
fn a_failure_beside_nxdomain_is_a_failure() {
    for nxdomain_first in [false, true] {
        let mut world = World::new(1);
        let (a, aaaa) = world.ask("lb.example");
        let denied = aaaa.reply(NXDOMAIN, &[], &[soa(900, 900)]);
        if nxdomain_first {
            world.give(&aaaa, &denied);
        }
        world.fail_for_good(&a, SERVFAIL);
        if !nxdomain_first {
            world.give(&aaaa, &denied);
        }
        assert_eq!(world.result(), Err(DnsError::ServerFailure));
        world.pass(SECOND);
        let (a, aaaa) = world.ask("lb.example");
        world.answer(&a, &[address("192.0.2.1", 60)]);
        world.give(&aaaa, &aaaa.reply(NXDOMAIN, &[], &[]));
        assert_eq!(world.result(), found(&["192.0.2.1"]));
    }
    let mut world = World::new(1);
    let (_, aaaa) = world.ask("lb.example");
    world.give(&aaaa, &aaaa.reply(NXDOMAIN, &[], &[soa(900, 900)]));
    world.pass(5 * SECOND);
    assert_eq!(world.result(), Err(DnsError::Timeout), "A never came");
}

#[test]
fn one_family_is_used_while_the_other_fails_and_asked_for_again_soon() {
    for (fails, kept) in [(AAAA, 30), (A, 1)] {
        let mut world = World::new(1);
        let (a, aaaa) = world.ask("a.example");
        let (good, bad, text) = if fails == A { (aaaa, a, "2001:db8::1") } else { (a, aaaa, "192.0.2.1") };
        world.answer(&good, &[address(text, 600)]);
        world.fail_for_good(&bad, SERVFAIL);
        assert_eq!(world.result(), found(&[text]));
        world.pass(kept * SECOND - MS);
        assert_eq!(world.lookup("a.example"), Err(found(&[text])));
        world.pass(MS);
        assert!(world.lookup("a.example").is_ok());
    }
}

/// Without A there is no name, but while AAAA may still say otherwise that is not kept for long.
#[test]
fn nxdomain_for_a_is_kept_once_aaaa_has_come() {
    let mut world = World::new(1);
    let (a, aaaa) = world.ask("none.example");
    world.give(&a, &a.reply(NXDOMAIN, &[], &[soa(900, 900)]));
    world.pass(50 * MS);
    assert_eq!(world.result(), Err(DnsError::NotFound));
    world.give(&aaaa, &aaaa.reply(NXDOMAIN, &[], &[soa(900, 900)]));
    world.pass(800 * SECOND);
    assert_eq!(world.lookup("none.example"), Err(Err(DnsError::NotFound)));
    let mut world = World::new(1);
    let (a, _) = world.ask("none.example");
    world.give(&a, &a.reply(NXDOMAIN, &[], &[soa(900, 900)]));
    world.pass(1050 * MS);
    assert!(world.lookup("none.example").is_ok());
}

#[test]
fn aliases_are_followed_within_the_message() {
    let ask = |answers: &[Vec<u8>]| {
        let mut world = World::with(1, |settings| settings.prefer = Prefer::Ipv4Only);
        world.lookup("a.example").unwrap();
        let query = world.one();
        world.answer(&query, answers);
        let answer = world.result();
        world.pass(20 * SECOND);
        (answer, world.lookup("a.example").is_err())
    };
    let at = |owner: &str, last: u8, ttl| record(&wire(owner), A, ttl, &[192, 0, 2, last]);
    let off_chain = at("evil.example", 66, 60);
    let chain = [
        at("c.example", 3, 60),
        cname("B.example", "c.EXAMPLE", 60),
        cname("a.example", "b.example", 60),
        off_chain,
    ];
    assert_eq!(ask(&chain), (found(&["192.0.2.3"]), true), "in any order, without strangers");
    let brief = [cname("a.example", "b.example", 10), at("b.example", 2, 60)];
    assert_eq!(ask(&brief), (found(&["192.0.2.2"]), false), "the shortest time counts");
    let open_end = [cname("a.example", "b.example", 60), at("c.example", 3, 60)];
    assert_eq!(ask(&open_end).0, Err(DnsError::NoAddress));
    let long = |links: usize| {
        let name = |n: usize| if n == 0 { "a.example".to_string() } else { format!("l{n}.example") };
        let mut answers: Vec<_> = (0..links).map(|n| cname(&name(n), &name(n + 1), 60)).collect();
        answers.push(at(&name(links), 9, 60));
        ask(&answers).0
    };
    assert_eq!(long(16), found(&["192.0.2.9"]));
    assert_eq!(long(17), Err(DnsError::ServerFailure));
}

#[test]
fn addresses_are_distinct_and_bounded() {
    let mut world = World::with(1, |settings| settings.prefer = Prefer::Ipv4Only);
    world.lookup("a.example").unwrap();
    let query = world.one();
    let many: Vec<_> = (0..200).map(|n| address(&format!("192.0.2.{}", n / 2), 60)).collect();
    world.answer(&query, &many);
    let answer = world.result().unwrap();
    assert_eq!(answer.len(), crate::limits::DNS_ADDRESSES);
    assert_eq!(answer[..2], [ip("192.0.2.0"), ip("192.0.2.1")]);
}

#[test]
fn a_referral_is_not_an_empty_answer() {
    let mut world = World::with(1, |settings| settings.prefer = Prefer::Ipv4Only);
    world.lookup("a.example").unwrap();
    let query = world.one();
    let mut referral = query.reply(0, &[], &[record(&wire("example"), 2, 60, &wire("ns.example"))]);
    referral[3] &= 0x7f; // RA off
    world.give(&query, &referral);
    assert_eq!(world.result(), Err(DnsError::ServerFailure));
}

/// A server that neither recurses nor is the name's own has said nothing.
#[test]
fn an_empty_answer_of_a_lame_server_is_asked_of_the_next() {
    let mut world = World::with(2, |settings| settings.prefer = Prefer::Ipv4Only);
    world.lookup("a.example").unwrap();
    let query = world.one();
    let mut lame = query.reply(0, &[], &[]);
    lame[3] &= 0x7f; // RA off
    world.give(&query, &lame);
    let next = world.one();
    assert_ne!(next.server, query.server);
    world.answer(&next, &[address("192.0.2.1", 60)]);
    assert_eq!(world.result(), found(&["192.0.2.1"]));
    // With AA, or with an SOA record, it is the name's own word.
    for (authoritative, authorities) in [(0x04, vec![]), (0, vec![soa(60, 60)])] {
        let mut world = World::with(2, |settings| settings.prefer = Prefer::Ipv4Only);
        world.lookup("a.example").unwrap();
        let query = world.one();
        let mut reply = query.reply(0, &[], &authorities);
        reply[2] |= authoritative;
        reply[3] &= 0x7f;
        world.give(&query, &reply);
        assert_eq!(world.result(), Err(DnsError::NoAddress));
    }
}

#[test]
fn names_that_never_reach_a_server() {
    let mut world = World::with(1, |settings| {
        settings.hosts = Hosts::parse("192.0.2.1 here.example\n2001:db8::1 here.example six.example\n");
    });
    assert_eq!(world.lookup("here.example"), Err(found(&["2001:db8::1", "192.0.2.1"])));
    assert_eq!(world.lookup("localhost"), Err(found(&["::1", "127.0.0.1"])));
    for bad in ["", ".", "a..example", "a.example.", &"x".repeat(64), &"x.".repeat(128)] {
        assert_eq!(world.lookup(bad), Err(Err(DnsError::NotFound)), "{bad:?}");
    }
    assert!(world.sent.is_empty() && world.open.is_empty());
    let mut world = World::with(1, |settings| {
        settings.hosts = Hosts::parse("2001:db8::1 six.example\n");
        settings.prefer = Prefer::Ipv4Only;
    });
    assert_eq!(world.lookup("six.example"), Err(Err(DnsError::NoAddress)));
    assert_eq!(World::new(0).lookup("a.example"), Err(Err(DnsError::NoServers)));
}
