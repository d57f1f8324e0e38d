//! The name of an address: what is asked, what is believed, what is remembered.

use super::*;

const NXDOMAIN: u16 = 3;

fn pointer(target: &[u8], ttl: u32) -> Vec<u8> {
    record(&QNAME, PTR, ttl, target)
}

fn named(text: &str) -> PointerAnswer {
    match crate::proto::Host::parse(text.as_bytes()) {
        Ok(crate::proto::Host::Name(name)) => Ok(name),
        other => panic!("{text}: {other:?}"),
    }
}

impl World {
    fn ask_reverse(&mut self, address: &str) -> Sent {
        self.reverse(address).unwrap();
        self.one()
    }

    /// The only name that has come since the last call.
    fn name(&mut self) -> PointerAnswer {
        assert_eq!(self.names.len(), 1, "{:?}", self.names);
        self.names.remove(0).1
    }
}

#[test]
fn one_question_for_the_reverse_name_and_the_cache_keeps_its_answer() {
    let mut world = World::new(1);
    let query = world.ask_reverse("192.0.2.10");
    assert_eq!((query.kind(), query.name()), (PTR, "10.2.0.192.in-addr.arpa".into()));
    world.answer(&query, &[pointer(&wire("Host.Example"), 60)]);
    assert_eq!(world.name(), named("host.example"));
    assert!(world.open.is_empty() && world.resolver.is_idle());
    world.pass(60 * SECOND - MS);
    assert_eq!(world.reverse("192.0.2.10"), Err(named("host.example")));
    assert_eq!(world.reverse("::ffff:192.0.2.10"), Err(named("host.example")), "the same address");
    world.pass(MS);
    assert!(world.reverse("192.0.2.10").is_ok(), "asked again");
}

#[test]
fn an_ipv6_address_is_asked_for_by_its_nibbles() {
    let mut world = World::new(1);
    let query = world.ask_reverse("2001:db8::567:89ab");
    let expected = "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    assert_eq!((query.kind(), query.name()), (PTR, expected.into()));
}

/// RFC 2317: the zone of an address may be another's.
#[test]
fn aliases_are_followed() {
    let mut world = World::new(1);
    let query = world.ask_reverse("192.0.2.10");
    let alias = cname("10.2.0.192.in-addr.arpa", "10.0-25.2.0.192.in-addr.arpa", 30);
    let target = record(&wire("10.0-25.2.0.192.in-addr.arpa"), PTR, 60, &wire("host.example"));
    world.answer(&query, &[alias, target]);
    assert_eq!(world.name(), named("host.example"));
    world.pass(30 * SECOND);
    assert!(world.reverse("192.0.2.10").is_ok(), "for as long as the alias lasts");
}

/// Whoever has the zone of an address may write anything there: what is no host name, or is an address in some spelling,
/// is not told.
#[test]
fn what_is_no_name_is_none() {
    let mut world = World::new(1);
    let dotted = [&[12][..], b"evil.example", &[0]].concat();
    let addresses: [&[u8]; 6] = [
        &wire("127.0.0.1"),
        &wire("0x7f.1"),
        &wire("two words.example"),
        &wire("line\n.example"),
        &dotted,
        &[0],
    ];
    for (n, data) in addresses.into_iter().enumerate() {
        let query = world.ask_reverse(&format!("192.0.2.{n}"));
        world.answer(&query, &[pointer(data, 60)]);
        assert_eq!(world.name(), Err(DnsError::NotFound), "{}", data.escape_ascii());
    }
    let query = world.ask_reverse("192.0.2.100");
    world.answer(&query, &[pointer(&wire("a b"), 60), pointer(&wire("host.example"), 60)]);
    assert_eq!(world.name(), named("host.example"), "the first that is one");
}

#[test]
fn that_there_is_none_is_remembered_as_long_as_is_said() {
    let mut world = World::new(1);
    let query = world.ask_reverse("192.0.2.10");
    world.give(&query, &query.reply(NXDOMAIN, &[], &[soa(60, 20)]));
    assert_eq!(world.name(), Err(DnsError::NotFound));
    world.pass(20 * SECOND - MS);
    assert_eq!(world.reverse("192.0.2.10"), Err(Err(DnsError::NotFound)));
    world.pass(MS);
    let query = world.ask_reverse("192.0.2.10");
    world.give(&query, &query.reply(0, &[], &[soa(60, 60)]));
    assert_eq!(world.name(), Err(DnsError::NotFound), "no data is no name");
}

/// A client may ask for the addresses of the reverse name, too: neither question takes the other's answer.
#[test]
fn the_reverse_name_has_addresses_of_its_own() {
    let mut world = World::new(1);
    let query = world.ask_reverse("192.0.2.10");
    world.answer(&query, &[pointer(&wire("host.example"), 60)]);
    assert_eq!(world.name(), named("host.example"));
    let (a, aaaa) = world.ask("10.2.0.192.in-addr.arpa");
    world.answer(&a, &[address("192.0.2.77", 60)]);
    world.answer(&aaaa, &[]);
    assert_eq!(world.result(), found(&["192.0.2.77"]));
    assert_eq!(world.reverse("192.0.2.10"), Err(named("host.example")));
    assert_eq!(world.lookup("10.2.0.192.in-addr.arpa"), Err(found(&["192.0.2.77"])));
}

#[test]
fn the_hosts_file_names_addresses() {
    let text = "192.0.2.10 first.example second.example\n192.0.2.10 third.example\n2001:db8::1 bad_[name six.example\n";
    let mut world = World::with(1, |settings| settings.hosts = Hosts::parse(text));
    assert_eq!(world.reverse("192.0.2.10"), Err(named("first.example")));
    assert_eq!(world.reverse("::ffff:192.0.2.10"), Err(named("first.example")));
    assert!(world.reverse("2001:db8::1").is_ok(), "only the first name is the address's");
}

#[test]
fn servers_that_say_nothing_time_out_and_a_cut_answer_goes_by_tcp() {
    let mut world = World::new(1);
    world.reverse("192.0.2.10").unwrap();
    world.pass(5 * SECOND);
    assert_eq!(world.name(), Err(DnsError::Timeout));
    world.take();
    world.pass(2 * SECOND);
    let query = world.ask_reverse("192.0.2.11");
    world.give(&query, &query.reply(0x0200, &[], &[]));
    let again = world.one();
    assert_eq!((again.transport, again.kind()), (Transport::Tcp, PTR));
    world.answer(&again, &[pointer(&wire("host.example"), 60)]);
    assert_eq!(world.name(), named("host.example"));
}

#[test]
fn without_a_server_and_after_a_cancel_nothing_is_left() {
    let mut world = World::new(0);
    assert_eq!(world.reverse("192.0.2.10"), Err(Err(DnsError::NoServers)));
    let mut world = World::new(1);
    let ticket = world.reverse("192.0.2.10").unwrap();
    world.cancel(ticket);
    world.pass(10 * SECOND);
    assert!(world.names.is_empty() && world.resolver.is_idle());
}
