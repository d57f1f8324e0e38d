//! Parents and those who would use them against others: clients whose targets or logins come to nothing, names whose addresses
//! rules lead by several ways, and parents that lead elsewhere than they were asked to.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Mutex, mpsc};

use crate::support::client::{connect_ip, connect_name};
use crate::support::origin::{BlackHole, drain};
use crate::support::parent::{BOUND, FakeParent, Told, lead, request, through};
use crate::support::web::{Peer, web};
use crate::support::{Client, DnsServer, Origin, Relay, wait};

/// A rule that leads to these by a parent, whose keys stand behind it.
fn led_to(to: &str, parent: &str, keys: &str) -> String {
    let rule = format!("name = \"by-{parent}\"\nto = [\"{to}\"]\naction = \"allow\"\nparent = \"{parent}\"");
    format!("{rule}\n\n[[parent]]\nname = \"{parent}\"\n{keys}")
}

/// A name may have an address that is led and one that is not: whoever has the name in hand would choose the way by it.
#[test]
fn an_address_that_is_led_is_not_dialled_beside_one_that_is_not() {
    let target = Origin::echo();
    let parent = FakeParent::socks5(target.addr);
    let dns = DnsServer::zone(&[("both.example", &["127.0.0.9", "127.0.0.1"])]);
    let led = led_to("127.0.0.1", "up", &format!("servers = [\"socks5://{}\"]", parent.addr()));
    let direct = "name = \"direct\"\nto = [\"127.0.0.9\"]\naction = \"allow\"";
    let relay = Relay::builder().dns(&dns).rules(&[direct, &led]).start();
    let mut client = Client::greeted(relay.addr());
    // Nobody listens at the first.
    let rep = client.request_name(b"both.example", target.addr.port()).rep;
    let straight = target.accepted() > parent.accepted();
    assert!(!straight, "reply {rep}: the second was dialled without its parent");
}

/// A parent that is away and may be done without says nothing of the parent that an address has.
#[test]
fn a_session_that_goes_without_one_parent_goes_through_the_next() {
    let target = Origin::echo();
    let (gone, other) = (Origin::echo().addr, FakeParent::socks5(target.addr));
    let dns = DnsServer::zone(&[("near.example", &["127.0.0.1"])]);
    let by_address = led_to("127.0.0.1", "other", &format!("servers = [\"socks5://{}\"]", other.addr()));
    let keys = format!("servers = [\"socks5h://{gone}\"]\nfallback = \"direct\"");
    let by_name = led_to("*.example", "up", &keys);
    let relay = Relay::builder().dns(&dns).rules(&[&by_address, &by_name]).start();
    let mut client = Client::greeted(relay.addr());
    assert_eq!(client.request_name(b"near.example", target.addr.port()).rep, 0);
    client.send(b"ping");
    client.expect(b"ping");
    assert_eq!(other.told_once().target, target.addr.to_string());
}

/// A client that a parent does not know, or not by that name, says nothing of the parent.
#[test]
fn a_login_of_the_clients_own_is_not_held_against_the_parent() {
    let target = Origin::echo();
    let to = target.addr;
    let parent = FakeParent::serve(move |mut stream, _| {
        stream.read_exact(&mut [0; 4])?;
        stream.write_all(&[5, 2])?;
        let mut login = [0; 9];
        stream.read_exact(&mut login)?;
        stream.write_all(&[1, u8::from(login[2..5] != *b"ann")])?;
        request(&mut stream)?;
        stream.write_all(&BOUND)?;
        lead(stream, to)
    });
    let builder = Relay::builder().users(&[("ann", b"one"), ("eve", b"two")]);
    let keys = [("user_from", "\"client\""), ("max_fails", "1"), ("fallback", "\"direct\"")];
    let relay = through(builder, &[format!("socks5h://any:all@{}", parent.addr())], &keys).start();
    let mut eve = Client::connect(relay.addr());
    assert_eq!(eve.login(b"eve", b"two"), 0);
    eve.send(&connect_ip(target.addr));
    eve.expect_refusal(1);
    assert!(!relay.log().contains("is away"), "{}", relay.log());
    let mut ann = Client::connect(relay.addr());
    assert_eq!(ann.login(b"ann", b"one"), 0);
    assert_eq!(ann.request_ip(target.addr).rep, 0);
    ann.send(b"ping");
    ann.expect(b"ping");
    assert_eq!(parent.accepted(), 2);
}

/// would have everybody else kept away from the parent.
#[test]
fn a_target_that_does_not_answer_is_not_held_against_the_parent() {
    for scheme in ["http", "socks4"] {
        let parent = FakeParent::serve(|stream, _| {
            drain(stream);
            Ok(())
        });
        let builder = Relay::builder().timeout("connect", 1000);
        let relay =
            through(builder, &[format!("{scheme}://{}", parent.addr())], &[("max_fails", "1")]).start();
        let asked: SocketAddr = "127.0.0.9:9".parse().expect("an address");
        let mut client = Client::greeted(relay.addr());
        client.send(&connect_ip(asked));
        client.expect_refusal(1);
        assert_eq!(relay.record()["reason"], "parent_failed", "{scheme}");
        assert!(!relay.log().contains("is away"), "{scheme}: {}", relay.log());
    }
}

/// A look is for a target that the operator knows: there silence is the parent's.
#[test]
fn a_look_at_a_silent_parent_finds_it_away() {
    let parent = FakeParent::serve(|stream, _| {
        drain(stream);
        Ok(())
    });
    let builder = Relay::builder().timeout("connect", 500);
    let check = "{ target = \"127.0.0.9:9\", every = \"1s\" }";
    let keys = [("max_fails", "1"), ("check", check)];
    let relay = through(builder, &[format!("http://{}", parent.addr())], &keys).start();
    wait::until_true("it is away", wait::PATIENCE, || relay.log().contains("is away"));
}

/// A target for which its protocol has no words a parent is not asked for, and says nothing by it.
#[test]
fn a_request_that_cannot_be_made_is_no_sign_that_a_parent_is_well() {
    // No answer of SOCKS4.
    let parent = FakeParent::serve(|mut stream, _| {
        stream.read_exact(&mut [0; 9])?;
        stream.write_all(&[9; 8])
    });
    let server = format!("socks4a://{}", parent.addr());
    let relay = through(Relay::builder(), &[server], &[("resolve", "\"here\""), ("max_fails", "2")]).start();
    for (asked, rep) in [("127.0.0.9:9", 1), ("0.0.0.7:9", 8), ("127.0.0.9:9", 1)] {
        let mut client = Client::greeted(relay.addr());
        client.send(&connect_ip(asked.parse().expect("an address")));
        client.expect_refusal(rep);
    }
    relay.logged(&["a server of a parent is away"]);
}

/// whom the operator no longer means.
#[test]
fn no_idle_connection_is_made_with_the_login_of_before_a_reload() {
    let (asked, asks) = mpsc::channel();
    let (answer, answers) = mpsc::channel();
    let (asked, answers) = (Mutex::new(asked), Mutex::new(answers));
    let target = Origin::echo();
    let to = target.addr;
    let parent = FakeParent::serve(move |mut stream, told| {
        stream.read_exact(&mut [0; 4])?;
        stream.write_all(&[5, 2])?;
        let mut login = [0; 10];
        stream.read_exact(&mut login)?;
        stream.write_all(&[1, 0])?;
        let nth = {
            let mut told = told.lock().expect("told");
            let login = Some((login[2..5].to_vec(), login[6..].to_vec()));
            told.push(Told { login, ..Told::default() });
            told.len()
        };
        request(&mut stream)?;
        if nth == 1 {
            let _ = asked.lock().expect("a channel").send(());
            let _ = answers.lock().expect("a channel").recv();
        }
        stream.write_all(&BOUND)?;
        lead(stream, to)
    });
    let server = |password: &str| format!("socks5://ann:{password}@{}", parent.addr());
    let mut relay = through(Relay::builder(), &[server("old1")], &[("warm", "2")]).start();
    let mut first = Client::greeted(relay.addr());
    first.send(&connect_ip(target.addr));
    asks.recv_timeout(wait::PATIENCE).expect("a request");
    let servers = format!("[\"{}\"]", server("new1"));
    relay.reload(&[("[parent]", "servers", &servers), ("[parent]", "warm", "1")]);
    let serves = || assert_eq!(Client::greeted(relay.addr()).request_ip(target.addr).rep, 0);
    let passwords =
        || -> Vec<_> { parent.told().into_iter().filter_map(|told| Some(told.login?.1)).collect() };
    let is_new = |password: &Vec<u8>| password == b"new1";
    wait::until_true("the worker has it", wait::PATIENCE, || {
        serves();
        passwords().iter().any(is_new)
    });
    answer.send(()).expect("the parent");
    assert_eq!(first.reply().rep, 0);
    (0..4).for_each(|_| serves());
    let after = passwords();
    let after = &after[after.iter().position(is_new).expect("the new one")..];
    assert!(after.iter().all(is_new), "{after:?}");
}

/// What a server says with its first segment may come with its acceptance: one event tells of both.
#[test]
fn a_server_that_speaks_first_is_heard_at_once() {
    let target = Origin::echo();
    let to = target.addr;
    let parent = FakeParent::serve(move |mut stream, _| {
        stream.write_all(&[5, 0])?;
        stream.read_exact(&mut [0; 3])?;
        request(&mut stream)?;
        stream.write_all(&BOUND)?;
        lead(stream, to)
    });
    let relay = through(Relay::builder(), &[format!("socks5://{}", parent.addr())], &[]).start();
    for _ in 0..20 {
        let mut client = Client::greeted(relay.addr());
        assert_eq!(client.request_ip(target.addr).rep, 0);
    }
}

/// What a connection has of a pool is its own for as long as it is open, whatever request goes over it.
#[test]
fn a_request_over_a_tunnel_that_was_kept_leaves_from_the_tunnels_pool() {
    let target = Origin::serve(|stream| {
        let mut peer = Peer::over(stream);
        while peer.try_head().is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let parent = FakeParent::socks5(target.addr);
    let rule = led_to("far.example", "up", &format!("servers = [\"socks5h://{}\"]", parent.addr()));
    let pool = "egress = \"pool\"\n\n[[egress]]\nname = \"pool\"\naddresses = [\"127.9.0.1\"]\n\n[[parent]]";
    let relay = web(Relay::builder()).rules(&[&rule.replacen("\n[[parent]]", pool, 1)]).start();
    let mut client = Peer::connect(relay.addr());
    for _ in 0..2 {
        client.send(b"GET http://far.example/ HTTP/1.1\r\nHost: far.example\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 200 "));
        assert_eq!(client.body(2), b"ok");
    }
    assert_eq!(parent.accepted(), 1);
    drop(client);
    for record in relay.records(2) {
        let seen = (&record["egress"], &record["egress_address"]);
        assert_eq!(seen, (&"pool".into(), &"127.9.0.1".into()), "{record}");
    }
}

/// Rules that come while a session dials may lead what is left of its addresses through a parent.
#[test]
fn an_address_that_is_led_by_the_rules_of_a_reload_is_not_dialled_without() {
    let (silent, parent) = (BlackHole::new(), FakeParent::socks5(Origin::echo().addr));
    let dns = DnsServer::zone(&[("both.example", &["127.0.0.9", "127.0.0.1"])]);
    let mut relay = Relay::builder().dns(&dns).set("policy", "on_reload", "\"revoke\"").start();
    let mut client = Client::greeted(relay.addr());
    client.send(&connect_name(b"both.example", silent.addr.port()));
    wait::until_true("it dials", wait::PATIENCE, || !dns.queries().is_empty());
    let led = led_to("127.0.0.1", "up", &format!("servers = [\"socks5://{}\"]", parent.addr()));
    relay.put_rules(&["name = \"gone\"\nto = [\"127.0.0.9\"]\naction = \"deny\"", &led]);
    relay.reload(&[]);
    assert_eq!(client.reply().rep, 0);
    assert_eq!(parent.told_once().target, silent.addr.to_string());
}
